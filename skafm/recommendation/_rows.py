"""The two parts of a row: a context, such as a user and a time, and an item of a catalog."""

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from skafm._estimators.sparse_checks import check_sparse
from skafm._estimators.validation import prefix_error


def check_model(model):
    """Raise an error if a model is no fitted estimator of skafm."""
    if not hasattr(model, "_predict_raw"):
        raise TypeError(
            f"model must be a fitted estimator of skafm, got {type(model).__name__}. Of a pipeline pass the last step, "
            "and contexts and items as the steps before it transform them; of a search its best_estimator_."
        )
    check_is_fitted(model)


def check_rows(model, X, name):
    """Return rows as CSR in the precision of a model with one score, with sorted, distinct entries and no zeros."""
    with prefix_error(f"Invalid {name}"):
        X = model._validate_rows(X)
    if np.ndim(model.intercept_):
        raise ValueError(
            f"Items are ranked by one score, but this {type(model).__name__} has {len(model.intercept_)} for each row: "
            "fit a regressor with one target, or a classifier with two classes."
        )
    X = sparse.csr_array(X, copy=sparse.issparse(X))
    X.sum_duplicates()
    X.eliminate_zeros()
    return X


def check_disjoint(model, contexts, items):
    """Raise a ValueError if a column has entries in contexts and in items."""
    shared = np.intersect1d(contexts.indices, items.indices)
    if len(shared):
        names = getattr(model, "feature_names_in_", None)
        first = f"{shared[0]}" if names is None else f"{shared[0]} ({names[shared[0]]!r})"
        raise ValueError(
            f"contexts and items must have entries in different columns, but share {len(shared)}, the first being "
            f"column {first}: leave the columns of the item empty in contexts, and all others in items."
        )


def check_mask(mask, shape, name):
    """Return a mask of contexts and items as a CSR array of booleans without False, or None."""
    if mask is None:
        return None
    with prefix_error(f"Invalid {name}"):
        mask = sparse.csr_array(check_sparse(mask))
    if mask.shape != shape:
        raise ValueError(
            f"{name} must have a row for each context and a column for each item, shape {shape}, got {mask.shape}."
        )
    mask = sparse.csr_array(mask, dtype=bool, copy=True)
    mask.eliminate_zeros()
    return mask
