"""Export of fitted models to ONNX, for onnxruntime; requires ``pip install skafm[onnx]``.

The formulas are those of ``skafm/nn/functional.py``, node by node; comments give the shapes of the results. Letters in
shapes: B rows, N entries, P pairs, k factors, t attention size, C outputs.
"""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skafm._estimators.afm import AFMClassifier, AFMRegressor
from skafm._estimators.fitted_state import separate_intercept
from skafm._estimators.fm import FMClassifier, FMRegressor
from skafm._version import __version__

__all__ = ["to_onnx"]

_OPSET = 18  # the first in which ScatterElements can compute a maximum


def to_onnx(model):
    """Convert a fitted model to an ONNX model that predicts the rows of a CSR matrix.

    Parameters
    ----------
    model : FMRegressor, FMClassifier, AFMRegressor or AFMClassifier
        Fitted model.

    Returns
    -------
    onnx.ModelProto
        The inputs are the arrays of a CSR matrix with any number of rows of any length: ``indices`` (N,) and ``indptr``
        (B + 1,), int32, and ``data`` (N,), in the precision of ``factors_``. The columns of a row must be distinct and
        may be in any order. A regressor has the output ``variable``, the result of ``predict``. A classifier has the
        outputs ``label``, the result of ``predict``, and ``probabilities``, the result of ``predict_proba``.

    Raises
    ------
    ImportError
        If onnx is not installed.
    TypeError
        If the model cannot be converted.
    ValueError
        If the targets are too far from 0 for the precision of the model.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.

    Notes
    -----
    All rows of a call are processed at once. Memory is proportional to the number of entries times k or, for an AFM, to
    the number of pairs times k + t: split many rows, or very long ones, into several calls.

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
            "model must be an FMRegressor, FMClassifier, AFMRegressor or AFMClassifier (of a pipeline, the last step), "
            f"got {type(model).__name__}."
        )
    check_is_fitted(model)
    if separate_intercept(model) is not None:
        raise ValueError(
            f"intercept_ is {model.intercept_!r}, which the precision of the graph, {model.factors_.dtype}, cannot "
            "represent beside the spread of y: fit the model on X in float64."
        )
    graph = _Graph(model.factors_.dtype)
    interaction = _fm_interaction if isinstance(model, FMRegressor | FMClassifier) else _afm_interaction
    single = np.ndim(model.intercept_) == 0
    indices, data, rows = _entries(graph)
    linear = graph.Mul(graph.Gather(np.atleast_2d(model.linear_coef_).T, indices), data)  # (N, C)
    raw = graph.Add(np.atleast_1d(model.intercept_), graph.sum_rows(linear, rows))  # (B, C)
    raw = graph.Add(raw, interaction(graph, model, indices, data, rows))  # (B, C)
    if hasattr(model, "classes_"):
        _add_classifier_outputs(graph, model.classes_, raw, single=single)
    else:
        _add_regressor_output(graph, model._prediction_bounds(), raw, single=single)
    return graph.build(type(model).__name__)


def _entries(graph):
    """Return the feature (N,), value (N, 1) and row (N,) of each entry, and set the number of rows of the graph."""
    indices = graph.Cast("indices", to=graph.integer)  # (N,)
    data = graph.Unsqueeze("data", [1])  # (N, 1)
    starts = graph.Slice(graph.Cast("indptr", to=graph.integer), [0], [-1])  # (B,)
    graph.n_rows = graph.Shape(starts)  # (1,)
    return indices, data, graph.repeat(starts, graph.Shape(indices))


def _fm_interaction(graph, model, indices, data, rows):
    """``p' sum_{i<j} (v_i * v_j) x_i x_j``, by Rendle's identity ``p' 1/2 [(sum_i v_i x_i)^2 - sum_i (v_i x_i)^2]``."""
    p = getattr(model, "projection_", np.ones_like(model.factors_[:1]))  # (C, k); an FM with one output has none
    embedded = graph.Mul(graph.Gather(model.factors_, indices), data)  # (N, k)
    total = graph.sum_rows(embedded, rows)  # (B, k)
    squares = graph.sum_rows(graph.Mul(embedded, embedded), rows)  # (B, k)
    return graph.MatMul(graph.Sub(graph.Mul(total, total), squares), p.T / 2)  # (B, C)


def _afm_interaction(graph, model, indices, data, rows):
    """``p' sum_{i<j} a_ij (v_i * v_j) x_i x_j``, the interaction term of Eq. 6."""
    left, right = _pairs(graph, indices, rows)  # (P,)
    rows = graph.Gather(rows, left)  # (P,)
    embedded = graph.Mul(graph.Gather(model.factors_, indices), data)  # (N, k)
    e = graph.Mul(graph.Gather(embedded, left), graph.Gather(embedded, right))  # (P, k)
    # a'_ij = h' ReLU(W e + b) (Eq. 5). Pairs with an explicit zero get no attention, as if the zero were not stored.
    hidden = graph.Relu(graph.Add(graph.MatMul(e, model.attention_coef_.T), model.attention_intercept_))  # (P, t)
    logits = graph.MatMul(hidden, model.attention_projection_[:, None])  # (P, 1)
    lowest = np.finfo(model.factors_.dtype).min
    is_zero = graph.Equal(data, graph.scalar(0))  # (N, 1)
    has_zero = graph.Or(graph.Gather(is_zero, left), graph.Gather(is_zero, right))  # (P, 1)
    logits = graph.Where(has_zero, graph.scalar(lowest), logits)  # (P, 1)
    # a_ij = exp(a'_ij - maximum) / denominator in each row. If the maximum is that of a pair with a zero, all e are 0.
    maximum = graph.scatter(logits, rows, initial=lowest, reduction="max")  # (B, 1)
    weights = graph.Exp(graph.Sub(logits, graph.Gather(maximum, rows)))  # (P, 1)
    denominator = graph.Max(graph.sum_rows(weights, rows), graph.scalar(1))  # (B, 1); below 1 only without pairs
    scores = graph.MatMul(e, np.atleast_2d(model.projection_).T)  # (P, C), p' e
    return graph.Div(graph.sum_rows(graph.Mul(weights, scores), rows), denominator)  # (B, C)


def _pairs(graph, indices, rows):
    """Return the left and the right entry (P,) of each pair: an entry is paired with all later ones of its row."""
    n_entries = graph.Shape(indices)
    entries = graph.Range(0, graph.Squeeze(n_entries), 1)  # (N,)
    ends = graph.Slice(graph.Cast("indptr", to=graph.integer), [1], [2**31])  # (B,)
    n_right = graph.Sub(graph.Sub(graph.Gather(ends, rows), entries), 1)  # (N,), later entries of the same row
    first_pair = graph.CumSum(n_right, 0, exclusive=1)  # (N,)
    n_pairs = graph.ReduceSum(n_right, keepdims=1)  # (1,)
    left = graph.repeat(first_pair, n_pairs)  # (P,)
    rank = graph.Sub(graph.Range(0, graph.Squeeze(n_pairs), 1), graph.Gather(first_pair, left))  # (P,), within its left
    return left, graph.Add(graph.Add(left, rank), 1)


def _add_regressor_output(graph, bounds, raw, *, single):
    """Add ``variable``: the raw score, clipped if there are bounds."""
    if bounds is not None:
        low, high = (np.asarray(bound, graph.dtype) for bound in bounds)
        raw = graph.Min(graph.Max(raw, low), high)
    graph.output(graph.Squeeze(raw, [1]) if single else raw, "variable", graph.dtype, 1 if single else 2)


def _add_classifier_outputs(graph, classes, raw, *, single):
    """Add ``label`` and ``probabilities``, the softmax of the raw scores; the first of two classes has the score 0."""
    if single:
        raw = graph.Concat(graph.Mul(raw, graph.scalar(0)), raw, axis=1)  # (B, 2)
    if classes.dtype.kind not in "biuf":
        classes = classes.astype(object)
    graph.output(graph.Gather(classes, graph.ArgMax(raw, axis=1, keepdims=0)), "label", classes.dtype, 1)
    graph.output(graph.Softmax(raw, axis=1), "probabilities", graph.dtype, 2)


class _Graph:
    """Graph builder: ``graph.MatMul(a, b)`` adds a node and returns the name of its result; arrays become constants."""

    def __init__(self, dtype):
        self.onnx = _import_onnx()
        self.dtype, self.integer = np.dtype(dtype), self.onnx.TensorProto.INT64
        self.nodes, self.constants, self.outputs = [], [], []

    def __getattr__(self, operator):
        def add(*inputs, **attributes):
            names = [value if isinstance(value, str) else self._add_constant(value) for value in inputs]
            name = f"{operator}_{len(self.nodes)}"
            self.nodes.append(self.onnx.helper.make_node(operator, names, [name], **attributes))
            return name

        return add

    def _add_constant(self, value):
        name, value = f"constant_{len(self.constants)}", np.asarray(value, order="C")
        self.constants.append(self.onnx.numpy_helper.from_array(value, name))
        return name

    def scalar(self, value):
        """Return a scalar in the precision of the graph."""
        return np.array(value, self.dtype)

    def scatter(self, values, rows, *, initial, reduction):
        """Return the sum or maximum (B, c) of the values (n, c) of each row, and of the initial value."""
        # Not ScatterND, which has a race condition between threads in onnxruntime.
        n_columns = self.Shape(values, start=1)  # (1,)
        table = self.Expand(self.scalar(initial), self.Concat(self.n_rows, n_columns, axis=0))  # (B, c)
        indices = self.Expand(self.Unsqueeze(rows, [1]), self.Shape(values))  # (n, c)
        return self.ScatterElements(table, indices, values, axis=0, reduction=reduction)  # (B, c)

    def sum_rows(self, values, rows):
        """Return the sum (B, c) of the values (n, c) of each row."""
        return self.scatter(values, rows, initial=0, reduction="add")

    def repeat(self, starts, total):
        """Return the segment (total,) of each of ``total`` (1,) positions, where segment i begins at ``starts[i]``."""
        counts = self.Expand(0, self.Add(total, 1))  # (total + 1,)
        ones = self.Expand(1, self.Shape(starts))
        # The number of segments that begin at each position, which is above 1 after empty segments.
        counts = self.ScatterElements(counts, starts, ones, axis=0, reduction="add")  # (total + 1,)
        return self.Sub(self.Slice(self.CumSum(counts, 0), [0], [-1]), 1)  # (total,)

    def output(self, result, name, dtype, ndim):
        """Add an output: a result under this name."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [result], [name]))
        self.outputs.append(self._value_info(name, dtype, ["rows", None][:ndim]))

    def _value_info(self, name, dtype, shape):
        element_type = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx.helper.make_tensor_value_info(name, element_type, shape)

    def build(self, name):
        """Return the ONNX model."""
        helper = self.onnx.helper
        inputs = {"indices": (np.int32, "entries"), "data": (self.dtype, "entries"), "indptr": (np.int32, "rows + 1")}
        infos = [self._value_info(name_in, dtype, [length]) for name_in, (dtype, length) in inputs.items()]
        graph = helper.make_graph(self.nodes, name, infos, self.outputs, self.constants)
        opset = helper.make_opsetid("", _OPSET)
        ir_version = helper.find_min_ir_version_for([opset])  # for old versions of onnxruntime
        producer = {"producer_name": "skafm", "producer_version": __version__}
        return helper.make_model(graph, opset_imports=[opset], ir_version=ir_version, **producer)


def _import_onnx():
    """Return the package onnx, or raise an ImportError that names it."""
    try:
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError("to_onnx requires onnx. You can install it with `pip install skafm[onnx]`.") from error
    return onnx
