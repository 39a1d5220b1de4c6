"""The entries of a block, feature by feature, in rectangles: features with about as many rows each, together.

Letters in shapes: B rows, F features, c rows of a feature, padded.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

_EXACT = 8
"""Up to this number of rows features are put together only if they have the same number; beyond, within a quarter."""


class Chunk(NamedTuple):
    """Some features of a block, and the rows of each."""

    features: Tensor
    """(F,)"""
    rows: Tensor
    """(F, c), B where a feature has fewer than c"""
    values: Tensor | None
    """(F, c), 0 where a feature has fewer than c rows; None if all others are 1"""
    weight: Tensor | None
    """(F, c) Sample weights; None if all are 1"""
    by_rows: bool
    """Whether the features have fewer rows than parameters."""


class Columns(NamedTuple):
    """A matrix in CSC form, with sample weights."""

    indptr: NDArray[Any]
    rows: NDArray[Any]
    values: NDArray[Any]
    n_rows: int
    weight: NDArray[Any] | None
    """(B,); None if all are 1"""

    @classmethod
    def of(cls, rows: sparse.csr_array, weight: NDArray[Any]) -> "Columns":
        """Return the columns of a CSR matrix."""
        columns = rows.tocsc()
        given = None if (weight == 1).all() else weight.astype(rows.dtype)
        return cls(columns.indptr, columns.indices, columns.data, rows.shape[0], given)


def build_chunks(
    columns: Columns, blocks: NDArray[Any], n_factors: int, max_elements: int, device: torch.device
) -> list[list[Chunk]]:
    """Return the chunks of each block.

    Parameters
    ----------
    columns : Columns
    blocks : ndarray of shape (n_features,)
    n_factors : int
    max_elements : int
        Maximum number of padded entries of a chunk times (k + 2), if it has more than one feature.
    device : torch.device
    """
    counts = np.diff(columns.indptr)
    padded = pad_counts(counts)
    order = np.lexsort((padded, blocks))
    order = order[counts[order] > 0]
    bounds = np.flatnonzero(np.diff(blocks[order]) | np.diff(padded[order])) + 1
    result: list[list[Chunk]] = [[] for _ in range(int(blocks.max(initial=-1)) + 1)]
    for alike in np.split(order, bounds) if len(order) else []:
        block, c = blocks[alike[0]], int(padded[alike[0]])
        size = max(max_elements // (c * (n_factors + 2)), 1)
        for start in range(0, len(alike), size):
            result[block].append(_build_chunk(columns, alike[start : start + size], c, n_factors, device))
    return [chunks for chunks in result if chunks]


def pad_counts(counts: NDArray[Any]) -> NDArray[Any]:
    """Return numbers of rows (n,), those above ``_EXACT`` rounded up to one of four sizes for each power of two."""
    step = 2 ** np.maximum(np.floor(np.log2(np.maximum(counts - 1, 1))).astype(np.int64) - 2, 0)
    return np.where(counts <= _EXACT, counts, -(-counts // step) * step)


def _build_chunk(columns: Columns, features: NDArray[Any], c: int, n_factors: int, device: torch.device) -> Chunk:
    """Return the chunk of features (F,), each of at most c rows."""
    starts, stops = columns.indptr[features], columns.indptr[features + 1]
    positions = starts[:, None] + np.arange(c)  # (F, c)
    inside = positions < stops[:, None]
    positions = np.where(inside, positions, 0)
    rows = np.where(inside, columns.rows[positions], columns.n_rows).astype(np.int64)
    values = np.where(inside, columns.values[positions], 0)
    weight = None if columns.weight is None else np.append(columns.weight, 1)[rows]
    # By the weights: a row of weight 2 is drawn as the row twice.
    most = (inside.sum(1) if weight is None else np.maximum(inside.sum(1), (weight * inside).sum(1))).max()
    optional = (None if (values[inside] == 1).all() else values, weight)
    x, s = (None if each is None else torch.as_tensor(each, device=device) for each in optional)
    as_tensor = partial(torch.as_tensor, device=device)
    return Chunk(as_tensor(features), as_tensor(rows), x, s, by_rows=bool(2 * most <= n_factors + 1))


def split_rows(chunk: Chunk, size: int) -> Iterator[Chunk]:
    """Yield parts of a chunk with at most ``size`` rows of each feature."""
    c = chunk.rows.shape[1]
    if c <= size:
        yield chunk
        return
    for start in range(0, c, size):
        part = slice(start, start + size)
        values, weight = (None if each is None else each[:, part] for each in (chunk.values, chunk.weight))
        yield chunk._replace(rows=chunk.rows[:, part], values=values, weight=weight)
