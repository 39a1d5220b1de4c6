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
    device : torch.device or str, optional
    dtype : torch.dtype, optional
    """

    def __init__(
        self, n_features: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.intercept = nn.Parameter(torch.zeros((), device=device, dtype=dtype))
        self.weight = nn.Parameter(torch.zeros(n_features, device=device, dtype=dtype))

    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, columns: Columns | None = None
    ) -> Tensor:
        """Return the raw score (B,) of each row; no values are values of 1."""
        return self.intercept + entries.linear(self.weight, indices, values, offsets, columns)

    @torch.no_grad()
    def rescale_(self, shift: float, scale: float) -> None:
        """Change the parameters so that the raw score becomes ``shift + scale * raw``."""
        self.intercept.mul_(scale).add_(shift)
        self.weight.mul_(scale)
