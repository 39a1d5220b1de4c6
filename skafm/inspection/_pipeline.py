"""A fitted model and its rows, by themselves or in a pipeline."""

from sklearn.pipeline import Pipeline


def take_apart(estimator, X, feature_names):
    """Return the model, its rows and their names: of a pipeline that ends in one, what its other steps make of X."""
    if not isinstance(estimator, Pipeline):
        return check_explains(estimator), X, feature_names
    before, model = estimator[:-1], check_explains(estimator[-1])
    if feature_names is None and hasattr(before, "get_feature_names_out"):
        feature_names = before.get_feature_names_out()
    return model, before.transform(X), feature_names


def check_explains(model):
    """Return the model if its raw score is a sum over pairs."""
    if not hasattr(model, "explain"):
        raise TypeError(
            f"{type(model).__name__} has no explain: expected an FM, AFM or FFM, or a pipeline that ends in one."
        )
    return model
