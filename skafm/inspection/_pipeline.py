"""The final estimator of a pipeline, its input and the names of its features."""

from sklearn.pipeline import Pipeline


def split_pipeline(estimator, X, feature_names):
    """Return the model, its input and its feature names; of a pipeline, the other steps transform X and name it."""
    *transformers, model = unnest_pipeline(estimator)
    if not hasattr(model, "explain"):
        raise TypeError(
            f"{type(model).__name__} has no method explain: expected an FM, AFM, HOFM or FFM estimator, or a Pipeline "
            "that ends in one, or a fitted search for one."
        )
    names = None
    for transformer in transformers:
        X = transformer.transform(X)
        names = feature_names_out(transformer, names)
    return model, X, names if feature_names is None else feature_names


def unnest_pipeline(estimator):
    """Return the transformers and the model of a pipeline, of pipelines in it, and of the best one of a search."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(estimator, Pipeline):
        return [estimator]
    last = unnest_pipeline(estimator[-1])
    return last if len(estimator) == 1 else [estimator[:-1], *last]


def feature_names_out(transformer, names=None):
    """Return the names of the transformed columns, or None if a step, such as a hasher, does not name them."""
    try:
        return transformer.get_feature_names_out(names)
    except AttributeError:
        return None
