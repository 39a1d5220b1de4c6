"""Neural factorization machine (He and Chua, 2017), and its variant with attention, a deep AFM."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from skafm.nn import _entries, functional
from skafm.nn._base import Model, TransposedBatch
from skafm.nn._layers import MLP, ParameterFactory
from skafm.nn._linear import SparseLinear
from skafm.nn._pooling import AttentionPooling, SumPooling


class NFM(Model):
    """Neural factorization machine on ragged batches.

    ``raw(x) = w0 + sum_i w_i x_i + p' MLP(pooled)``, Eq. 3 of He and Chua (2017): a multilayer perceptron on the pooled
    interactions, which are ``sum_{i<j} (v_i * v_j) x_i x_j`` or, with attention,
    ``sum_{i<j} a_ij (v_i * v_j) x_i x_j``.

    With several outputs, each has its own w0, w and p.

    Parameters
    ----------
    n_features : int
        Number of features; at least 1.
    n_factors : int
        Embedding size k; at least 1.
    hidden_layer_sizes : sequence of int
        Number of units of each hidden layer, from the first to the last.
    attention_size : int, optional
        Attention factor t of attention-based pooling; by default interactions are pooled by their sum.
    n_outputs : int, optional
        Number of raw scores C of a row; by default a single one, without an axis.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions and of the hidden units of a row in training; at least
        0 and below 1.
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
    >>> from skafm.nn import NFM
    >>> model = NFM(n_features=3, n_factors=4, hidden_layer_sizes=(8,))
    >>> indices, values, offsets = torch.tensor([0, 2, 1]), torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0, 2, 3])
    >>> model(indices, values, offsets).shape
    torch.Size([2])
    """

    def __init__(
        self,
        n_features: int,
        n_factors: int,
        hidden_layer_sizes: Sequence[int],
        attention_size: int | None = None,
        n_outputs: int | None = None,
        *,
        dropout: float = 0.0,
        working_memory: int = 2**30,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory = ParameterFactory(generator, device, dtype)
        self.linear = SparseLinear(n_features, n_outputs, device=device, dtype=dtype)
        self.factors = factory.normal(n_features, n_factors, std=0.01)
        self.pooling: SumPooling | AttentionPooling = SumPooling()
        if attention_size is not None:
            self.pooling = AttentionPooling(n_factors, attention_size, factory, working_memory)
        # DIFF: He and Chua apply batch normalization to the pooled vector and the hidden layers; here only dropout is.
        self.mlp = MLP([n_factors, *hidden_layer_sizes], dropout, factory)
        self.projection = factory.projection(hidden_layer_sizes[-1], n_outputs)
        self.dropout, self.generator = dropout, generator
        self._elements_per_row = 4 * sum(hidden_layer_sizes)

    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; ``values=None`` means that all are 1."""
        batch = (indices, values, offsets, transposed)
        deep = self._deep(self.pooling(self.factors, *batch))
        raw: Tensor = self.linear(*batch)
        return raw + deep

    def _deep(self, pooled: Tensor) -> Tensor:
        """Return the deep part of the raw score, (B,) or (B, C), of pooled vectors (B, k)."""
        if self.training and self.dropout > 0:
            pooled = pooled * functional.dropout_mask(pooled.shape, self.dropout, self.generator, pooled)
        return linear(self.mlp(pooled), self.projection)

    def _forward_entries(self, values: Tensor | None) -> Tensor:
        """Return the raw score, (B,) or (B, C), of rows of one length; see the base class."""
        pooled = self.pooling.pool_entries(_entries.multiply(self.factors, values), values)  # (B, k)
        return _entries.linear(self.linear, values) + self._deep(pooled)

    def _entry_bytes_per_row(self, length: int) -> int:
        """Return the bytes of memory that ``_forward_entries`` needs for a row."""
        itemsize = self.factors.element_size()
        pooling = self.pooling.entry_bytes_per_row(length, self.factors.shape[1], itemsize)
        return pooling + itemsize * self._elements_per_row

    def _products_per_row(self, lengths: Tensor) -> Tensor:
        """Return the multiplications in matrix products (B,) that rows of these lengths (B,) need."""
        return super()._products_per_row(lengths) + self.pooling.products_per_row(lengths.long())

    def _bytes_per_row(self, lengths: Tensor) -> Tensor:
        """Return the memory (B,) in bytes that rows of these lengths (B,) need, the parameters not counted."""
        lengths, itemsize = lengths.long(), self.factors.element_size()
        pooling = self.pooling.bytes_per_row(lengths, itemsize, self.factors.shape[1])
        return 64 * lengths + pooling + itemsize * self._elements_per_row
