"""Blocks of features of which no row has two: given all other features, those of a block are independent."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MAX_BLOCKS = 1000
"""Beyond this number of blocks, which are drawn one after another, a sweep takes too long."""


def find_blocks(rows: sparse.csr_array, fields: NDArray[Any]) -> NDArray[Any]:
    """Return the block (n_features,) of each feature, from 0.

    The fields are blocks if no row has two features of one, and if coloring the columns gives no fewer.

    Parameters
    ----------
    rows : CSR of shape (n_samples, n_features)
        With sorted, distinct entries.
    fields : ndarray of shape (n_features,)
        Field of each feature, from 0.

    Raises
    ------
    ValueError
        If the rows need more than ``MAX_BLOCKS`` blocks.
    """
    fewest = int(np.diff(rows.indptr).max(initial=0))  # the features of one row are in different blocks
    if fewest > MAX_BLOCKS:
        raise ValueError(
            f"A row of X has {fewest} non-zero features, more than the maximum of {MAX_BLOCKS} for Gibbs sampling: "
            "select features, e.g. with SelectKBest, or use FMRegressor or FMClassifier."
        )
    if fields.max(initial=-1) + 1 == fewest:
        return fields
    colors = color_columns(rows)
    n_blocks = int(colors.max(initial=-1)) + 1
    if n_blocks > MAX_BLOCKS:
        raise ValueError(
            f"X needs {n_blocks} blocks of columns of which no row has two, more than the maximum of {MAX_BLOCKS}: "
            "select features, e.g. with SelectKBest, or use FMRegressor or FMClassifier."
        )
    return colors


def color_columns(rows: sparse.csr_array) -> NDArray[Any]:
    """Color the columns so that no row has two of one color, the most frequent column first (Welsh and Powell, 1967).

    Each column gets the first color that none of its rows has yet.

    Parameters
    ----------
    rows : CSR of shape (n_samples, n_features)

    Returns
    -------
    ndarray of shape (n_features,)
        Color of each column, from 0; 0 for a column without entries.
    """
    columns = rows.tocsc()
    counts = np.diff(columns.indptr)
    colors = np.zeros(rows.shape[1], np.int64)
    taken = np.zeros((0, rows.shape[0]), np.uint64)  # a bit for each color, 64 colors a line
    order = np.argsort(-counts, kind="stable")
    for column in order[: np.count_nonzero(counts)].tolist():
        own = columns.indices[columns.indptr[column] : columns.indptr[column + 1]]
        color = _first_free(taken, own)
        if color >= 64 * len(taken):
            taken = np.vstack([taken, np.zeros((1, rows.shape[0]), np.uint64)])
        taken[color // 64, own] |= np.uint64(1 << color % 64)
        colors[column] = color
    return colors


def _first_free(taken: NDArray[Any], own: NDArray[Any]) -> int:
    """Return the first color that none of a column's rows ``own`` (c,) has."""
    for line, bits in enumerate(taken):
        free = ~int(np.bitwise_or.reduce(bits[own])) & (2**64 - 1)
        if free:
            return 64 * line + (free & -free).bit_length() - 1
    return 64 * len(taken)
