"""Field-weighted factorization machine (Pan et al., 2018)."""

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import linear

from skafm.nn import _sparse_ops, functional
from skafm.nn._base import TransposedBatch
from skafm.nn._layers import ParameterFactory
from skafm.nn._linear import SparseLinear
from skafm.nn._pairwise import PairModel


class FwFM(PairModel):
    """Field-weighted factorization machine on ragged batches.

    ``raw(x) = w0 + sum_i w_i x_i + sum_{i<j} r_{f(i) f(j)} <v_i, v_j> x_i x_j``, Eq. 7 of Pan et al. (2018): each pair
    of fields has a weight r.

    With several outputs, each has its own w0, w and vector p, and embeddings and field weights are shared:
    ``raw_c(x) = w0_c + sum_i w_ic x_i + p_c' sum_{i<j} r_{f(i) f(j)} (v_i * v_j) x_i x_j``.

    Parameters
    ----------
    fields : array-like of shape (n_features,)
        Field f(i) of each feature, an integer from 0.
    n_factors : int
        Embedding size k; at least 1.
    n_outputs : int, optional
        Number of raw scores C of a row; by default a single one, without p and without an axis.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions of a row in training; at least 0 and below 1.
    generator : torch.Generator, optional
        Random generator of the initial parameters and of dropout, on ``device``; by default torch's global one.
    device : torch.device or str, optional
        Device of the parameters; by default torch's default device.
    dtype : torch.dtype, optional
        Data type of the parameters; by default torch's default dtype.

    Examples
    --------
    Raw scores of two rows, the first with features 0 and 2, the second with feature 1:

    >>> import torch
    >>> from skafm.nn import FwFM
    >>> model = FwFM(fields=[0, 0, 1], n_factors=4)
    >>> indices, values, offsets = torch.tensor([0, 2, 1]), torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0, 2, 3])
    >>> model(indices, values, offsets).shape
    torch.Size([2])
    """

    projection: nn.Parameter | None
    _per_feature = ("linear.weight", "factors", "fields")

    def __init__(
        self,
        fields: ArrayLike,
        n_factors: int,
        n_outputs: int | None = None,
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory, field_codes = ParameterFactory(generator, device, dtype), torch.as_tensor(fields)
        n_fields = int(field_codes.max()) + 1
        self.linear = SparseLinear(len(field_codes), n_outputs, device=device, dtype=dtype)
        self.factors = factory.normal(len(field_codes), n_factors, std=0.01)
        self.fields = nn.Parameter(field_codes.to(device), requires_grad=False)
        # r is the mean of this matrix and its transpose. The initial model is the FM of its embeddings.
        self.field_weights = factory.constant(n_fields, n_fields, value=1.0)
        self.register_parameter(
            "projection", None if n_outputs is None else factory.normal(n_outputs, n_factors, std=1.0)
        )
        self.dropout, self.generator = dropout, generator

    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; ``values=None`` means that all are 1."""
        pooled = self._pooled(indices, values, offsets, transposed)  # (B, k)
        if self.training and self.dropout > 0:
            pooled = pooled * functional.dropout_mask(pooled.shape, self.dropout, self.generator, pooled)
        raw: Tensor = self.linear(indices, values, offsets, transposed)
        return raw + self._project(pooled)

    def _project(self, pooled: Tensor) -> Tensor:
        """Return the interactions, (n,) or (n, C), of pooled vectors or of those of pairs (n, k)."""
        return pooled.sum(1) if self.projection is None else linear(pooled, self.projection)

    def _symmetric_weights(self) -> Tensor:
        """Return r (F, F)."""
        return (self.field_weights + self.field_weights.T) / 2

    def _pooled(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None
    ) -> Tensor:
        """Return ``sum_{i<j} r_{f(i) f(j)} (v_i * v_j) x_i x_j`` of each row: (B, k).

        With ``S_f = sum_{i in f} v_i x_i`` it is ``1/2 [sum_fg r_fg S_f * S_g - sum_i r_{f(i) f(i)} (v_i x_i)^2]``,
        which is Rendle's identity for fields.
        """
        r, batch = self._symmetric_weights(), (indices, values, offsets, transposed)
        sums = _sparse_ops.field_sum(self.factors, self.fields, len(r), *batch)  # (B, F, k)
        total = (sums * (r @ sums)).sum(1)  # (B, k)
        rows, own = _sparse_ops.select_rows(self.factors, indices)
        fields, _ = _sparse_ops.select_rows(self.fields, indices)
        weighted = r.diagonal()[fields].unsqueeze(1) * rows.square()  # (n_features or N, k), r_{f(i) f(i)} v_i^2
        squared = None if values is None else values.square()
        if transposed is not None and transposed.values is not None:
            transposed = transposed._replace(values=transposed.values.square())
        squares = _sparse_ops.linear(weighted, own, squared, offsets, transposed)  # (B, k)
        return _sparse_ops.zero_short_rows((total - squares) / 2, 2, values, offsets)

    def _pair_scores(self, left: Tensor, right: Tensor, product: Tensor) -> tuple[Tensor, None]:
        """Return the interactions, (c,) or (c, C), of pairs of features (c,) with the values x_i x_j (c,)."""
        weights = self._symmetric_weights()[self.fields[left], self.fields[right]]  # (c,)
        interactions = self.factors[left] * self.factors[right] * (weights * product).unsqueeze(1)  # (c, k)
        return self._project(interactions), None

    def _products_per_row(self, lengths: Tensor) -> Tensor:
        """Return the multiplications in matrix products (B,) that rows of these lengths (B,) need."""
        return super()._products_per_row(lengths) + self.field_weights.numel() * self.factors.shape[1]

    def _bytes_per_row(self, lengths: Tensor) -> Tensor:
        """Return the memory (B,) in bytes that rows of these lengths (B,) need, the parameters not counted."""
        n_elements = len(self.field_weights) * self.factors.shape[1]
        return 128 * lengths.long() + 6 * self.factors.element_size() * n_elements

    def _multipliers(self, scale: Tensor) -> dict[str, Tensor]:
        """Return what each parameter is multiplied by, if not by 1, to make the raw score ``scale * raw``."""
        multipliers = super()._multipliers(scale)
        return multipliers if self.projection is not None else multipliers | {"factors": scale.sqrt()}
