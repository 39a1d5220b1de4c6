"""A fitted model, or a whole pipeline, as an ONNX model."""

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.pipeline import make_pipeline

from skafm.inspection._pipeline import unnest_pipeline
from skafm.onnx._formulas import add_results, check_model, csr_entries
from skafm.onnx._graph import OPSET, Graph
from skafm.onnx._skl2onnx import CONVERTIBLE, import_skl2onnx, register_converters


def to_onnx(model, X=None):
    """Convert a fitted model or pipeline to an ONNX model that predicts the rows of a CSR matrix or of a table.

    Parameters
    ----------
    model : estimator of FM, AFM, FwFM, DeepFM, WideDeep or BayesianFM, or a Pipeline that ends in one
        Fitted model, such as an FMRegressor. Of a fitted search, such as GridSearchCV, the best estimator is converted.
    X : {array-like, DataFrame} of shape (n_samples, n_columns), default=None
        Rows as for ``predict``, of which the first is enough: the names and types of the inputs are taken from it. A
        pipeline needs it. Without X the inputs are the arrays of a CSR matrix.

    Returns
    -------
    onnx.ModelProto
        Without X the inputs are the arrays of a CSR matrix with any number of rows of any length: ``indices`` (N,) and
        ``indptr`` (B + 1,), int32, and ``data`` (N,), in the precision of ``factors_``. The columns of a row must be
        distinct and may be in any order. With X there is an input (B, 1) for each column of a DataFrame, with its name,
        or one input ``X`` (B, n_columns). Strings and objects are strings.

        A regressor or ranker has the output ``variable``, the result of ``predict``. A classifier has the outputs
        ``label``, the result of ``predict``, and ``probabilities``, the result of ``predict_proba``.

    Raises
    ------
    ImportError
        If onnx or, with X, skl2onnx is not installed.
    TypeError
        If the model cannot be converted, or if X is sparse.
    ValueError
        If X is missing, or if the targets are too far from 0 for the precision of the model.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.

    See Also
    --------
    register_converters : To call skl2onnx with options, and for other estimators that contain a model.

    Notes
    -----
    All rows of a call are processed at once. Memory is proportional to the number of entries times k or, for an AFM, to
    the number of pairs times k + t: split many rows, or very long ones, into several calls. With X, the transformers
    before the model return dense rows: add the number of features of the model for each row.

    skl2onnx converts these transformers. Its encoders compare strings and integers, and the model's input and output
    are in float32 unless the first input is in float64.

    Examples
    --------
    A pipeline, on strings:

    >>> import numpy as np
    >>> import onnxruntime
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FMRegressor
    >>> from skafm.onnx import to_onnx
    >>> X, y = np.array([["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25), [0, 1, 1, 0] * 25
    >>> pipeline = make_pipeline(OneHotEncoder(handle_unknown="ignore"), FMRegressor(random_state=0)).fit(X, y)
    >>> session = onnxruntime.InferenceSession(to_onnx(pipeline, X).SerializeToString())
    >>> (y,) = session.run(None, {"X": X[:4]})
    >>> y.round().tolist()
    [0.0, 1.0, 1.0, 0.0]

    A model, on a CSR matrix:

    >>> rows = pipeline[:-1].transform(X)
    >>> session = onnxruntime.InferenceSession(to_onnx(pipeline[-1]).SerializeToString())
    >>> (y,) = session.run(None, {"indices": rows.indices, "data": rows.data, "indptr": rows.indptr})
    >>> y[:4].round().tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    *transformers, final = unnest_pipeline(model)
    if not isinstance(final, CONVERTIBLE):
        end = "" if final is model else f" that ends in {type(final).__name__}"
        raise TypeError(
            "model must be a regressor, classifier or ranker of FM, AFM, FwFM, DeepFM, WideDeep or BayesianFM, or a "
            f"Pipeline that ends in one, got {type(model).__name__}{end}."
        )
    check_model(final)
    if X is not None:
        return _convert_table(make_pipeline(*transformers, final), X)
    if transformers:
        raise ValueError(
            "A pipeline needs X, a few rows as for predict, for the names and types of the inputs: "
            "to_onnx(pipeline, X)."
        )
    return _convert_csr(final)


def _convert_csr(model):
    """Return the ONNX model of a model whose input is a CSR matrix."""
    graph = Graph(model.factors_.dtype)
    results = add_results(graph, model, csr_entries(graph), ravel=True)
    dtypes = {"label": model.classes_.dtype} if hasattr(model, "classes_") else {}
    n_dimensions = {"label": 1, "probabilities": 2, "variable": 1 + np.ndim(model.intercept_)}
    for name, result in results.items():
        graph.add_output(result, name, dtypes.get(name, graph.dtype), n_dimensions[name])
    return graph.build(type(model).__name__)


def _convert_table(pipeline, X):
    """Return the ONNX model of a pipeline whose input is a table."""
    if sparse.issparse(X):
        raise TypeError("X must be dense, an array or a DataFrame, got a sparse matrix; use X[:1].toarray().")
    skl2onnx = import_skl2onnx()
    register_converters()
    option = {"zipmap": False} if is_classifier(pipeline) else {"ravel": True}
    rows = X[:1] if hasattr(X, "columns") else np.asarray(X)[:1]
    return skl2onnx.to_onnx(pipeline, rows, target_opset=OPSET, options={id(pipeline[-1]): option})
