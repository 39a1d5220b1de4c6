"""Rows that lack a one-hot field, such as those of a new user: the field counts as the average of its features.

For each one-hot field that all training rows have, there is one more feature, which stands for the field where a row
lacks it. Its parameters are the averages of those of the field's features that have rows, each counted once: a new user
is like any, not like one with many rows. Its number is ``n_features`` plus the number of the field.
"""

import numpy as np
from scipy import sparse

from skafm._estimators.fields import canonical_rows

_N_ROWS = 2**16
"""Number of rows that are looked at together."""


def average_rows(table, fields, seen):
    """Return the average (F, ...) of the rows of each field in a table.

    Parameters
    ----------
    table : ndarray of shape (n_features, ...)
        Integers, such as the numbers of the fields, are not averaged but taken from a field's first feature.
    fields : list of slice
        The features of each of F fields.
    seen : ndarray of shape (n_features,)
        1.0 for the features that count, and 0.0 for others.
    """
    if table.dtype.kind == "i":
        return table[[field.start for field in fields]]
    # Not by BLAS, whose idle threads slow torch's; and without a temporary table.
    means = [np.einsum("i,i...->...", seen[f] / seen[f].sum(), table[f]) for f in fields]
    return np.stack(means).astype(table.dtype)


def add_missing_fields(X, bounds):
    """Add to each row an entry of value 1 for each field that it lacks.

    Parameters
    ----------
    X : ndarray or CSR of shape (n_samples, n_features)
    bounds : ndarray of shape (2 F,)
        First feature of each of F fields, and the one after its last.

    Returns
    -------
    CSR of shape (n_samples, n_features + F), or X itself if no row lacks a field.
    """
    rows = canonical_rows(X)
    parts = [rows[start : start + _N_ROWS] for start in range(0, rows.shape[0], _N_ROWS)]
    lacks = np.concatenate([_lacks_field(part, bounds) for part in parts])
    if not lacks.any():
        return X
    return sparse.hstack([rows, sparse.csr_array(lacks, dtype=rows.dtype)], format="csr")


def _lacks_field(rows, bounds):
    """Return whether each row lacks each field: (n_samples, F)."""
    starts, stops = bounds[::2], bounds[1::2]
    lacks = np.ones((rows.shape[0], len(starts)), bool)
    if rows.nnz == lacks.size and (np.diff(rows.indptr) == len(starts)).all():  # a quick look, as most are
        indices = rows.indices.reshape(lacks.shape)
        if ((indices >= starts) & (indices < stops)).all():
            return ~lacks
    position = np.searchsorted(bounds, rows.indices, side="right")  # (nnz,) odd within a field
    row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))  # (nnz,)
    inside = position % 2 == 1
    lacks[row[inside], position[inside] // 2] = False
    return lacks
