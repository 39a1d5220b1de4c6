"""Fitted factorization machines as ONNX graphs, for onnxruntime: needs ``pip install skafm[onnx]``.

The formulas are those of ``skafm/nn/functional.py``, node by node; a node's comment gives the shape of its result.
Letters in shapes: B rows, N entries, P pairs, k factors, t attention size, C outputs.
"""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skafm._estimators.afm import AFMClassifier, AFMRegressor
from skafm._estimators.fm import FMClassifier, FMRegressor
from skafm._version import __version__

__all__ = ["to_onnx"]

_OPSET = 18  # the first whose ScatterElements finds a maximum


def to_onnx(model):
    """Return a fitted model as an ONNX graph that predicts the rows of a CSR matrix.

    Parameters
    ----------
    model : FMRegressor, FMClassifier, AFMRegressor or AFMClassifier
        Fitted.

    Returns
    -------
    onnx.ModelProto
        Its inputs are the arrays of a CSR matrix of any number of rows, each of any length: ``indices`` (N,) and
        ``indptr`` (B + 1,), int32, and ``data`` (N,), in the precision of ``factors_``. The columns of a row are
        distinct, in any order. The output of a regressor is ``variable``, what ``predict`` returns; those of a
        classifier are ``label``, what ``predict`` returns, and ``probabilities``, what ``predict_proba`` returns.

        A call takes memory in proportion to its entries times k, of an AFM to its pairs times k + t, all rows at once:
        send many or very long rows in parts.

    Raises
    ------
    ImportError
        Without the package onnx.
    TypeError
        If there is no graph for the model.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.

    Examples
    --------
    >>> import onnxruntime
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FMRegressor
    >>> from skafm.onnx import to_onnx
    >>> X = OneHotEncoder().fit_transform([["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25)
    >>> model = FMRegressor(random_state=0).fit(X, [0, 1, 1, 0] * 25)
    >>> session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    >>> (y,) = session.run(None, {"indices": X.indices, "data": X.data, "indptr": X.indptr})
    >>> y[:4].round()
    array([0., 1., 1., 0.])
    """
    if not isinstance(model, FMRegressor | FMClassifier | AFMRegressor | AFMClassifier):
        raise TypeError(
            "to_onnx takes an FMRegressor, FMClassifier, AFMRegressor or AFMClassifier, of a pipeline the last step, "
            f"but was given a {type(model).__name__}."
        )
    check_is_fitted(model)
    graph = _Graph(model.factors_.dtype)
    interaction = _fm if isinstance(model, FMRegressor | FMClassifier) else _afm
    single = np.ndim(model.intercept_) == 0
    indices, data, rows = _entries(graph)
    linear = graph.Mul(graph.Gather(np.atleast_2d(model.coef_).T, indices), data)  # (N, C)
    raw = graph.Add(np.atleast_1d(model.intercept_), graph.sum_rows(linear, rows))  # (B, C)
    raw = graph.Add(raw, interaction(graph, model, indices, data, rows))  # (B, C)
    if hasattr(model, "classes_"):
        _classify(graph, model.classes_, raw, single=single)
    else:
        _regress(graph, model._prediction_bounds(), raw, single=single)
    return graph.build(type(model).__name__)


def _entries(graph):
    """Return feature (N,), value (N, 1) and row (N,) of each entry: row r has ``indptr[r]:indptr[r + 1]``."""
    indices = graph.Cast("indices", to=graph.integer)
    data = graph.Unsqueeze("data", [1])
    starts = graph.Slice(graph.Cast("indptr", to=graph.integer), [0], [-1])  # (B,)
    graph.n_rows = graph.Shape(starts)
    return indices, data, graph.repeat(starts, graph.Shape(indices))


def _fm(graph, model, indices, data, rows):
    """``p' sum_{i<j} (v_i * v_j) x_i x_j``, by Rendle's identity ``p' 1/2 [(sum_i v_i x_i)^2 - sum_i (v_i x_i)^2]``."""
    p = getattr(model, "projection_", np.ones_like(model.factors_[:1]))  # an FM of one output has none
    embedded = graph.Mul(graph.Gather(model.factors_, indices), data)  # (N, k)
    total = graph.sum_rows(embedded, rows)  # (B, k)
    squares = graph.sum_rows(graph.Mul(embedded, embedded), rows)  # (B, k)
    return graph.MatMul(graph.Sub(graph.Mul(total, total), squares), p.T / 2)  # (B, C)


def _afm(graph, model, indices, data, rows):
    """``p' sum_{i<j} a_ij (v_i * v_j) x_i x_j`` (Eq. 6)."""
    left, right = _pairs(graph, indices, rows)  # (P,)
    rows = graph.Gather(rows, left)  # (P,)
    embedded = graph.Mul(graph.Gather(model.factors_, indices), data)  # (N, k)
    e = graph.Mul(graph.Gather(embedded, left), graph.Gather(embedded, right))  # (P, k)
    # a'_ij = h' ReLU(W e + b) (Eq. 5); an entry of zero is none, and its pairs get no attention.
    hidden = graph.Relu(graph.Add(graph.MatMul(e, model.attention_coef_.T), model.attention_intercept_))  # (P, t)
    logits = graph.MatMul(hidden, model.attention_projection_[:, None])  # (P, 1)
    lowest = np.finfo(model.factors_.dtype).min
    zero = graph.Equal(data, graph.number(0))  # (N, 1)
    none = graph.Or(graph.Gather(zero, left), graph.Gather(zero, right))  # (P, 1)
    logits = graph.Where(none, graph.number(lowest), logits)
    # a_ij = exp(a'_ij - highest) / total, in each row; e is zero where highest is a pair's of an entry of zero.
    highest = graph.scatter(logits, rows, start=lowest, reduction="max")  # (B, 1)
    weights = graph.Exp(graph.Sub(logits, graph.Gather(highest, rows)))  # (P, 1)
    total = graph.Max(graph.sum_rows(weights, rows), graph.number(1))  # (B, 1), at least 1 where a row has pairs
    scores = graph.MatMul(e, np.atleast_2d(model.projection_).T)  # (P, C), p' e
    return graph.Div(graph.sum_rows(graph.Mul(weights, scores), rows), total)  # (B, C)


def _pairs(graph, indices, rows):
    """Return the two entries (P,) of each pair: an entry is left to all that follow it in its row."""
    n_entries = graph.Shape(indices)
    entries = graph.Range(0, graph.Squeeze(n_entries), 1)  # (N,)
    ends = graph.Slice(graph.Cast("indptr", to=graph.integer), [1], [2**31])  # (B,)
    partners = graph.Sub(graph.Sub(graph.Gather(ends, rows), entries), 1)  # (N,)
    first = graph.CumSum(partners, 0, exclusive=1)  # (N,), an entry's first pair
    n_pairs = graph.ReduceSum(partners, keepdims=1)  # (1,)
    left = graph.repeat(first, n_pairs)  # (P,)
    place = graph.Sub(graph.Range(0, graph.Squeeze(n_pairs), 1), graph.Gather(first, left))  # (P,), among its left's
    return left, graph.Add(graph.Add(left, place), 1)


def _regress(graph, bounds, raw, *, single):
    """``variable``: the raw score, with bounds clipped."""
    if bounds is not None:
        low, high = (np.asarray(bound, graph.dtype) for bound in bounds)
        raw = graph.Min(graph.Max(raw, low), high)
    graph.output(graph.Squeeze(raw, [1]) if single else raw, "variable", graph.dtype, 1 if single else 2)


def _classify(graph, classes, raw, *, single):
    """``label`` and ``probabilities``: the softmax of the raw scores, the first of two classes having 0."""
    if single:
        raw = graph.Concat(graph.Mul(raw, graph.number(0)), raw, axis=1)  # (B, 2)
    if classes.dtype.kind not in "biuf":
        classes = classes.astype(object)
    graph.output(graph.Gather(classes, graph.ArgMax(raw, axis=1, keepdims=0)), "label", classes.dtype, 1)
    graph.output(graph.Softmax(raw, axis=1), "probabilities", graph.dtype, 2)


class _Graph:
    """Nodes in the making: ``graph.MatMul(a, b)`` adds one and returns its result, arrays becoming constants."""

    def __init__(self, dtype):
        self.onnx = _import_onnx()
        self.dtype, self.integer = np.dtype(dtype), self.onnx.TensorProto.INT64
        self.nodes, self.constants, self.outputs = [], [], []

    def __getattr__(self, operator):
        def add(*inputs, **attributes):
            names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
            name = f"{operator}_{len(self.nodes)}"
            self.nodes.append(self.onnx.helper.make_node(operator, names, [name], **attributes))
            return name

        return add

    def _constant(self, value):
        name, value = f"constant_{len(self.constants)}", np.asarray(value, order="C")
        self.constants.append(self.onnx.numpy_helper.from_array(value, name))
        return name

    def number(self, value):
        """Return a number in the graph's precision."""
        return np.array(value, self.dtype)

    def scatter(self, values, rows, *, start, reduction):
        """Return the sum or maximum (B, c) of the values (n, c) of each row."""
        # Not ScatterND, whose threads race for an element in onnxruntime.
        width = self.Shape(values, start=1)
        table = self.Expand(self.number(start), self.Concat(self.n_rows, width, axis=0))  # (B, c)
        places = self.Expand(self.Unsqueeze(rows, [1]), self.Shape(values))  # (n, c)
        return self.ScatterElements(table, places, values, axis=0, reduction=reduction)

    def sum_rows(self, values, rows):
        """Return the sum (B, c) of the values (n, c) of each row."""
        return self.scatter(values, rows, start=0, reduction="add")

    def repeat(self, starts, total):
        """Return the number of the run that each of ``total`` (1,) things is in, run i beginning at ``starts[i]``."""
        marks = self.Expand(0, self.Add(total, 1))
        ones = self.Expand(1, self.Shape(starts))
        marks = self.ScatterElements(marks, starts, ones, axis=0, reduction="add")  # empty runs add up
        return self.Sub(self.Slice(self.CumSum(marks, 0), [0], [-1]), 1)

    def output(self, result, name, dtype, ndim):
        """Give a result the name of an output."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [result], [name]))
        self.outputs.append(self._describe(name, dtype, ["rows", None][:ndim]))

    def _describe(self, name, dtype, shape):
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx.helper.make_tensor_value_info(name, kind, shape)

    def build(self, name):
        """Return the model."""
        helper = self.onnx.helper
        kinds = {"indices": (np.int32, "entries"), "data": (self.dtype, "entries"), "indptr": (np.int32, "rows + 1")}
        inputs = [self._describe(each, dtype, [length]) for each, (dtype, length) in kinds.items()]
        graph = helper.make_graph(self.nodes, name, inputs, self.outputs, self.constants)
        opset = helper.make_opsetid("", _OPSET)
        ir_version = helper.find_min_ir_version_for([opset])  # what old runtimes read
        producer = {"producer_name": "skafm", "producer_version": __version__}
        return helper.make_model(graph, opset_imports=[opset], ir_version=ir_version, **producer)


def _import_onnx():
    """Return the package onnx."""
    try:
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError("to_onnx needs the package onnx: pip install skafm[onnx].") from error
    return onnx
