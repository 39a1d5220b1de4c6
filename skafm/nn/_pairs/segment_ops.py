"""Softmax and sums over the pairs of each row."""

from typing import NamedTuple

import torch
from torch import Tensor

from skafm.nn import functional


class PairRows(NamedTuple):
    """The rows of pairs in row order. If all rows have the same number, the pairs are a table (B, P / B): faster."""

    row: Tensor
    """(P,) Row of each pair."""
    n_rows: int
    uniform: bool
    """Whether all rows have the same number of pairs, at least one."""

    def softmax(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the softmax (P,) of logits (P,) within each row, and the logarithms of the denominators (B,)."""
        if not self.uniform:
            return functional.segment_softmax(logits, self.row, self.n_rows)
        table = logits.view(self.n_rows, -1)
        logarithms = table.log_softmax(1)
        return logarithms.exp().view(-1), table[:, 0] - logarithms[:, 0]

    def sum(self, values: Tensor) -> Tensor:
        """Sum values (C, P) over the pairs of each row: (C, B)."""
        if self.uniform:
            return values.view(len(values), self.n_rows, -1).sum(2)
        return torch.stack([segment_sum(self.row, each, self.n_rows) for each in values])

    def expand(self, values: Tensor) -> Tensor:
        """Copy each row's value to its pairs: (..., B) -> (..., P)."""
        if self.uniform:
            return values.unsqueeze(-1).expand(*values.shape, len(self.row) // self.n_rows).flatten(-2)
        return values.index_select(-1, self.row)


def segment_sum(segments: Tensor, values: Tensor, n_segments: int) -> Tensor:
    """Sum values (P,) by segment number (P,): (n_segments,)."""
    return values.new_zeros(n_segments).index_add_(0, segments, values)
