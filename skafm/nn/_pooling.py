"""How the interactions of a row become one vector: by their sum, or by attention."""

import torch
from torch import Tensor, nn

from skafm.nn import _entries, _sparse_ops, functional
from skafm.nn._base import TransposedBatch
from skafm.nn._layers import ParameterFactory
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

    def logits(self, interactions: Tensor) -> None:
        """Return the attention logits of pairs of interactions (c, k): there are none."""

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

    def logits(self, interactions: Tensor) -> Tensor:
        """Return the attention logits (c,) of pairs of interactions (c, k)."""
        return functional.attention_logits(interactions, self.weight, self.bias, self.projection)

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
