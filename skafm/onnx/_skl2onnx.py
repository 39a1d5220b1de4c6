"""Converters of the models for skl2onnx, which converts the pipelines that they are in."""

import numpy as np

from skafm._estimators.afm import AFMClassifier, AFMRegressor
from skafm._estimators.bayesian_fm import BayesianFMClassifier, BayesianFMRegressor
from skafm._estimators.deep_fm import DeepFMClassifier, DeepFMRegressor
from skafm._estimators.fm import FMClassifier, FMRegressor
from skafm._estimators.fwfm import FwFMClassifier, FwFMRegressor
from skafm._estimators.rankers import AFMRanker, FMRanker
from skafm._estimators.wide_deep import WideDeepClassifier, WideDeepRegressor
from skafm.onnx._formulas import add_results, check_model, dense_entries
from skafm.onnx._graph import OPSET, Graph

CONVERTIBLE = (
    *(FMRegressor, FMClassifier, FMRanker),
    *(AFMRegressor, AFMClassifier, AFMRanker),
    *(FwFMRegressor, FwFMClassifier),
    *(DeepFMRegressor, DeepFMClassifier),
    *(WideDeepRegressor, WideDeepClassifier),
    *(BayesianFMRegressor, BayesianFMClassifier),
)


def register_converters():
    """Register the models with skl2onnx, so that it converts the pipelines and meta-estimators they are in.

    The models are the regressors, classifiers and rankers of FM and AFM, and the Bayesian FMs. :func:`to_onnx` is
    enough for a pipeline that ends in one; register them to convert other estimators that contain them or to choose
    options of skl2onnx, such as ``zipmap``. Outputs follow its conventions: a regressor or ranker has one, ``variable``
    of shape (n_samples, n_outputs), a classifier has a label and probabilities, and they are in float32 unless the
    input is in float64. The opset must be 18 or later. Calling the function again has no effect.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import onnxruntime
    >>> import skl2onnx
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FMClassifier
    >>> from skafm.onnx import register_converters
    >>> X = np.array([["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25)
    >>> model = make_pipeline(OneHotEncoder(), FMClassifier(random_state=0)).fit(X, ["no", "yes", "yes", "no"] * 25)
    >>> register_converters()
    >>> proto = skl2onnx.to_onnx(model, X[:1], options={"zipmap": False})
    >>> session = onnxruntime.InferenceSession(proto.SerializeToString())
    >>> label, probabilities = session.run(None, {"X": X[:4]})
    >>> label.tolist()
    ['no', 'yes', 'yes', 'no']
    """
    skl2onnx = import_skl2onnx()
    for model in CONVERTIBLE:
        is_classifier = model in {FMClassifier, AFMClassifier, BayesianFMClassifier}
        # With zipmap skl2onnx asks for the option nocl (no class labels) too.
        options = {"zipmap": [True, False, "columns"], "nocl": [False]} if is_classifier else {"ravel": [True, False]}
        arguments = (model, f"Skafm{model.__name__}", _set_shapes, _convert)
        skl2onnx.update_registered_converter(*arguments, options=options)


def import_skl2onnx():
    """Return the package skl2onnx, or raise an ImportError that names it."""
    try:
        import skl2onnx
    except ImportError as error:
        raise ImportError("This requires skl2onnx. You can install it with `pip install skafm[onnx]`.") from error
    return skl2onnx


def _set_shapes(operator):
    """Set shapes and types of the outputs of a model, the part that skl2onnx calls a shape calculator."""
    from skl2onnx.common import data_types

    model, n_rows = operator.raw_operator, operator.inputs[0].get_first_dimension()
    if hasattr(model, "classes_"):
        label, probabilities = operator.outputs
        is_number = model.classes_.dtype.kind in "biuf"
        label.set_type((data_types.Int64TensorType if is_number else data_types.StringTensorType)([n_rows]))
        probabilities.type.shape = [n_rows, len(model.classes_)]
        return
    shape = [n_rows, *np.shape(model.intercept_)]
    ravel = _ravel(operator.scope_inst, model)
    operator.outputs[0].type.shape = shape if len(shape) > 1 or ravel else [n_rows, 1]


def _ravel(options, model):
    """Return whether a regressor of one target predicts one dimension; skl2onnx's own predict two."""
    return options.get_options(model, {"ravel": False})["ravel"]


def _convert(scope, operator, container):
    """Add a model of a dense input, the part that skl2onnx calls a converter."""
    from skl2onnx.common import data_types

    model = operator.raw_operator
    check_model(model)
    if container.target_opset_onnx < OPSET:
        raise ValueError(f"target_opset must be at least {OPSET} for skafm, got {container.target_opset_onnx}.")
    graph = Graph(model.factors_.dtype, scope.get_unique_variable_name)
    entries = dense_entries(graph, operator.inputs[0].full_name)
    ravel = not hasattr(model, "classes_") and _ravel(container, model)
    results = add_results(graph, model, entries, ravel=ravel)
    for result, variable in zip(results.values(), operator.outputs, strict=True):
        is_text = isinstance(variable.type, data_types.StringTensorType)
        to = {} if is_text else {"to": data_types.guess_proto_type(variable.type)}
        graph.add_node("Identity" if is_text else "Cast", [result], variable.full_name, **to)
    container.nodes.extend(graph.nodes)
    container.initializers.extend(graph.constants)
    container.node_domain_version_pair_sets.add(("", OPSET))
