"""Rows taken apart into items and their contexts, and items ranked in a context."""

import numpy as np
from scipy import sparse

from skafm._estimators.fitted_model import working_memory

_BYTES_PER_ENTRY = 64
"""Of an entry of a row of context and item, and of the rows that it comes from."""


def keep_columns(X, columns):
    """Return CSR rows with the entries of some columns only, given by a mask (n_features,)."""
    kept = columns[X.indices]
    indptr = np.concatenate([[0], kept.cumsum()])[X.indptr].astype(X.indptr.dtype)
    return sparse.csr_array((X.data[kept], X.indices[kept], indptr), X.shape)


def distinct_rows(X):
    """Return the first (D,) of each of the D distinct rows of canonical CSR, and which of them each row (n,) equals."""
    lengths, number, firsts, n = np.diff(X.indptr), np.zeros(X.shape[0], np.int64), [], 0
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        entries = X.indptr[rows][:, None] + np.arange(length)  # (rows, length)
        table = np.column_stack([X.indices[entries], X.data[entries]])
        table = table if table.shape[1] else np.zeros((len(rows), 1))
        _, first, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
        number[rows] = n + inverse.ravel()
        firsts.append(rows[first])
        n += len(first)
    return np.concatenate(firsts), number


def max_rows(contexts, items):
    """Return how many rows, each the sum of one of the contexts and one of the items, can be scored at once."""
    lengths = (int(np.diff(X.indptr).max(initial=0)) for X in (contexts, items))
    return max(working_memory() // (_BYTES_PER_ENTRY * sum(lengths, 1)), 1)


def rank_items(score, contexts, catalog, item, known):
    """Return the rank (n,) of an item in each context, from 1; ties never help.

    Parameters
    ----------
    score : callable
        Scores CSR rows.
    contexts : CSR of shape (n, n_features)
    catalog : CSR of shape (n_items, n_features)
    item : ndarray of shape (n,)
        Number of the item in the catalog.
    known : CSR of shape (n, n_items), bool
        Items that are left out, but for that one.
    """
    n_items, ranks = catalog.shape[0], np.empty(len(item), np.int64)
    size = max(max_rows(contexts, catalog) // n_items, 1)
    for part in np.split(np.arange(len(item)), range(size, len(item), size)):
        n = len(part)
        rows = contexts[np.repeat(part, n_items)] + catalog[np.tile(np.arange(n_items), n)]
        scores, own = score(rows).reshape(n, n_items), (np.arange(n), item[part])
        counts = ~known[part].toarray()
        counts[own] = True
        ranks[part] = ((scores >= scores[own][:, None]) & counts).sum(1)
    return ranks
