"""Rows of a CSR matrix, padded batch by batch to one of a few lengths, in tensors whose sizes are known beforehand."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from skafm._options import experimental_cuda
from skafm._training.batching import CSRRows

_MAX_PADDING = 2.0
"""Most times as many pairs as without padding."""
_N_LENGTHS = 4
"""Most lengths that batches are padded to."""


class PaddedRows:
    """Rows and the lengths that their batches are padded to.

    A shorter row is padded with its first feature and the value 0, which adds to no sum and no gradient; one without
    entries with a feature of another row of the batch.

    Parameters
    ----------
    rows : CSRRows
    lengths : sequence of int
        Ascending; the last one is that of the longest row.
    """

    def __init__(self, rows: CSRRows, lengths: Sequence[int]) -> None:
        self.rows, self.lengths = rows, lengths
        self.has_empty = rows.row_length is None and bool((rows.indptr.diff() == 0).any())

    @classmethod
    def of(cls, rows: CSRRows, batch_size: int) -> Self | None:
        """Return the rows for such batches, or None if one may be empty, no row has a pair, or many rows are short."""
        lengths = rows.indptr.diff().long()  # (n_samples,)
        n, several = len(lengths), experimental_cuda()
        m = int(lengths.max()) if n else 0
        n_empty = int((lengths == 0).sum())
        if m < 2 or (n_empty and not several) or n_empty >= n // -(-n // batch_size):  # noqa: PLR2004 a pair
            return None
        choices = sorted({max(-(-m // 2**each), 2) for each in range(_N_LENGTHS if several else 1)})
        n_pairs = int((lengths * (lengths - 1)).sum())
        return cls(rows, choices) if n * _pairs(lengths, choices, batch_size) <= _MAX_PADDING * n_pairs else None

    def lengths_of(self, order: Tensor, sizes: Sequence[int]) -> list[int]:
        """Return the length that each batch of the rows in an order (n_samples,) is padded to."""
        if len(self.lengths) == 1:
            return [self.lengths[0]] * len(sizes)
        lengths = self.rows.indptr.diff().long().index_select(0, order)  # (n_samples,)
        batches = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))  # (n_samples,)
        most = lengths.new_zeros(len(sizes)).scatter_reduce_(0, batches.to(order.device), lengths, "amax")
        return [self.lengths[bisect_left(self.lengths, each)] for each in most.tolist()]

    def take(self, numbers: Tensor, length: int) -> tuple[Tensor, Tensor | None]:
        """Return features (B, m) and values (B, m) of some rows (B,), padded to m entries; None if all values are 1."""
        rows = self.rows
        if rows.row_length is not None:
            values = None if rows.values is None else rows.values.view(-1, length).index_select(0, numbers)
            return rows.indices.view(-1, length).index_select(0, numbers), values
        start = rows.indptr.index_select(0, numbers).unsqueeze(1)  # (B, 1)
        n_entries = rows.indptr.index_select(0, numbers + 1).unsqueeze(1) - start  # (B, 1)
        place = torch.arange(length, device=rows.device)  # (m,)
        exists = place < n_entries  # (B, m)
        positions = start + torch.where(exists, place, 0)  # (B, m)
        if self.has_empty:
            some = positions.flatten().index_select(0, exists.flatten().byte().argmax().view(1))  # (1,)
            positions = torch.where(n_entries > 0, positions, some)
        indices = rows.indices.index_select(0, positions.flatten()).view_as(positions)
        if rows.values is None:
            return indices, exists.to(rows.dtype)
        return indices, rows.values.index_select(0, positions.flatten()).view_as(positions) * exists


def _pairs(lengths: Tensor, choices: Sequence[int], batch_size: int) -> float:
    """Return how many ordered pairs a row is expected to have if batches are padded to the shortest choice they fit."""
    # The share of random batches whose rows all fit.
    fit = [float((lengths <= each).double().mean()) ** min(batch_size, len(lengths)) for each in choices]
    return sum((now - before) * m * (m - 1) for m, now, before in zip(choices, fit, [0.0, *fit], strict=False))
