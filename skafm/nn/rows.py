"""The softmax and sums over the pairs of each row that :mod:`skafm.nn.pairs` takes.

Letters in shapes: B rows, P pairs, C outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from skafm.nn import functional


class PairRows(NamedTuple):
    """The rows of pairs that stand row after row. Those of one-hot rows are a table (B, P / B), which is faster."""

    row: Tensor
    """(P,) Row of each pair."""
    n_rows: int
    even: bool
    """Whether all rows have as many pairs, and some."""

    def softmax(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the softmax (P,) of logits (P,) within each row, and the logarithms of the denominators (B,)."""
        if not self.even:
            return functional.segment_softmax(logits, self.row, self.n_rows)
        table = logits.view(self.n_rows, -1)
        logarithms = table.log_softmax(1)
        return logarithms.exp().view(-1), table[:, 0] - logarithms[:, 0]

    def sum(self, values: Tensor) -> Tensor:
        """Sum values (C, P) over the pairs of each row: (C, B)."""
        if self.even:
            return values.view(len(values), self.n_rows, -1).sum(2)
        return torch.stack([sum_by(self.row, each, self.n_rows) for each in values])

    def spread(self, values: Tensor) -> Tensor:
        """Give each pair what its row has: (..., B) -> (..., P)."""
        if self.even:
            return values.unsqueeze(-1).expand(*values.shape, len(self.row) // self.n_rows).flatten(-2)
        return values.index_select(-1, self.row)


def sum_by(groups: Tensor, values: Tensor, n_groups: int) -> Tensor:
    """Sum values (P,) by group (P,): (n_groups,)."""
    return values.new_zeros(n_groups).index_add_(0, groups, values)
