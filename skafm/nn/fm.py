"""Factorization machine (Rendle, 2010)."""

import math

import torch
from torch import Tensor, nn

from skafm.nn import entries, functional
from skafm.nn.entries import Columns
from skafm.nn.linear import SparseLinear


class FM(nn.Module):
    """Factorization machine on ragged rows (Eq. 1).

    ``raw(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j``

    Parameters
    ----------
    n_features : int
    n_factors : int
        Embedding size k.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions of a row while training, from 0 to below 1.
    generator : torch.Generator, optional
        Source of the random start and of dropout, on ``device``; by default torch's global one.
    device : torch.device or str, optional
    dtype : torch.dtype, optional
    """

    per_feature = ("linear.weight", "factors")
    """Names of the parameters with one row for each feature."""

    def __init__(
        self,
        n_features: int,
        n_factors: int,
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.linear = SparseLinear(n_features, device=device, dtype=dtype)
        self.factors = nn.Parameter(torch.empty(n_features, n_factors, device=device, dtype=dtype))
        self.dropout, self.generator = dropout, generator
        if not self.factors.is_meta:  # on the meta device a draw is nothing, but loads a second's worth of torch
            nn.init.normal_(self.factors, std=0.01, generator=generator)

    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, columns: Columns | None = None
    ) -> Tensor:
        """Return the raw score (B,) of each row; no values are values of 1."""
        keep = None
        if self.training and self.dropout > 0:
            # DIFF: the paper drops neurons of the pair-wise layer; like its authors' code we drop them after pooling,
            # where a mask costs k numbers a row instead of k for each pair.
            shape = (len(offsets) - 1, self.factors.shape[1])
            keep = functional.dropout_mask(shape, self.dropout, self.generator, self.factors)
        linear: Tensor = self.linear(indices, values, offsets, columns)
        return linear + entries.interaction(self.factors, indices, values, offsets, columns, keep)

    def memory(self, lengths: Tensor) -> Tensor:
        """Return the bytes (B,) that a row of so many entries takes while it is worked, above the model's own."""
        # Each entry: index, value, row and order, twice. Each row: the pooled factors, their gradient and mask.
        return 64 * lengths.long() + 4 * self.factors.element_size() * self.factors.shape[1]

    @torch.no_grad()
    def rescale_(self, shift: float, scale: float) -> None:
        """Change the parameters so that the raw score becomes ``shift + scale * raw``."""
        self.linear.rescale_(shift, scale)
        self.factors.mul_(math.sqrt(scale))
