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
_UNSCALED = 10
"""Absolute value of X from which its scale may be why a model is no better than a constant."""
_N_ROWS = 1000
"""Number of rows that are looked at."""
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


def remedy_for_no_gain(X, learning_rate, feature_names=None):
    """Return what to do if a model of X is no better than a constant, for a message; as :func:`remedy`."""
    largest = np.abs(X.data if sparse.issparse(X) else X).max(initial=0)
    if largest <= _UNSCALED:
        return (
            f"{X.shape[0]:,} samples may be too few for {X.shape[1]:,} features, or X may carry no signal: increase "
            "l2_factors, decrease n_factors, and compare with a linear model."
        )
    advice = remedy(X, learning_rate, feature_names)
    if len(identifier_columns(X)) or not _large_integers(X):
        return advice
    return f"{advice[:-1]}, and encode integers that are codes, such as zip codes, with OneHotEncoder."


def identifier_columns(X):
    """Return the columns that look like ids or dates in the first rows: large integers, nearly all distinct."""
    n_rows = min(X.shape[0], _N_ROWS)
    return [column for column, n_distinct in _large_integers(X).items() if n_distinct > max(1, _DISTINCT * n_rows)]


def _large_integers(X):
    """Return the columns of integers up to large ones in the first rows, and how many distinct ones they have."""
    head = sparse.csc_array(X[:_N_ROWS])
    head.eliminate_zeros()
    largest = abs(head).max(axis=0).toarray().ravel()  # (n_features,)
    candidates = np.flatnonzero((largest >= _LARGE) & (np.spacing(largest) <= 1))  # beyond, all numbers are integers
    columns = {c: head.data[head.indptr[c] : head.indptr[c + 1]] for c in candidates}
    return {c: len(np.unique(values)) for c, values in columns.items() if (values == np.floor(values)).all()}


@contextmanager
def explain_divergence(estimator, X):
    """Add to the error of a diverged training, or of a model that does not fit memory, what to do about it."""
    try:
        yield
    except DivergenceError as error:
        names = getattr(estimator, "feature_names_in_", None)
        raise ValueError(f"{error}: {remedy(X, estimator.learning_rate, names)}") from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise MemoryError(
            f"There is not enough memory to train a model of {X.shape[1]:,} columns: use fewer n_factors, renumber the "
            "columns that have entries from 0, or hash them into fewer with FeatureHasher."
        ) from error
