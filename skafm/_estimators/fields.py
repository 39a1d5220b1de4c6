"""The field of each column, for models that know which features are levels of the same variable."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

_MAX_FIELDS = 1000
"""More fields are not plausible, and their embeddings side by side would not fit memory."""


class FieldsMixin:
    """Has the parameter ``fields`` and the fitted attribute ``fields_``."""

    fields: str | ArrayLike
    fields_: np.ndarray

    def _find_fields(self, data):
        """Return the field (n_features,) of each column, from 0: as fitted, as given, or inferred from the rows."""
        if hasattr(self, "fields_"):
            return self.fields_
        n_features = data.X.shape[1]
        if not isinstance(self.fields, str):
            return encode_fields(self.fields, n_features)[1]
        fields = _runs(np.max(data.group.all_gather(_previous_columns(data.X)), axis=0))
        if fields[-1] >= _MAX_FIELDS:
            raise ValueError(
                f"fields='auto' found {fields[-1] + 1} fields in X, as in text or dense data: pass fields, or use a "
                "model that needs none, such as AFM, NFM or HOFM."
            )
        return fields


def encode_fields(fields, n_features):
    """Return the distinct fields, sorted, and the index among them of each column's field (n_features,)."""
    try:
        given = np.asarray(fields)
        found, numbers = np.unique(given, return_inverse=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"fields must be all numbers or all names: {error}.") from error
    if given.shape != (n_features,):
        raise ValueError(
            f"fields must have the field of each of the {n_features} columns of X, shape ({n_features},), but has "
            f"shape {given.shape}."
        )
    if found.dtype.kind == "f" and np.isnan(found).any():
        raise ValueError("fields must not contain NaN.")
    return found, numbers.astype(np.int64)


def infer_fields(X):
    """Divide the columns into the fewest runs of adjacent columns such that no row has two entries in one run.

    A run must end between two consecutive entries of a row. Going through the columns, a run ends as late as possible:
    before the first column of which a row has its previous entry in the same run.

    Parameters
    ----------
    X : sparse matrix, sparse array or ndarray of shape (n_samples, n_features)

    Returns
    -------
    ndarray of shape (n_features,)
        The run of each column, ascending from 0.
    """
    return _runs(_previous_columns(X))


def _previous_columns(X):
    """Return for each column (n_features,) the last one before it with an entry in one of its rows, or -1."""
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
    """Return the run (n_features,) of each column; ``before`` (n_features,) is from ``_previous_columns``."""
    starts, start = np.zeros(len(before), np.int64), 0
    for each in np.flatnonzero(before >= 0).tolist():
        if before[each] >= start:
            starts[each], start = 1, each
    return starts.cumsum()
