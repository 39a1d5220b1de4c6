"""The field of each column, for models that know which features stand for the same variable."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils._param_validation import StrOptions

from skafm._exchange import CURRENT

FIELDS = {"fields": [StrOptions({"auto"}), "array-like"]}
"""Constructor parameter of ``ByField``, and what it may be."""

_MOST = 1000
"""More fields than this are not believed: embeddings side by side would be no field's."""


class ByField:
    """Has the parameter ``fields``, and learns ``fields_``."""

    fields: str | ArrayLike
    fields_: np.ndarray

    def _find_fields(self, X):
        """Return the field (n_features,) of each column, from 0: as learnt, as given, or from the rows."""
        if hasattr(self, "fields_"):
            return self.fields_
        n_features = X.shape[1]
        if not isinstance(self.fields, str):
            return number_fields(self.fields, n_features)[1]
        fields = _runs(np.max(CURRENT.get().gather(_nearest(X)), axis=0))
        if fields[-1] >= _MOST:
            raise ValueError(
                f"fields='auto' found {fields[-1] + 1} fields in X, as text or many numbers have them: give fields, "
                "or use a model that needs none, such as AFM, NFM or HOFM."
            )
        return fields


def number_fields(fields, n_features):
    """Return the distinct names or numbers of given fields, and which of them each column has (n_features,)."""
    try:
        given = np.asarray(fields)
        found, numbers = np.unique(given, return_inverse=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"fields must be all numbers or all names: {error}.") from error
    if given.shape != (n_features,):
        raise ValueError(
            f"fields must name the field of each of the {n_features} columns of X, shape ({n_features},), "
            f"but has shape {given.shape}."
        )
    if found.dtype.kind == "f" and np.isnan(found).any():
        raise ValueError("fields must name the field of every column, but some are nan.")
    return found, numbers.astype(np.int64)


def infer_fields(X):
    """Return the fewest runs of neighbouring columns of which no row has two entries in one.

    A run must end between two entries that are neighbours in a row. Going through the columns, it ends at the last
    moment, before the first column that has a row's entry before it in the same run.

    Parameters
    ----------
    X : sparse matrix, sparse array or ndarray of shape (n_samples, n_features)

    Returns
    -------
    ndarray of shape (n_features,)
        The run of each column, ascending from 0.
    """
    return _runs(_nearest(X))


def _nearest(X):
    """Return for each column (n_features,) the nearest before it that has an entry in one of its rows, or -1."""
    rows = sparse.csr_array(X, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    inside = np.ones(rows.nnz, bool)  # entries with one before them in their row
    inside[rows.indptr[:-1][np.diff(rows.indptr) > 0]] = False
    column = np.flatnonzero(inside)
    before = np.full(X.shape[1], -1)
    np.maximum.at(before, rows.indices[column], rows.indices[column - 1])
    return before


def _runs(before):
    """Return the run (n_features,) of each column, of ``before`` as ``_nearest`` returns it."""
    starts, start = np.zeros(len(before), np.int64), 0
    for each in np.flatnonzero(before >= 0).tolist():
        if before[each] >= start:
            starts[each], start = 1, each
    return starts.cumsum()
