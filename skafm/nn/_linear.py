"""The linear part of the models."""

import torch
from torch import Tensor, nn

from skafm.nn import _sparse_ops
from skafm.nn._base import TransposedBatch


class SparseLinear(nn.Module):
    """Linear model on ragged batches.

    ``raw(x) = w0 + sum_i w_i x_i``, with initial parameters of zero.

    Parameters
    ----------
    n_features : int
        Number of features; at least 1.
    n_outputs : int, optional
        Number of raw scores C of a row: w0 is then (C,), w (n_features, C) and the raw score (B, C). By default a
        single one, without an axis.
    device : torch.device or str, optional
        Device of the parameters; by default torch's default device.
    dtype : torch.dtype, optional
        Data type of the parameters; by default torch's default dtype.

    Examples
    --------
    Raw scores of two rows, the first with features 0 and 2, the second with feature 1:

    >>> import torch
    >>> from skafm.nn import SparseLinear
    >>> model = SparseLinear(n_features=3)
    >>> indices, values, offsets = torch.tensor([0, 2, 1]), torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0, 2, 3])
    >>> model(indices, values, offsets).shape
    torch.Size([2])
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
        # torch.full, because torch.zeros on the meta device imports torch modules for a second.
        self.intercept = nn.Parameter(torch.full(outputs, 0.0, device=device, dtype=dtype))
        self.weight = nn.Parameter(torch.full((n_features, *outputs), 0.0, device=device, dtype=dtype))

    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; ``values=None`` means that all are 1."""
        return self.intercept + _sparse_ops.linear(self.weight, indices, values, offsets, transposed)
