"""DeepFM (Guo et al., 2017), and its variant with attention, an AFM with a perceptron beside it."""

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import linear

from skafm.nn._base import TransposedBatch
from skafm.nn._deep import FieldMLP
from skafm.nn._layers import ParameterFactory
from skafm.nn._linear import SparseLinear
from skafm.nn._pairwise import PairModel
from skafm.nn._pooling import AttentionPooling, SumPooling


class DeepFM(PairModel):
    """DeepFM, or a parallel AFM, on ragged batches.

    ``raw(x) = w0 + sum_i w_i x_i + p' pooled + q' MLP([sum_{i in f} v_i x_i for each field f])`` (Guo et al., 2017): a
    linear model, pooled interactions, and a multilayer perceptron on the concatenated embeddings of the fields. The
    interactions are pooled as ``sum_{i<j} (v_i * v_j) x_i x_j`` or, with attention, as
    ``sum_{i<j} a_ij (v_i * v_j) x_i x_j``.

    With several outputs, each has its own w0, w, p and q.

    Parameters
    ----------
    fields : array-like of shape (n_features,)
        Field of each feature, an integer from 0.
    n_factors : int
        Embedding size k; at least 1.
    hidden_layer_sizes : sequence of int, default=(400, 400)
        Number of units of each hidden layer, from the first to the last.
    attention_size : int, optional
        Attention factor t of attention-based pooling; by default interactions are pooled by their sum.
    n_outputs : int, optional
        Number of raw scores C of a row; by default a single one, without an axis.
    batch_norm : bool, default=False
        Whether hidden layers have batch normalization. ``forward`` then takes the rows' weights as ``weight``.
    dropout : float, default=0.0
        Probability of dropping each hidden unit of a row in training; at least 0 and below 1.
    initial_projection : float, default=1.0
        Initial value of each element of p; with several outputs, the standard deviation of the normal distribution that
        p is drawn from.
    working_memory : int, default=2**30
        Maximum memory in bytes for the pairs of a single row, with attention. A row with more pairs is processed in
        parts, with gradient checkpointing in training.
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
    >>> from skafm.nn import DeepFM
    >>> model = DeepFM(fields=[0, 0, 1], n_factors=4, hidden_layer_sizes=(8,))
    >>> indices, values, offsets = torch.tensor([0, 2, 1]), torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0, 2, 3])
    >>> model(indices, values, offsets).shape
    torch.Size([2])
    """

    _per_feature = ("linear.weight", "factors", "fields")

    def __init__(
        self,
        fields: ArrayLike,
        n_factors: int,
        hidden_layer_sizes: Sequence[int] = (400, 400),
        attention_size: int | None = None,
        n_outputs: int | None = None,
        *,
        batch_norm: bool = False,
        dropout: float = 0.0,
        initial_projection: float = 1.0,
        working_memory: int = 2**30,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory, field_codes = ParameterFactory(generator, device, dtype), torch.as_tensor(fields)
        n_fields, outputs = int(field_codes.max()) + 1, () if n_outputs is None else (n_outputs,)
        self.linear = SparseLinear(len(field_codes), n_outputs, device=device, dtype=dtype)
        # Batch normalization makes up for a small scale, beside which features without rows are no noise.
        self.factors = factory.normal(len(field_codes), n_factors, std=0.001 if batch_norm else 0.01)
        self.fields = nn.Parameter(field_codes.to(device), requires_grad=False)
        self.pooling: SumPooling | AttentionPooling = SumPooling()
        if attention_size is not None:
            self.pooling = AttentionPooling(n_factors, attention_size, factory, working_memory)
        self.deep = FieldMLP(n_fields, n_factors, hidden_layer_sizes, dropout, factory, batch_norm=batch_norm)
        # DIFF: Guo et al. have no p; with p, as in AFM, the raw score is linear in one parameter, (p, q).
        self.projection = factory.constant(*outputs, n_factors + hidden_layer_sizes[-1], value=initial_projection)
        if not self.projection.is_meta:
            p, q = (part.detach() for part in self._split_projection())
            nn.init.normal_(q, std=q.shape[-1] ** -0.5, generator=generator)
            if n_outputs is not None:  # if equal, V has no gradient: those of a softmax sum to zero
                nn.init.normal_(p, std=initial_projection, generator=generator)
        self._needs_whole_batch = batch_norm

    def forward(
        self,
        indices: Tensor,
        values: Tensor | None,
        offsets: Tensor,
        transposed: TransposedBatch | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; batch normalization is weighted by ``weight`` (B,)."""
        batch, (p, q) = (indices, values, offsets, transposed), self._split_projection()
        raw: Tensor = self.linear(*batch) + linear(self.pooling(self.factors, *batch), p)
        return raw + linear(self.deep(self.factors, self.fields, batch, weight), q)

    def deep_term(self, indices: Tensor, values: Tensor | None, offsets: Tensor) -> Tensor:
        """Return the perceptron's term of the raw score, (B,) or (B, C), of each row."""
        _, q = self._split_projection()
        return linear(self.deep(self.factors, self.fields, (indices, values, offsets, None)), q)

    def _split_projection(self) -> tuple[Tensor, Tensor]:
        """Return the projections p, (k,) or (C, k), of the pooled interactions, and q, (h,) or (C, h)."""
        k = self.factors.shape[1]
        return self.projection[..., :k], self.projection[..., k:]

    def _pair_scores(self, left: Tensor, right: Tensor, product: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return ``p' (v_i * v_j) x_i x_j``, (c,) or (c, C), and the attention logits (c,) of pairs of features."""
        interactions = self.factors[left] * self.factors[right] * product.unsqueeze(1)  # (c, k)
        return linear(interactions, self._split_projection()[0]), self.pooling.logits(interactions)

    def _products_per_row(self, lengths: Tensor) -> Tensor:
        """Return the multiplications in matrix products (B,) that rows of these lengths (B,) need."""
        return super()._products_per_row(lengths) + self.pooling.products_per_row(lengths.long())

    def _bytes_per_row(self, lengths: Tensor) -> Tensor:
        """Return the memory (B,) in bytes that rows of these lengths (B,) need, the parameters not counted."""
        lengths, itemsize = lengths.long(), self.factors.element_size()
        pooling = self.pooling.bytes_per_row(lengths, itemsize, self.factors.shape[1])
        return 128 * lengths + pooling + itemsize * self.deep.elements_per_row
