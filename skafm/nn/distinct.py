"""The distinct entries and pairs of a batch, which :mod:`skafm.nn.pairs` works.

Letters in shapes: B rows, N entries, M distinct entries, P pairs, D distinct pairs, k factors.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from skafm.nn import functional
from skafm.nn.rows import PairRows


class Places(NamedTuple):
    """The pairs of a batch, row after row."""

    left: Tensor
    """(P,) Position of the first entry of each pair among the N entries, ascending."""
    right: Tensor
    """(P,) Position of the second one, in the same row."""
    rows: PairRows


class Pairs(NamedTuple):
    """The pairs of a batch, and the distinct ones among them."""

    left: Tensor
    """(D,) First entry of each distinct pair, ascending; the last one is repeated until D is a multiple of 64."""
    right: Tensor
    """(D,) Second entry of each distinct pair."""
    distinct: Tensor
    """(P,) The distinct pair of each pair, row after row."""
    rows: PairRows
    order: Tensor
    """(P,) The pairs, distinct pair after distinct pair."""
    starts: Tensor
    """(D + 1,) The pairs of distinct pair d are ``order[starts[d]:starts[d + 1]]``."""


def distinct_entries(factors: Tensor, indices: Tensor, values: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return ``v_i x_i`` (M, k) of each distinct (feature, value), and which of them each entry is (N,)."""
    if values is None:  # one-hot: the entries are the features
        return factors, indices
    levels, level = torch.unique(values, return_inverse=True)
    keys, entry = torch.unique(indices.long() * len(levels) + level, return_inverse=True)  # (M,), (N,)
    distinct_values = levels[keys % len(levels)].unsqueeze(1)  # (M, 1)
    return factors.index_select(0, keys // len(levels)) * distinct_values, entry


def common_length(offsets: Tensor, n_entries: int) -> int | None:
    """Return how many entries each row has, if all have as many."""
    length = max(n_entries // max(len(offsets) - 1, 1), 1)
    even = torch.arange(0, n_entries + 1, length, dtype=offsets.dtype, device=offsets.device)
    return length if torch.equal(offsets, even) else None


def count_pairs(offsets: Tensor, length: int | None) -> int:
    """Return how many pairs the rows have."""
    if length is not None:
        return (len(offsets) - 1) * length * (length - 1) // 2
    lengths = offsets.diff().long()
    return int((lengths * (lengths - 1)).sum()) // 2


def find_places(offsets: Tensor, n_entries: int, length: int | None, part: slice = slice(None)) -> Places:
    """Enumerate the pairs of a batch, or of its one row those whose left entry is in a part of it."""
    n_rows = len(offsets) - 1
    if length is None or part != slice(None):
        left, right, row = functional.pairs(offsets, n_entries, part)
        return Places(left, right, PairRows(row, n_rows, even=n_rows == 1 and len(row) > 0))
    first, second = torch.triu_indices(length, length, 1, device=offsets.device)  # of one row
    row = torch.arange(n_rows, device=offsets.device).unsqueeze(1)  # (B, 1)
    start = row * length
    rows = PairRows(row.expand(-1, len(first)).reshape(-1), n_rows, even=length > 1)
    return Places((start + first).view(-1), (start + second).view(-1), rows)


def find_pairs(entry: Tensor, places: Places, n_entries: int) -> Pairs:
    """Find the distinct ones among pairs, ``entry`` (N,) being the distinct entry of each."""
    entry = entry.to(torch.int32 if n_entries**2 < 2**31 else torch.int64)  # 32 bits sort in half the time
    keys = (entry * n_entries).index_select(0, places.left) + entry.index_select(0, places.right)  # (P,)
    keys, order = keys.sort(stable=True)
    keys, inverse, counts = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
    # A product of matrices of a new shape is planned anew, in up to a millisecond: round D up, so that few are new.
    more = -len(keys) % 64
    keys, counts = torch.cat([keys, keys[-1:].expand(more)]).long(), pad(counts, (0, more))
    first = keys.div(max(n_entries, 1), rounding_mode="floor")  # (D,)
    return Pairs(
        left=first,
        right=keys - first * n_entries,
        distinct=torch.empty_like(inverse).index_copy_(0, order, inverse),
        rows=places.rows,
        order=order,
        starts=pad(counts.cumsum(0), (1, 0)),
    )


def cut_row(n_entries: int, max_pairs: int) -> list[slice]:
    """Cut one row into runs of left entries that have at most so many pairs, or are one entry."""
    if n_entries * (n_entries - 1) // 2 <= max_pairs:
        return [slice(None)]
    cuts, n_pairs = [0], 0
    for entry in range(n_entries - 1):
        partners = n_entries - 1 - entry
        if n_pairs + partners > max_pairs and n_pairs > 0:
            cuts.append(entry)
            n_pairs = 0
        n_pairs += partners
    return [slice(start, stop) for start, stop in pairwise([*cuts, n_entries])]
