"""The final estimator of a pipeline and its input."""

from sklearn.pipeline import Pipeline


def split_pipeline(estimator, X, feature_names):
    """Return the model, its input and its feature names; of a pipeline, the other steps transform X and name it."""
    if not isinstance(estimator, Pipeline):
        return _check_has_explain(estimator), X, feature_names
    model = _check_has_explain(estimator[-1])
    if len(estimator) == 1:
        return model, X, feature_names
    transformers = estimator[:-1]
    X = transformers.transform(X)
    return model, X, _feature_names_out(transformers) if feature_names is None else feature_names


def _feature_names_out(transformers):
    """Return the names of the transformed columns, or None if a step, such as a hasher, does not name them."""
    try:
        return transformers.get_feature_names_out()
    except AttributeError:
        return None


def _check_has_explain(model):
    """Return the model, or raise a TypeError if its raw score is no sum over pairs."""
    if not hasattr(model, "explain"):
        raise TypeError(
            f"{type(model).__name__} has no method explain: expected an FM, AFM, HOFM or FFM estimator, or a Pipeline "
            "that ends in one."
        )
    return model
