"""Neural factorization machine (He and Chua, 2017), and its variant with attention, a deep AFM."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from skafm.nn import _entries, _sparse_ops, functional
from skafm.nn._base import Model, TransposedBatch
from skafm.nn._layers import MLP, ParameterFactory
from skafm.nn._linear import SparseLinear
from skafm.nn._pairs import attend_to_entries, attentional_pooling, entry_bytes, pair_bytes


class SumPooling(nn.Module):
    """Bi-interaction pooling ``sum_{i<j} (v_i * v_j) x_i x_j``."""

    def forward(
        self,
        factors: Tensor,
        indices: Tensor,
        values: Tensor | None,
        offsets: Tensor,
        transposed: TransposedBatch | None,
    ) -> Tensor:
        """Return the pooled vector (B, k) of each row."""
        return _sparse_ops.bi_interaction(factors, indices, values, offsets, transposed)

    def pool_entries(self, entries: Tensor, values: Tensor | None) -> Tensor:  # noqa: ARG002 not needed here
        """Return the pooled vectors (B, k) of the entries (B, m, k) of rows of one length, with values (B, m)."""
        return _entries.bi_interaction(entries)

    def entry_bytes_per_row(self, length: int, k: int, itemsize: int) -> int:
        """Return the bytes of memory that ``_forward_entries`` needs for a row."""
        return 8 * (length + 1) * k * itemsize

    def bytes_per_row(self, lengths: Tensor, itemsize: int, k: int) -> Tensor:
        """Return the memory (B,) in bytes that pooling k numbers of rows of these lengths (B,) needs."""
        return torch.zeros_like(lengths) + 3 * itemsize * k

    def products_per_row(self, lengths: Tensor) -> Tensor:
        """Return the multiplications in matrix products (B,) that pooling rows of these lengths (B,) needs."""
        return torch.zeros_like(lengths)


class AttentionPooling(nn.Module):
    """Attention-based pooling ``sum_{i<j} a_ij (v_i * v_j) x_i x_j``.

    This is Eq. 4 of Xiao et al. (2017), with the attention weights of their Eq. 5.

    Parameters
    ----------
    n_factors : int
        Embedding size k; at least 1.
    attention_size : int
        Attention factor t, the number of hidden units of the attention network; at least 1.
    factory : ParameterFactory
        Creates the initial parameters.
    working_memory : int
        Maximum memory in bytes for the pairs of a single row.
    """

    def __init__(self, n_factors: int, attention_size: int, factory: ParameterFactory, working_memory: int) -> None:
        super().__init__()
        self.max_pairs = max(working_memory // pair_bytes(attention_size), 1)
        std = (2 / (attention_size + n_factors)) ** 0.5
        self.weight = factory.normal(attention_size, n_factors, std=std)  # W
        self.bias = factory.normal(attention_size, std=std)  # b
        self.projection = factory.constant(attention_size)  # h

    def forward(
        self,
        factors: Tensor,
        indices: Tensor,
        values: Tensor | None,
        offsets: Tensor,
        transposed: TransposedBatch | None,  # noqa: ARG002 not needed for pairs
    ) -> Tensor:
        """Return the pooled vector (B, k) of each row."""
        network = (self.weight, self.bias, self.projection)
        return attentional_pooling(factors, *network, indices, values, offsets, max_pairs=self.max_pairs)

    def pool_entries(self, entries: Tensor, values: Tensor | None) -> Tensor:
        """Return the pooled vectors (B, k) of the entries (B, m, k) of rows of one length, with values (B, m)."""
        exists = None if values is None else values != 0
        return attend_to_entries(entries, self.weight, self.bias, self.projection, exists)

    def entry_bytes_per_row(self, length: int, k: int, itemsize: int) -> int:
        """Return the bytes of memory that ``_forward_entries`` needs for a row."""
        return entry_bytes(length, k, len(self.bias), itemsize)

    def products_per_row(self, lengths: Tensor) -> Tensor:
        """Return the multiplications in matrix products (B,) that pooling rows of these lengths (B,) needs."""
        return lengths * (lengths - 1) // 2 * self.weight.numel()

    def bytes_per_row(self, lengths: Tensor, itemsize: int, k: int) -> Tensor:
        """Return the memory (B,) in bytes that pooling k numbers of rows of these lengths (B,) needs."""
        pairs = (lengths * (lengths - 1) // 2).clamp_(max=self.max_pairs)
        return pair_bytes(len(self.bias)) * pairs + 3 * itemsize * k


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
