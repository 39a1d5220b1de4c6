"""A fitted model and its rows, by themselves or in a pipeline."""

from sklearn.pipeline import Pipeline


def take_apart(estimator, X, feature_names):
    """Return the model, its rows and their names: of a pipeline that ends in one, what its other steps make of X."""
    if not isinstance(estimator, Pipeline):
        return check_explains(estimator), X, feature_names
    model = check_explains(estimator[-1])
    if len(estimator) == 1:
        return model, X, feature_names
    before = estimator[:-1]
    rows = before.transform(X)
    return model, rows, _names(before) if feature_names is None else feature_names


def _names(before):
    """Return what the steps call their columns, or None if one of them, such as a hasher, has no names for them."""
    try:
        return before.get_feature_names_out()
    except AttributeError:
        return None


def check_explains(model):
    """Return the model if its raw score is a sum over pairs."""
    if not hasattr(model, "explain"):
        raise TypeError(
            f"{type(model).__name__} has no explain: expected an FM, AFM or FFM, or a pipeline that ends in one."
        )
    return model
