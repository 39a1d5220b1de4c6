"""Factorization machine (Rendle, 2010)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from skafm.nn import _sparse_ops, functional
from skafm.nn._base import TransposedBatch
from skafm.nn._linear import SparseLinear
from skafm.nn._pairwise import PairModel


class FM(PairModel):
    """Factorization machine on ragged rows (Eq. 1).

    ``raw(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j``

    With several outputs each has its w0, its w and a vector p of its own over shared embeddings:
    ``raw_c(x) = w0_c + sum_i w_ic x_i + p_c' sum_{i<j} (v_i * v_j) x_i x_j``.

    Parameters
    ----------
    n_features : int
        TransposedBatch of the rows, at least 1.
    n_factors : int
        Embedding size k.
    n_outputs : int, optional
        C, the number of raw scores of a row; by default one, and no p.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions of a row in training, from 0 to below 1.
    generator : torch.Generator, optional
        Draws the initial parameters and dropout, on ``device``; by default torch's global one.
    device : torch.device or str, optional
        Device of the parameters; by default torch's.
    dtype : torch.dtype, optional
        Type of the parameters; by default torch's.

    Examples
    --------
    The raw scores of two rows, the first with features 0 and 2, the second with feature 1:

    >>> import torch
    >>> from skafm.nn import FM
    >>> model = FM(n_features=3, n_factors=4)
    >>> indices, values, offsets = torch.tensor([0, 2, 1]), torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0, 2, 3])
    >>> model(indices, values, offsets).shape
    torch.Size([2])
    """

    projection: nn.Parameter | None

    def __init__(
        self,
        n_features: int,
        n_factors: int,
        n_outputs: int | None = None,
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.linear = SparseLinear(n_features, n_outputs, device=device, dtype=dtype)
        self.factors = nn.Parameter(torch.empty(n_features, n_factors, device=device, dtype=dtype))
        if n_outputs is None:
            self.register_parameter("projection", None)
        else:
            self.projection = nn.Parameter(torch.empty(n_outputs, n_factors, device=device, dtype=dtype))
        self.dropout, self.generator = dropout, generator
        if not self.factors.is_meta:  # drawing on the meta device is useless, and imports a second's worth of torch
            nn.init.normal_(self.factors, std=0.01, generator=generator)
            if self.projection is not None:  # equal ones would give V no gradient: a softmax's sum to zero
                nn.init.normal_(self.projection, generator=generator)

    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; ``values=None`` means that all are 1."""
        batch = (indices, values, offsets, transposed)
        raw: Tensor = self.linear(*batch)
        dropping = self.training and self.dropout > 0
        if self.projection is None and not dropping:
            return raw + _sparse_ops.interaction(self.factors, *batch)
        pooled = _sparse_ops.bi_interaction(self.factors, *batch)  # (B, k)
        if dropping:
            # DIFF: the paper drops neurons of the pair-wise layer; like its authors' code we drop them after pooling,
            # where a mask costs k numbers a row instead of k for each pair.
            pooled = pooled * functional.dropout_mask(pooled.shape, self.dropout, self.generator, self.factors)
        return raw + (pooled.sum(1) if self.projection is None else linear(pooled, self.projection))

    def _pair_scores(self, left: Tensor, right: Tensor, product: Tensor) -> tuple[Tensor, None]:
        """Return the interaction of pairs of features (c,) whose x_i x_j is ``product`` (c,): (c,) or (c, C)."""
        interactions = self.factors[left] * self.factors[right] * product.unsqueeze(1)  # (c, k)
        return (interactions.sum(1) if self.projection is None else linear(interactions, self.projection)), None

    def _bytes_per_row(self, lengths: Tensor) -> Tensor:
        """Return the memory (B,) in bytes that rows of these lengths (B,) need, the parameters not counted."""
        # Each entry: index, value, row and order, twice. Each row: the pooled factors, their gradient and mask.
        return 64 * lengths.long() + 4 * self.factors.element_size() * self.factors.shape[1]

    @torch.no_grad()
    def _rescaled_parameters(self, shift: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """Return the parameters that make the raw score ``shift + scale * raw``; both scalars, or (C,)."""
        state = super()._rescaled_parameters(shift, scale)
        return state if self.projection is not None else state | {"factors": self.factors * scale.sqrt()}
