"""Higher-order factorization machine (Blondel et al., 2016)."""

from math import comb

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from skafm.nn import _sparse_ops, functional
from skafm.nn._base import TransposedBatch
from skafm.nn._layers import ParameterFactory
from skafm.nn._linear import SparseLinear
from skafm.nn._pairwise import PairModel


class HOFM(PairModel):
    """Higher-order factorization machine on ragged batches.

    ``raw(x) = w0 + sum_i w_i x_i + sum_{m=2}^order sum_{i_1 < ... < i_m} sum_f v^m_{i_1 f} x_{i_1} ... v^m_{i_m f}
    x_{i_m}``, Eq. 2 of Blondel et al. (2016), with separate embeddings for each order m.

    With several outputs, each has its own w0, w and vector p, whose elements p^m_f weight the sums of each order and
    factor; the embeddings are shared.

    Parameters
    ----------
    n_features : int
        Number of features; at least 1.
    n_factors : int
        Embedding size k for each order; at least 1.
    order : int, default=3
        Maximum number of features in an interaction; at least 2.
    n_outputs : int, optional
        Number of raw scores C of a row; by default a single one, without p and without an axis.
    dropout : float, default=0.0
        Probability of dropping each of a row's pooled interactions, k for each order, in training; at least 0 and below
        1.
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
    >>> from skafm.nn import HOFM
    >>> model = HOFM(n_features=3, n_factors=4, order=3)
    >>> indices, values, offsets = torch.tensor([0, 2, 1]), torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0, 2, 3])
    >>> model(indices, values, offsets).shape
    torch.Size([2])
    """

    projection: nn.Parameter | None

    def __init__(
        self,
        n_features: int,
        n_factors: int,
        order: int = 3,
        n_outputs: int | None = None,
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory = ParameterFactory(generator, device, dtype)
        self.linear = SparseLinear(n_features, n_outputs, device=device, dtype=dtype)
        self.factors = factory.normal(n_features, order - 1, n_factors, std=0.01)
        size = (order - 1) * n_factors
        self.register_parameter("projection", None if n_outputs is None else factory.normal(n_outputs, size, std=1.0))
        self.dropout, self.generator = dropout, generator

    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; ``values=None`` means that all are 1."""
        sums = self._power_sums(indices, values, offsets, transposed)
        order = len(sums)
        # Order m needs the power sums 1 to m of its embeddings; sums[t - 1] has the orders from max(t, 2) on.
        kernels = []
        for m in range(2, order + 1):
            kernel = functional.anova([sums[t - 1][:, m - max(t, 2)] for t in range(1, m + 1)])  # (B, k)
            kernels.append(_sparse_ops.zero_short_rows(kernel, m, values, offsets))
        interactions = torch.cat(kernels, 1)  # each (B, k) -> (B, (order - 1) k)
        if self.training and self.dropout > 0:
            shape = interactions.shape
            interactions = interactions * functional.dropout_mask(shape, self.dropout, self.generator, interactions)
        raw: Tensor = self.linear(indices, values, offsets, transposed)
        if self.projection is None:
            return raw + interactions.sum(1)
        return raw + interactions @ self.projection.T

    def _power_sums(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None
    ) -> list[Tensor]:
        """Return the power sums ``sum_i (v_i x_i)^t``, (B, orders, k), for each power t and the orders that need it."""
        sums = []
        for t in range(1, self.factors.shape[1] + 2):
            table = self.factors[:, max(t, 2) - 2 :]  # (n_features, orders, k)
            total = _sparse_ops.power_sum(table.flatten(1), t, indices, values, offsets, transposed)
            sums.append(total.view(-1, *table.shape[1:]))
        return sums

    def _pair_scores(self, left: Tensor, right: Tensor, product: Tensor) -> tuple[Tensor, None]:
        """Return the second-order interactions, (c,) or (c, C), of pairs of features with the values x_i x_j (c,)."""
        factors = self.factors[:, 0]  # (n_features, k)
        return self._project(factors[left] * factors[right] * product.unsqueeze(1), 2), None

    def _entry_scores(
        self, batch: tuple[Tensor, Tensor | None, Tensor], left: Tensor, right: Tensor, rows: Tensor
    ) -> tuple[Tensor, None]:
        """Return the scores of pairs of entries: their interactions, and equal shares in those of higher order.

        An interaction of m features is divided equally among its ``m (m - 1) / 2`` pairs. The interactions that contain
        a given pair differ in their m - 2 other entries, over which ``anova`` sums; the power sums of these entries are
        those of the row minus those of the pair.
        """
        indices, values, offsets = batch
        scores, _ = super()._entry_scores(batch, left, right, rows)
        if len(left) == 0:
            return scores, None
        first_row, bounds = rows[0], offsets[rows[0] : rows[-1] + 2]
        part = slice(int(bounds[0]), int(bounds[-1]))
        part_batch = indices[part], None if values is None else values[part], bounds - bounds[0], None
        for m in range(3, self.factors.shape[1] + 2):
            table = self.factors[:, m - 2]  # (n_features, k)
            z_i, z_j = (
                table[indices[entry].long()] * (1 if values is None else values[entry].unsqueeze(1))
                for entry in (left, right)
            )  # (c, k)
            sums = [
                _sparse_ops.power_sum(table, t, *part_batch)[rows - first_row] - z_i**t - z_j**t  # (c, k)
                for t in range(1, m - 1)
            ]
            scores = scores + self._project(z_i * z_j * functional.anova(sums), m) / comb(m, 2)
        return scores, None

    def _project(self, interactions: Tensor, m: int) -> Tensor:
        """Return the scores, (c,) or (c, C), of interactions (c, k) of order m."""
        if self.projection is None:
            return interactions.sum(1)
        k = interactions.shape[1]
        return linear(interactions, self.projection[:, (m - 2) * k : (m - 1) * k])

    def _bytes_per_row(self, lengths: Tensor) -> Tensor:
        """Return the memory (B,) in bytes that rows of these lengths (B,) need, the parameters not counted."""
        n_elements = self.factors[0].numel() * (self.factors.shape[1] + 1)
        return 64 * lengths.long() + 8 * self.factors.element_size() * n_elements

    def _multipliers(self, scale: Tensor) -> dict[str, Tensor]:
        """Return what each parameter is multiplied by, if not by 1, to make the raw score ``scale * raw``."""
        multipliers = super()._multipliers(scale)
        if self.projection is not None:
            return multipliers
        roots = scale ** (1 / torch.arange(2, self.factors.shape[1] + 2, device=scale.device).to(scale))  # (order - 1,)
        return multipliers | {"factors": roots.unsqueeze(1)}
