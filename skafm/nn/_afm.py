"""Attentional factorization machine (Xiao et al., 2017)."""

import torch
from torch import Tensor, nn

from skafm.nn import _entries, functional
from skafm.nn._base import TransposedBatch
from skafm.nn._linear import SparseLinear
from skafm.nn._pairs import attend_to_entries, attentional_interaction, entry_bytes, pair_bytes
from skafm.nn._pairwise import PairModel


class AFM(PairModel):
    """Attentional factorization machine on ragged batches.

    ``raw(x) = w0 + sum_i w_i x_i + p' sum_{i<j} a_ij (v_i * v_j) x_i x_j``, Eq. 6 of Xiao et al. (2017), with the
    attention weights a_ij of their Eq. 5.

    With several outputs, each has its own w0, w and p; embeddings and attention are shared.

    Parameters
    ----------
    n_features : int
        Number of features; at least 1.
    n_factors : int
        Embedding size k; at least 1.
    attention_size : int
        Attention factor t, the number of hidden units of the attention network; at least 1.
    n_outputs : int, optional
        Number of raw scores C of a row; by default a single one, without an axis.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions of a row in training; at least 0 and below 1.
    initial_projection : float, default=1.0
        Initial value of each element of p; with several outputs, the standard deviation of the normal distribution that
        p is drawn from. With the typical number of pairs of a row, the initial model is close to an FM.
    reduced_precision : bool, default=False
        Whether training computes the matrix products of the attention network in bfloat16 if a batch has many pairs.
    working_memory : int, default=2**30
        Maximum memory in bytes for the pairs of a single row. A row with more pairs is processed in parts, with
        gradient checkpointing in training.
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
    >>> from skafm.nn import AFM
    >>> model = AFM(n_features=3, n_factors=4, attention_size=2)
    >>> indices, values, offsets = torch.tensor([0, 2, 1]), torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0, 2, 3])
    >>> model(indices, values, offsets).shape
    torch.Size([2])
    """

    _predict_batch_size = 2**15  # the more rows, the fewer distinct pairs for each

    def __init__(
        self,
        n_features: int,
        n_factors: int,
        attention_size: int,
        n_outputs: int | None = None,
        *,
        dropout: float = 0.0,
        initial_projection: float = 1.0,
        reduced_precision: bool = False,
        working_memory: int = 2**30,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.linear = SparseLinear(n_features, n_outputs, device=device, dtype=dtype)
        self.factors = nn.Parameter(torch.empty(n_features, n_factors, device=device, dtype=dtype))
        self.attention_weight = nn.Parameter(torch.empty(attention_size, n_factors, device=device, dtype=dtype))  # W
        self.attention_bias = nn.Parameter(torch.empty(attention_size, device=device, dtype=dtype))  # b
        # DIFF: the authors draw h from N(0, 1). With h = 0 the initial attention is uniform, and the model an FM.
        self.attention_projection = nn.Parameter(torch.full((attention_size,), 0.0, device=device, dtype=dtype))  # h
        shape = (n_factors,) if n_outputs is None else (n_outputs, n_factors)
        self.projection = nn.Parameter(torch.full(shape, initial_projection, device=device, dtype=dtype))  # p
        self.dropout, self.generator = dropout, generator
        self.reduced_precision = reduced_precision
        self.max_pairs = max(working_memory // pair_bytes(attention_size), 1)
        if not self.factors.is_meta:  # on the meta device drawing only costs a second of imports
            std = (2 / (attention_size + n_factors)) ** 0.5
            nn.init.normal_(self.factors, std=0.01, generator=generator)
            nn.init.normal_(self.attention_weight, std=std, generator=generator)
            nn.init.normal_(self.attention_bias, std=std, generator=generator)
            if n_outputs is not None:  # if equal, V has no gradient: those of a softmax sum to zero
                nn.init.normal_(self.projection, std=initial_projection, generator=generator)

    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; ``values=None`` means that all are 1."""
        network = (self.attention_weight, self.attention_bias, self.attention_projection, self.projection)
        interaction = attentional_interaction(
            self.factors,
            *network,
            indices,
            values,
            offsets,
            self._draw_mask(len(offsets) - 1),
            max_pairs=self.max_pairs,
            matmul_dtype=self._matmul_dtype(),
        )
        linear: Tensor = self.linear(indices, values, offsets, transposed)
        return linear + interaction

    def _draw_mask(self, n_rows: int) -> Tensor | None:
        """Return the dropout mask (B, k) of the pooled vectors, or None outside of training."""
        if not self.training or self.dropout == 0:
            return None
        # DIFF: the paper applies dropout to the pair-wise interaction layer. Like the authors' code, apply it after
        # pooling, where the mask has k elements for each row instead of k for each pair.
        return functional.dropout_mask((n_rows, self.factors.shape[-1]), self.dropout, self.generator, self.factors)

    def _matmul_dtype(self) -> torch.dtype | None:
        """Return the type of the factors of the network's products, or None if it is that of the parameters."""
        return torch.bfloat16 if self.training and self.reduced_precision else None

    def _forward_entries(self, values: Tensor | None) -> Tensor:
        """Return the raw score, (B,) or (B, C), of rows of one length; see the base class."""
        network = (self.attention_weight, self.attention_bias, self.attention_projection)
        entries = _entries.multiply(self.factors, values)  # (B, m, k)
        exists = None if values is None else values != 0
        pooled = attend_to_entries(entries, *network, exists, self._matmul_dtype())  # (B, k)
        mask = self._draw_mask(len(pooled))
        pooled = pooled if mask is None else pooled * mask
        return _entries.linear(self.linear, values) + torch.nn.functional.linear(pooled, self.projection)

    def _entry_bytes_per_row(self, length: int) -> int:
        """Return the bytes of memory that ``_forward_entries`` needs for a row."""
        t, k = self.attention_weight.shape
        return entry_bytes(length, k, t, self.factors.element_size())

    def _pair_scores(self, left: Tensor, right: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``p' (v_i * v_j) x_i x_j``, (c,) or (c, C), and the attention logits (c,) of pairs of features."""
        interactions = self.factors[left] * self.factors[right] * product.unsqueeze(1)  # (c, k)
        network = (self.attention_weight, self.attention_bias, self.attention_projection)
        return torch.nn.functional.linear(interactions, self.projection), functional.attention_logits(
            interactions, *network
        )

    def _products_per_row(self, lengths: Tensor) -> Tensor:
        """Return the multiplications in matrix products (B,) that rows of these lengths (B,) need."""
        return lengths.long() * (lengths.long() - 1) // 2 * self.attention_weight.numel()

    def _bytes_per_row(self, lengths: Tensor) -> Tensor:
        """Return the memory (B,) in bytes that rows of these lengths (B,) need, the parameters not counted."""
        pairs = (lengths.long() * (lengths.long() - 1) // 2).clamp_(max=self.max_pairs)
        row = 64 * lengths.long() + 4 * self.factors.element_size() * self.factors.shape[1]
        return pair_bytes(len(self.attention_bias)) * pairs + row
