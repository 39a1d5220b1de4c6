"""Factorization machine (Rendle, 2010)."""

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import linear

from skafm.nn import _entries, _sparse_ops, functional
from skafm.nn._base import TransposedBatch
from skafm.nn._linear import SparseLinear
from skafm.nn._pairwise import PairModel


class FM(PairModel):
    """Factorization machine on ragged batches.

    ``raw(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j``, Eq. 1 of Xiao et al. (2017).

    With several outputs, each has its own w0, w and vector p, and the embeddings are shared:
    ``raw_c(x) = w0_c + sum_i w_ic x_i + p_c' sum_{i<j} (v_i * v_j) x_i x_j``.

    Parameters
    ----------
    n_features : int
        Number of features; at least 1.
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
        if not self.factors.is_meta:  # on the meta device drawing only costs a second of imports
            nn.init.normal_(self.factors, std=0.01, generator=generator)
            if self.projection is not None:  # if equal, V has no gradient: those of a softmax sum to zero
                nn.init.normal_(self.projection, generator=generator)

    def forward(
        self,
        indices: Tensor,
        values: Tensor | None,
        offsets: Tensor,
        transposed: TransposedBatch | None = None,
        n_items: int | None = None,
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; ``values=None`` means that all are 1.

        With ``n_items`` M the last M rows are items, and each other row is added to each of them, which has its entries
        in other columns: the raw scores of a single output are (B - M, M).
        """
        batch = (indices, values, offsets, transposed)
        if n_items is not None:
            return self._score_items(batch, len(offsets) - 1 - n_items)
        raw: Tensor = self.linear(*batch)
        if self.projection is None and not (self.training and self.dropout > 0):
            return raw + _sparse_ops.interaction(self.factors, *batch)
        return raw + self._project(_sparse_ops.bi_interaction(self.factors, *batch))

    def _score_items(self, batch: tuple[Tensor, Tensor | None, Tensor, TransposedBatch | None], n: int) -> Tensor:
        """Return ``raw(c + i) = raw(c) + raw(i) - w0 + <sum_j v_j c_j, sum_j v_j i_j>``, (n, M), of n contexts c."""
        own = (self.linear(*batch) + _sparse_ops.interaction(self.factors, *batch)).unsqueeze(1)  # (n + M, 1)
        ones = torch.ones_like(own)
        vectors = _sparse_ops.linear(self.factors, *batch)  # (n + M, k)
        contexts = vectors[:n]
        if self.training and self.dropout > 0:  # the same of the k products for all items of a context
            contexts = contexts * functional.dropout_mask(contexts.shape, self.dropout, self.generator, self.factors)
        left = torch.cat([contexts, own[:n], ones[:n]], 1)  # (n, k + 2)
        right = torch.cat([vectors[n:], ones[n:], own[n:] - self.linear.intercept], 1)  # (M, k + 2)
        return torch.mm(left, right.T)

    def _project(self, pooled: Tensor) -> Tensor:
        """Return the interactions, (B,) or (B, C), of pooled vectors (B, k), some of which dropout drops."""
        if self.training and self.dropout > 0:
            # DIFF: the paper applies dropout to the pair-wise interaction layer. Like the authors' code, apply it after
            # pooling, where the mask has k elements for each row instead of k for each pair.
            pooled = pooled * functional.dropout_mask(pooled.shape, self.dropout, self.generator, self.factors)
        return pooled.sum(1) if self.projection is None else linear(pooled, self.projection)

    def _forward_entries(self, values: Tensor | None) -> Tensor:
        """Return the raw score, (B,) or (B, C), of rows of one length; see the base class."""
        pooled = _entries.bi_interaction(_entries.multiply(self.factors, values))  # (B, k)
        return _entries.linear(self.linear, values) + self._project(pooled)

    def _entry_bytes_per_row(self, length: int) -> int:
        """Return the bytes of memory that ``_forward_entries`` needs for a row."""
        return 8 * (length + 1) * self.factors.element_size() * self.factors.shape[1]

    @torch.no_grad()
    def _center_fields(self, fields: Sequence[slice], seen: ArrayLike) -> None:
        """Center embeddings and weights in each field, without a change of the predictions of complete rows.

        If rows have exactly one feature, with the value 1, in each field g, predictions do not change with m_g the mean
        vector of field g, M the sum of all m_g, and

        ``v_i <- v_i - m_g``, ``w_i <- w_i + p' ((v_i - m_g) * (M - m_g))``, ``w0 <- w0 + p' sum_{g<h} (m_g * m_h)``

        for the features i of each field g (for a feature of none m_g is 0); then the mean of w in each field goes into
        w0. A row that lacks a field, such as that of a new user, is so predicted as that of the average user.

        Parameters
        ----------
        fields : sequence of slice
            The features of each field.
        seen : array-like of shape (n_features,)
            1 for each feature that a row has, otherwise 0: those count in no mean, and keep their embedding and weight.
            Relative to the others they are those of the average feature.
        """
        intercept, weight, V = self.linear.intercept, self.linear.weight, self.factors
        p = V.new_ones(V.shape[1]) if self.projection is None else self.projection  # (k,) or (C, k)
        seen = torch.as_tensor(seen, dtype=V.dtype, device=V.device)  # (n_features,)
        means = torch.stack([seen[field] @ V[field] / seen[field].sum() for field in fields])  # (F, k)
        total = means.sum(0)  # (k,)
        for field, m in zip(fields, means, strict=True):
            V[field].addr_(seen[field], m, alpha=-1)  # without a second table
            weight[field] -= linear(V[field], p * m)
        weight.add_(linear(V, p * total))
        intercept.add_(linear((total.square() - means.square().sum(0)) / 2, p))
        for field in fields:
            mean = seen[field] @ weight[field] / seen[field].sum()  # () or (C,)
            weight[field] -= mean * seen[field].view(-1, *[1] * mean.ndim)
            intercept.add_(mean)

    def _pair_scores(self, left: Tensor, right: Tensor, product: Tensor) -> tuple[Tensor, None]:
        """Return the interactions, (c,) or (c, C), of pairs of features (c,) with the values x_i x_j (c,)."""
        interactions = self.factors[left] * self.factors[right] * product.unsqueeze(1)  # (c, k)
        return (interactions.sum(1) if self.projection is None else linear(interactions, self.projection)), None

    def _bytes_per_row(self, lengths: Tensor) -> Tensor:
        """Return the memory (B,) in bytes that rows of these lengths (B,) need, the parameters not counted."""
        # For each entry: index, value, row and order, twice. For each row: pooled factors, their gradient and mask.
        return 64 * lengths.long() + 4 * self.factors.element_size() * self.factors.shape[1]

    def _multipliers(self, scale: Tensor) -> dict[str, Tensor]:
        """Return what each parameter is multiplied by, if not by 1, to make the raw score ``scale * raw``."""
        multipliers = super()._multipliers(scale)
        return multipliers if self.projection is not None else multipliers | {"factors": scale.sqrt()}
