"""Warnings and errors of a training, with advice on what to do."""

import sys
import warnings
from contextlib import contextmanager

import numpy as np
from scipy import sparse

from skafm._training.errors import DivergenceError

_LARGE = 1000
"""Absolute value from which an integer may be an id or a date."""
_DISTINCT = 0.9
"""Share of distinct values from which a column of large integers is taken for ids or dates."""
_MAX_NAMED = 5
_LIBRARIES = {"joblib", "skafm", "sklearn"}


def warn(message, category):
    """Warn at the line of the user's code that led here: the innermost one outside of ``_LIBRARIES``."""
    frame, stacklevel = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _LIBRARIES:
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel)


def remedy(X, learning_rate, feature_names=None):
    """Return what to do if training on X diverges, for a message.

    Parameters
    ----------
    X : ndarray or CSR of shape (n_samples, n_features)
    learning_rate : float
        The one in use.
    feature_names : array-like of shape (n_features,), optional

    Returns
    -------
    str
    """
    columns = identifier_columns(X)
    if not len(columns):
        return f"lower learning_rate (now {learning_rate}) or scale X, e.g. with MaxAbsScaler."
    named = [f"x{i}" if feature_names is None else str(feature_names[i]) for i in columns[:_MAX_NAMED]]
    more = f" and {len(columns) - _MAX_NAMED} more" if len(columns) > _MAX_NAMED else ""
    return (
        f"encode columns {', '.join(named)}{more} as categories, e.g. with OneHotEncoder, or leave them out: large "
        "integers that are nearly all distinct look like ids or dates, which scaling does not help."
    )


def identifier_columns(X, n_rows=1000):
    """Return the columns that look like ids or dates in the first rows: large integers, nearly all distinct."""
    head = sparse.csc_array(X[:n_rows])
    head.eliminate_zeros()
    largest = abs(head).max(axis=0).toarray().ravel()  # (n_features,)
    found = []
    for column in np.flatnonzero(largest >= _LARGE):
        values = head.data[head.indptr[column] : head.indptr[column + 1]]
        if (values == np.floor(values)).all() and len(np.unique(values)) > max(1, _DISTINCT * head.shape[0]):
            found.append(column)
    return found


@contextmanager
def explain_divergence(estimator, X):
    """Add to the error of a diverged training what to do about it."""
    try:
        yield
    except DivergenceError as error:
        names = getattr(estimator, "feature_names_in_", None)
        raise ValueError(f"{error}: {remedy(X, estimator.learning_rate, names)}") from error
