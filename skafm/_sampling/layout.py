"""The order in which the rows of a block are processed: feature by feature, in rectangles of about as many rows each.

A slot is a place in that order, for a row or, where a feature has fewer rows than its rectangle, for none. Each block
of which most rows have a feature brings all rows into its own order, which costs less than to put them back.

Letters in shapes: B rows, F features, c rows of a feature, padded, S slots of a block.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

_CALLS = 2000
"""Slots whose cost is about that of the calls for one more rectangle."""


class Rectangle(NamedTuple):
    """Features with about as many rows each."""

    features: slice
    """Which of the group's features, F."""
    slots: slice
    """Which of the block's slots, F c."""
    values: Tensor | None
    """(F, c), 0 for no row; None if all others are 1"""
    weight: Tensor | None
    """(F, c) Sample weights; None if all are 1"""

    def split(self, state: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
        """Yield views of the slots' state, values and weights, with at most ``size`` rows of each feature."""
        F, x, s = self.features.stop - self.features.start, self.values, self.weight
        rows = state[self.slots].view(F, -1, state.shape[1])  # (F, c, d + 1)
        c = rows.shape[1]
        if c <= size or (x is None and s is None):  # which needs no temporary array of that size
            yield rows, x, s
            return
        for start in range(0, c, size):
            part = slice(start, start + size)
            yield rows[:, part], None if x is None else x[:, part], None if s is None else s[:, part]


class Group(NamedTuple):
    """Features of a block whose parameters are drawn by the same calls."""

    features: Tensor
    """(F,)"""
    rectangles: list[Rectangle]
    by_rows: bool
    """Whether they have fewer rows than parameters; then there is one rectangle."""


class Block(NamedTuple):
    """Features of which no row has two."""

    source: Tensor
    """(S,) For each slot that of the row in the present order; the last is that of no row."""
    groups: list[Group]
    reorders: bool
    """Whether all rows have a slot, and that is the order from now on."""


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

    def effective_counts(self) -> NDArray[Any]:
        """Return the rows of each feature (n_features,), or the sum of their weights if more: 2 is the row twice."""
        counts: NDArray[Any] = np.diff(self.indptr)
        if self.weight is None:
            return counts
        total = np.append(0, np.cumsum(self.weight[self.rows], dtype=np.float64))
        return counts.clip(np.diff(total[self.indptr]).round(6))

    def select(self, features: NDArray[Any], slots: NDArray[Any]) -> "Columns":
        """Return some columns (n,), the entries of each in the order of the slots (B + 1,) of their rows."""
        counts = np.diff(self.indptr)[features]
        indptr = np.append(0, counts.cumsum())
        entries = np.arange(indptr[-1]) + np.repeat(self.indptr[features] - indptr[:-1], counts)  # (N,)
        key = np.repeat(np.arange(len(features)) * (int(slots[-1]) + 1), counts) + slots[self.rows[entries]]
        entries = entries[key.argsort()]
        return self._replace(indptr=indptr, rows=self.rows[entries], values=self.values[entries])

    def weight_of(self, rows: NDArray[Any]) -> NDArray[Any] | None:
        """Return the weights of rows (n,), 1 of the row B, which is none."""
        return None if self.weight is None else np.append(self.weight, self.weight.dtype.type(1))[rows]


def build_blocks(
    columns: Columns, blocks: NDArray[Any], n_factors: int, max_elements: int, device: torch.device
) -> tuple[list[Block], Tensor]:
    """Return the blocks, and the slot (B,) of each row before the first of them, which is that after the last.

    Parameters
    ----------
    columns : Columns
    blocks : ndarray of shape (n_features,)
        Number of the block of each feature, from 0.
    n_factors : int
    max_elements : int
        Maximum number of elements of the slots of a group, and of its matrices, if it has more than one feature.
    device : torch.device
    """
    counts = np.diff(columns.indptr)
    seen = np.flatnonzero(counts)
    few = 2 * columns.effective_counts() <= n_factors + 1
    order = seen[np.lexsort((-counts[seen], few[seen], blocks[seen]))]
    parts = [part for part in np.split(order, np.flatnonzero(np.diff(blocks[order])) + 1) if len(part)]
    slots, plans = np.arange(columns.n_rows + 1), []
    for part in [*parts[-1:], *parts]:  # the last twice: the first finds the rows in its order, or nearly so
        plans.append(_plan_block(columns.select(part, slots), part, few[part], n_factors, max_elements, device))
        slots = plans[-1].slots if plans[-1].reorders else slots
    first, result = slots, []
    for plan in plans[1:]:
        source = torch.as_tensor(slots[plan.rows], device=device)
        result.append(Block(source, plan.groups, plan.reorders))
        slots = plan.slots if plan.reorders else slots
    return result, torch.as_tensor(first, device=device)


class _Plan(NamedTuple):
    """A block by itself."""

    rows: NDArray[Any]
    """(S,) Row of each slot, B for none, as in the last."""
    groups: list[Group]
    reorders: bool

    @property
    def slots(self) -> NDArray[Any]:
        """(B + 1,) The slot of each row, if all have one, and of no row."""
        slots = np.empty(self.rows.max() + 1, np.int64)
        slots[self.rows] = np.arange(len(self.rows))
        return slots


def _plan_block(
    columns: Columns, features: NDArray[Any], few: NDArray[Any], n_factors: int, max_elements: int, device: torch.device
) -> _Plan:
    """Plan a block of columns, the features (n,), by number of rows, descending, those of few rows at the end."""
    rows: list[NDArray[Any]] = []
    groups: list[Group] = []
    start = 0
    for group in cut_groups(np.diff(columns.indptr), few, n_factors, max_elements):
        rectangles = []
        for part in group:
            rectangle, own = _build_rectangle(columns, part, group[0].start, start, device)
            rectangles.append(rectangle)
            rows.append(own)
            start = rectangle.slots.stop
        members = torch.as_tensor(features[group[0].start : group[-1].stop], device=device)
        groups.append(Group(members, rectangles, by_rows=bool(few[group[0].start])))
    reorders = 2 * start > columns.n_rows
    if reorders:
        left = np.ones(columns.n_rows + 1, bool)
        left[np.concatenate(rows)] = False
        rows.append(np.flatnonzero(left[:-1]))
    return _Plan(np.concatenate([*rows, [columns.n_rows]]), groups, reorders)


def cut_groups(counts: NDArray[Any], few: NDArray[Any], n_factors: int, max_elements: int) -> list[list[slice]]:
    """Cut features into groups of rectangles, given their numbers of rows (n,) and which have few rows (n,)."""
    width, filled = n_factors + 2, 0
    groups: list[list[slice]] = []
    for part in cut_rectangles(counts, few, width, max_elements):
        area = (part.stop - part.start) * max(int(counts[part.start]), width) * width
        if groups and not few[part.start] and filled + area <= max_elements:
            groups[-1].append(part)
        else:
            groups.append([part])
            filled = 0
        filled += area
    return groups


def cut_rectangles(counts: NDArray[Any], few: NDArray[Any], width: int, max_elements: int) -> list[slice]:
    """Cut features, as for :func:`cut_groups`, into rectangles, until slots of no row cost more than calls."""
    total = np.append(0, counts.cumsum())
    parts, start = [], 0
    while start < len(counts):
        c, size = counts[start], np.arange(1, len(counts) - start + 1)
        fits = size * c - (total[start + 1 :] - total[start]) <= _CALLS  # (n - start,)
        fits &= (size * max(c, width) * width <= max_elements) & (few[start:] == few[start])
        stop = start + max(int(np.append(fits, False).argmin()), 1)
        parts.append(slice(start, stop))
        start = stop
    return parts


def _build_rectangle(
    columns: Columns, part: slice, first: int, start: int, device: torch.device
) -> tuple[Rectangle, NDArray[Any]]:
    """Return the rectangle of a part of the columns, of a group from ``first`` on, and the rows (F c,) of its slots."""
    starts, stops = columns.indptr[part], columns.indptr[part.start + 1 : part.stop + 1]
    positions = starts[:, None] + np.arange((stops - starts).max())  # (F, c)
    inside = positions < stops[:, None]
    positions = np.where(inside, positions, 0)
    rows = np.where(inside, columns.rows[positions], columns.n_rows)
    values = np.where(inside, columns.values[positions], 0)
    optional = (None if (values[inside] == 1).all() else values, columns.weight_of(rows))
    x, s = (None if each is None else torch.as_tensor(each, device=device) for each in optional)
    features, slots = slice(part.start - first, part.stop - first), slice(start, start + rows.size)
    return Rectangle(features, slots, x, s), rows.ravel()
