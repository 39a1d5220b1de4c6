"""The columns of a table that the features of a model come from: the fields of one-hot encoded columns."""

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from skafm.inspection._pipeline import feature_names_out, unnest_pipeline


def find_columns(estimator):
    """Return the name of the column (n_features,) that each feature of a pipeline's model comes from.

    Parameters
    ----------
    estimator : estimator
        Fitted model, or a Pipeline that ends in one.

    Returns
    -------
    ndarray of shape (n_features,) or None
        None if there are no transformers, or if one of them, such as a hasher, may combine columns.
    """
    *transformers, _ = unnest_pipeline(estimator)
    columns = _names_in(transformers[0]) if transformers else None
    for transformer in transformers:
        columns = _columns_out(transformer, columns)
    return columns


def _names_in(transformer):
    """Return the names of the columns that a transformer was fitted on, or None if it has not seen a table."""
    n_columns = getattr(transformer, "n_features_in_", None)
    if n_columns is None:
        return None
    names = getattr(transformer, "feature_names_in_", [f"x{i}" for i in range(n_columns)])
    return np.asarray(names, dtype=object)


def _columns_out(transformer, columns):
    """Return the original column of each transformed one, given those of the input; None if it is not known."""
    if columns is None or isinstance(transformer, str):  # passthrough
        return columns
    if isinstance(transformer, Pipeline):
        for _, step in transformer.steps:
            columns = _columns_out(step, columns)
        return columns
    if isinstance(transformer, OneHotEncoder):
        return np.repeat(columns, _count_categories(transformer))
    if isinstance(transformer, ColumnTransformer):
        return _columns_of_parts(transformer, columns)
    is_one_to_one = np.array_equal(feature_names_out(transformer), _names_in(transformer))
    return columns if is_one_to_one else None


def _count_categories(encoder):
    """Return how many columns a one-hot encoder makes of each column."""
    counts = np.array([len(categories) for categories in encoder.categories_])
    if encoder.drop_idx_ is not None:
        counts -= [dropped is not None for dropped in encoder.drop_idx_]
    infrequent = getattr(encoder, "infrequent_categories_", [None] * len(counts))  # they share a column
    return counts - [0 if categories is None else len(categories) - 1 for categories in infrequent]


def _columns_of_parts(transformer, columns):
    """Return the original column of each column that a ColumnTransformer returns; None if it is not known."""
    slices = transformer.output_indices_
    result = np.empty(max(part.stop for part in slices.values()), dtype=object)
    for name, part, key in transformer.transformers_:
        if slices[name].start == slices[name].stop:
            continue
        found = _columns_out(part, _select(columns, key, _names_in(transformer).tolist()))
        if found is None:
            return None
        result[slices[name]] = found
    return result


def _select(columns, key, names):
    """Return the columns that a part of a ColumnTransformer is given: by name, position, mask or slice of positions."""
    if isinstance(key, slice):
        return None if isinstance(key.stop, str) or isinstance(key.start, str) else columns[key]
    return columns[[names.index(each) if isinstance(each, str) else each for each in np.atleast_1d(key).tolist()]]
