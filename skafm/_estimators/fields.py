"""The field of each column, for models that know which features are levels of the same variable."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

_MAX_FIELDS = 1000
"""Maximum number of inferred fields: more are implausible, and their concatenated embeddings would not fit memory."""


class FieldsMixin:
    """Mixin for estimators with the parameter ``fields`` and the fitted attribute ``fields_``."""

    fields: str | ArrayLike
    fields_: np.ndarray

    def _find_fields(self, data):
        """Return the field (n_features,) of each column, from 0: as fitted, as given, or inferred from the rows."""
        if hasattr(self, "fields_"):
            return self.fields_
        n_features = data.X.shape[1]
        if not isinstance(self.fields, str):
            return encode_fields(self.fields, n_features)[1]
        fields = _assign_fields(np.max(data.group.all_gather(_preceding_columns(data.X)), axis=0))
        if fields[-1] >= _MAX_FIELDS:
            raise ValueError(
                f"fields='auto' found {fields[-1] + 1} fields in X, more than the maximum of {_MAX_FIELDS}, as is "
                "typical of text and dense data: pass fields, or use a model without fields, e.g. AFM, NFM or HOFM."
            )
        return fields


def encode_fields(fields, n_features):
    """Return the distinct fields, sorted, and the index (n_features,) of each column's field among them."""
    try:
        fields = np.asarray(fields)
        distinct, codes = np.unique(fields, return_inverse=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"fields must be all numbers or all names: {error}.") from error
    if fields.shape != (n_features,):
        raise ValueError(
            f"fields must have the field of each of the {n_features} columns of X, shape ({n_features},), but has "
            f"shape {fields.shape}."
        )
    if distinct.dtype.kind == "f" and np.isnan(distinct).any():
        raise ValueError("fields must not contain NaN.")
    return distinct, codes.astype(np.int64)


def infer_fields(X):
    """Infer the fields: the fewest groups of adjacent columns such that no row has two entries in one group.

    A new field must begin between two consecutive entries of a row. Each field is extended as far as possible: up to
    the first column for which a row has its preceding entry in the same field.

    Parameters
    ----------
    X : sparse matrix, sparse array or ndarray of shape (n_samples, n_features)

    Returns
    -------
    ndarray of shape (n_features,)
        Index of the field of each column, non-decreasing from 0.
    """
    return _assign_fields(_preceding_columns(X))


def complete_fields(data):
    """Find the one-hot fields that every row has: exactly one entry, of value 1, in the field's columns.

    Parameters
    ----------
    data : Samples

    Returns
    -------
    fields : list of slice
        The columns of each such field.
    seen : ndarray of shape (n_features,)
        1.0 for each column that a row has, otherwise 0.0.
    """
    group, rows = data.group, canonical_rows(data.X)
    fields = _assign_fields(np.max(group.all_gather(_preceding_columns(rows)), axis=0))
    seen = group.all_reduce_sum(np.bincount(rows.indices, minlength=rows.shape[1])) > 0
    ones = np.bincount(fields[rows.indices], rows.data == 1, minlength=fields[-1] + 1)
    complete = np.flatnonzero(group.all_reduce_sum(ones) == group.all_reduce_sum(rows.shape[0]))
    starts, stops = (np.searchsorted(fields, complete, side) for side in ("left", "right"))
    return [slice(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)], seen.astype(float)


def canonical_rows(X):
    """Return rows as CSR with sorted, distinct entries and no zeros; without a copy if they are so."""
    rows = sparse.csr_array(X)
    if not (rows.has_canonical_format and rows.data.all()):
        rows = rows.copy()
        rows.sum_duplicates()
        rows.eliminate_zeros()
    return rows


def _preceding_columns(X):
    """Return for each column (n_features,) the last preceding column that has an entry in one of its rows, or -1."""
    rows = canonical_rows(X)
    has_preceding = np.ones(rows.nnz, bool)  # whether an entry is not the first of its row
    has_preceding[rows.indptr[:-1][np.diff(rows.indptr) > 0]] = False
    entries = np.flatnonzero(has_preceding)
    preceding = np.full(X.shape[1], -1)
    np.maximum.at(preceding, rows.indices[entries], rows.indices[entries - 1])
    return preceding


def _assign_fields(preceding):
    """Return the field (n_features,) of each column; ``preceding`` (n_features,) is from ``_preceding_columns``."""
    is_first, first = np.zeros(len(preceding), np.int64), 0
    for column in np.flatnonzero(preceding >= 0).tolist():
        if preceding[column] >= first:
            is_first[column], first = 1, column
    return is_first.cumsum()
