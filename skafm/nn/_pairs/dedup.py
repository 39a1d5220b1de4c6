"""The pairs of a batch, and the distinct entries and pairs among them."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from skafm.nn import functional
from skafm.nn._pairs.segment_ops import PairRows


class PairPositions(NamedTuple):
    """The pairs of a batch, in row order."""

    left: Tensor
    """(P,) Position of the first entry of each pair among the N entries, ascending."""
    right: Tensor
    """(P,) Position of the second one, in the same row."""
    rows: PairRows


class DistinctPairs(NamedTuple):
    """The distinct pairs of a batch, and the pairs that each of them stands for."""

    left: Tensor
    """(D,) First entry of each distinct pair, ascending; the last one is repeated until D is a multiple of 64."""
    right: Tensor
    """(D,) Second entry of each distinct pair."""
    inverse: Tensor
    """(P,) The distinct pair of each pair, in row order."""
    rows: PairRows
    order: Tensor
    """(P,) The pairs sorted by distinct pair."""
    offsets: Tensor
    """(D + 1,) Distinct pair d stands for the pairs ``order[offsets[d]:offsets[d + 1]]``."""


def distinct_entries(factors: Tensor, indices: Tensor, values: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return ``v_i x_i`` (M, k) of each distinct (feature, value), and the index among them (N,) of each entry."""
    if values is None:  # one-hot: the entries are the features
        return factors, indices
    levels, level = torch.unique(values, return_inverse=True)
    keys, entry_index = torch.unique(indices.long() * len(levels) + level, return_inverse=True)  # (M,), (N,)
    distinct_values = levels[keys % len(levels)].unsqueeze(1)  # (M, 1)
    return factors.index_select(0, keys // len(levels)) * distinct_values, entry_index


def common_length(offsets: Tensor, n_entries: int) -> int | None:
    """Return the number of entries of each row, if all rows have the same number."""
    length = max(n_entries // max(len(offsets) - 1, 1), 1)
    uniform = torch.arange(0, n_entries + 1, length, dtype=offsets.dtype, device=offsets.device)
    return length if torch.equal(offsets, uniform) else None


def count_pairs(offsets: Tensor, length: int | None) -> int:
    """Return the number of pairs of all rows."""
    if length is not None:
        return (len(offsets) - 1) * length * (length - 1) // 2
    lengths = offsets.diff().long()
    return int((lengths * (lengths - 1)).sum()) // 2


def pair_positions(offsets: Tensor, n_entries: int, length: int | None, part: slice = slice(None)) -> PairPositions:
    """Enumerate the pairs of a batch; of a single row also those whose left entry is in a part of it."""
    n_rows = len(offsets) - 1
    if length is None or part != slice(None):
        left, right, row = functional.pairs(offsets, n_entries, part)
        return PairPositions(left, right, PairRows(row, n_rows, uniform=n_rows == 1 and len(row) > 0))
    first, second = torch.triu_indices(length, length, 1, device=offsets.device)  # of one row
    row = torch.arange(n_rows, device=offsets.device).unsqueeze(1)  # (B, 1)
    start = row * length
    rows = PairRows(row.expand(-1, len(first)).reshape(-1), n_rows, uniform=length > 1)
    return PairPositions((start + first).view(-1), (start + second).view(-1), rows)


def distinct_pairs(entry_index: Tensor, positions: PairPositions, n_entries: int) -> DistinctPairs:
    """Find the distinct pairs; ``entry_index`` (N,) is the distinct entry of each entry, of ``n_entries``."""
    entry_index = entry_index.to(torch.int32 if n_entries**2 < 2**31 else torch.int64)  # 32 bits sort in half the time
    keys = (entry_index * n_entries).index_select(0, positions.left)  # (P,)
    keys += entry_index.index_select(0, positions.right)
    keys, order = keys.sort(stable=True)
    keys, inverse, counts = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
    # MKL and oneDNN set up a matrix product of a new shape in up to a millisecond: round D up, so that few are new.
    padding = -len(keys) % 64
    keys, counts = torch.cat([keys, keys[-1:].expand(padding)]).long(), pad(counts, (0, padding))
    left = keys.div(max(n_entries, 1), rounding_mode="floor")  # (D,)
    return DistinctPairs(
        left=left,
        right=keys - left * n_entries,
        inverse=torch.empty_like(inverse).index_copy_(0, order, inverse),
        rows=positions.rows,
        order=order,
        offsets=pad(counts.cumsum(0), (1, 0)),
    )


def split_row(n_entries: int, max_pairs: int) -> list[slice]:
    """Split one row into runs of left entries with at most ``max_pairs`` pairs, or of one entry."""
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
