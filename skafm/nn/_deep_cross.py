"""DeepCross (Shan et al., 2016)."""

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import linear

from skafm.nn import _sparse_ops
from skafm.nn._base import Model, TransposedBatch
from skafm.nn._layers import ParameterFactory, ResidualUnits


class DeepCross(Model):
    """DeepCross on ragged batches.

    ``raw(x) = w0 + p' units([sum_{i in f} v_i x_i for each field f])`` (Shan et al., 2016): residual units on the
    concatenated embeddings of the fields, without a linear part.

    With several outputs, each has its own w0 and p.

    Parameters
    ----------
    fields : array-like of shape (n_features,)
        Field of each feature, an integer from 0.
    n_factors : int
        Embedding size k; at least 1.
    hidden_layer_sizes : sequence of int, default=(512, 512, 256, 128, 64)
        Hidden size of each residual unit.
    n_outputs : int, optional
        Number of raw scores C of a row; by default a single one, without an axis.
    dropout : float, default=0.0
        Probability of dropping each hidden unit of a row in training; at least 0 and below 1.
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
    >>> from skafm.nn import DeepCross
    >>> model = DeepCross(fields=[0, 0, 1], n_factors=4, hidden_layer_sizes=(8,))
    >>> indices, values, offsets = torch.tensor([0, 2, 1]), torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0, 2, 3])
    >>> model(indices, values, offsets).shape
    torch.Size([2])
    """

    _per_feature = ("factors", "fields")
    _needs_whole_batch = True

    def __init__(
        self,
        fields: ArrayLike,
        n_factors: int,
        hidden_layer_sizes: Sequence[int] = (512, 512, 256, 128, 64),
        n_outputs: int | None = None,
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory, field_codes = ParameterFactory(generator, device, dtype), torch.as_tensor(fields)
        self.n_fields = int(field_codes.max()) + 1
        size = self.n_fields * n_factors
        self.intercept = factory.constant(*(() if n_outputs is None else (n_outputs,)))
        self.factors = factory.normal(len(field_codes), n_factors, std=0.01)
        self.fields = nn.Parameter(field_codes.to(device), requires_grad=False)
        self.units = ResidualUnits(size, hidden_layer_sizes, dropout, factory)
        self.projection = factory.projection(size, n_outputs)
        self._elements_per_row = 4 * len(hidden_layer_sizes) * size + 6 * sum(hidden_layer_sizes)

    def forward(
        self,
        indices: Tensor,
        values: Tensor | None,
        offsets: Tensor,
        transposed: TransposedBatch | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; batch normalization is weighted by ``weight`` (B,)."""
        batch = (indices, values, offsets, transposed)
        embedded = _sparse_ops.field_sum(self.factors, self.fields, self.n_fields, *batch)  # (B, F, k)
        return self.intercept + linear(self.units(embedded.flatten(1), weight), self.projection)

    def _bytes_per_row(self, lengths: Tensor) -> Tensor:
        """Return the memory (B,) in bytes that rows of these lengths (B,) need, the parameters not counted."""
        return 128 * lengths.long() + self.factors.element_size() * self._elements_per_row
