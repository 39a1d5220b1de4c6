"""Neural factorization machine (He and Chua, 2017), and with attention the deep AFM."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from skafm.nn import entries, functional
from skafm.nn.entries import Columns
from skafm.nn.layers import MLP, Source
from skafm.nn.linear import SparseLinear
from skafm.nn.model import Model
from skafm.nn.pairs import attentional_pooling, pair_bytes


class SumPooling(nn.Module):
    """Bi-interaction pooling ``sum_{i<j} (v_i * v_j) x_i x_j``."""

    def forward(
        self, factors: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor, columns: Columns | None
    ) -> Tensor:
        """Return the pooled vector (B, k) of each row."""
        return entries.bi_interaction(factors, indices, values, offsets, columns)

    def memory(self, lengths: Tensor, number: int, k: int) -> Tensor:
        """Return the bytes (B,) that a row of so many entries takes, k numbers of so many bytes being pooled."""
        return torch.zeros_like(lengths) + 3 * number * k


class AttentionPooling(nn.Module):
    """Attention-based pooling ``sum_{i<j} a_ij (v_i * v_j) x_i x_j`` (Eq. 4 and 5 of Xiao et al., 2017).

    Parameters
    ----------
    n_factors : int
        Embedding size k.
    attention_size : int
        Attention factor t.
    source : Source
        Of the random start.
    working_memory : int
        Bytes that the pairs of a single row may take.
    """

    def __init__(self, n_factors: int, attention_size: int, source: Source, working_memory: int) -> None:
        super().__init__()
        self.max_pairs = max(working_memory // pair_bytes(attention_size), 1)
        std = (2 / (attention_size + n_factors)) ** 0.5
        self.weight = source.normal(attention_size, n_factors, std=std)  # W
        self.bias = source.normal(attention_size, std=std)  # b
        self.projection = source.constant(attention_size)  # h

    def forward(
        self,
        factors: Tensor,
        indices: Tensor,
        values: Tensor | None,
        offsets: Tensor,
        columns: Columns | None,  # noqa: ARG002 of no use to pairs
    ) -> Tensor:
        """Return the pooled vector (B, k) of each row."""
        network = (self.weight, self.bias, self.projection)
        return attentional_pooling(factors, *network, indices, values, offsets, max_pairs=self.max_pairs)

    def memory(self, lengths: Tensor, number: int, k: int) -> Tensor:
        """Return the bytes (B,) that a row of so many entries takes, k numbers of so many bytes being pooled."""
        pairs = (lengths * (lengths - 1) // 2).clamp_(max=self.max_pairs)
        return pair_bytes(len(self.bias)) * pairs + 3 * number * k


class NFM(Model):
    """Neural factorization machine on ragged rows: a multilayer perceptron on the pooled interactions.

    ``raw(x) = w0 + sum_i w_i x_i + p' MLP(pooling of (v_i * v_j) x_i x_j)``; with several outputs each has its w0, w
    and p.

    Parameters
    ----------
    n_features : int
        Columns of the rows, at least 1.
    n_factors : int
        Embedding size k.
    hidden_layer_sizes : sequence of int
        Hidden units of each layer, the first layer first.
    attention_size : int, optional
        Attention factor t; without one the pooling is the plain sum.
    n_outputs : int, optional
        C, the numbers that a row's raw score has; by default one, without an axis of its own.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions and of the hidden units of a row while training, from
        0 to below 1.
    working_memory : int, default=2**30
        Bytes that the pairs of a single row may take, with attention. A row of more pairs is worked in parts, in
        training at the price of a second forward pass.
    generator : torch.Generator, optional
        Source of the random start and of dropout, on ``device``; by default torch's global one.
    device : torch.device or str, optional
        Where the parameters lie; by default where torch puts them.
    dtype : torch.dtype, optional
        Of the parameters; by default torch's.

    Examples
    --------
    The raw scores of two rows, the first with the features 0 and 2, the second with 1 alone:

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
        source = Source(generator, device, dtype)
        self.linear = SparseLinear(n_features, n_outputs, device=device, dtype=dtype)
        self.factors = source.normal(n_features, n_factors, std=0.01)
        self.pooling: SumPooling | AttentionPooling = SumPooling()
        if attention_size is not None:
            self.pooling = AttentionPooling(n_factors, attention_size, source, working_memory)
        # DIFF: He and Chua normalise the pooled vector and the layers by batch; here dropout is all.
        self.mlp = MLP([n_factors, *hidden_layer_sizes], dropout, source)
        self.projection = source.projection(hidden_layer_sizes[-1], n_outputs)
        self.dropout, self.generator = dropout, generator
        self.hidden = 4 * sum(hidden_layer_sizes)

    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, columns: Columns | None = None
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; no values are values of 1."""
        batch = (indices, values, offsets, columns)
        pooled = self.pooling(self.factors, *batch)  # (B, k)
        if self.training and self.dropout > 0:
            pooled = pooled * functional.dropout_mask(pooled.shape, self.dropout, self.generator, pooled)
        raw: Tensor = self.linear(*batch)
        return raw + linear(self.mlp(pooled), self.projection)

    def memory(self, lengths: Tensor) -> Tensor:
        """Return the bytes (B,) that a row of so many entries takes while it is worked, above the model's own."""
        lengths, number = lengths.long(), self.factors.element_size()
        return 64 * lengths + self.pooling.memory(lengths, number, self.factors.shape[1]) + number * self.hidden
