"""Some of the features of a model: their columns of X, and their rows of its tables. All others cost no time.

A table has one row for each feature. A feature from ``n_features`` on stands for a missing field: its row is in another
table, ``missing`` (see ``missing_fields``).
"""

import numpy as np
from scipy import sparse

from skafm._training.collectives import SINGLE_PROCESS


def select_features(parameters, features, tables, missing):
    """Return parameters with the rows of some features only.

    Parameters
    ----------
    parameters : dict of str to ndarray
    features : ndarray of shape (U,)
        Ascending.
    tables : iterable of str
        Names of the parameters with one row for each feature.
    missing : dict of str to ndarray
        Their rows of missing fields.
    """
    return parameters | {name: _take(parameters[name], missing.get(name), features) for name in tables}


def _take(table, missing, features):
    known = np.searchsorted(features, len(table))
    rows = table[features[:known]]
    return rows if known == len(features) else np.concatenate([rows, missing[features[known:] - len(table)]])


def put_rows(table, missing, features, rows):
    """Set the rows of some features of a table, in place."""
    known = np.searchsorted(features, len(table))
    table[features[:known]] = rows[:known]
    if known < len(features):
        missing[features[known:] - len(table)] = rows[known:]


def compact_columns(rows, group=SINGLE_PROCESS):
    """Return the columns (U,) that have entries, on any rank, ascending, and CSR rows of these columns only."""
    columns = np.unique(np.concatenate(group.all_gather(np.unique(rows.indices))))
    indices = np.searchsorted(columns, rows.indices).astype(rows.indices.dtype)
    return columns, sparse.csr_array((rows.data, indices, rows.indptr), shape=(rows.shape[0], len(columns)))
