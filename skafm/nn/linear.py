"""The linear part that all models share."""

import torch
from torch import Tensor, nn

from skafm.nn import entries
from skafm.nn.entries import Columns


class SparseLinear(nn.Module):
    """Linear model on ragged rows, ``raw(x) = w0 + sum_i w_i x_i``; starts at zero.

    Parameters
    ----------
    n_features : int
    n_outputs : int, optional
        C, the numbers that a row's raw score has: then w0 is (C,), w (n_features, C) and the raw score (B, C).
    device : torch.device or str, optional
    dtype : torch.dtype, optional
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        outputs = () if n_outputs is None else (n_outputs,)
        self.intercept = nn.Parameter(torch.zeros(outputs, device=device, dtype=dtype))
        self.weight = nn.Parameter(torch.zeros(n_features, *outputs, device=device, dtype=dtype))

    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, columns: Columns | None = None
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; no values are values of 1."""
        return self.intercept + entries.linear(self.weight, indices, values, offsets, columns)
