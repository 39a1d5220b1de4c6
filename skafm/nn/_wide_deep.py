"""Wide & Deep (Cheng et al., 2016)."""

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import linear

from skafm.nn._base import Model, TransposedBatch
from skafm.nn._deep import FieldMLP
from skafm.nn._layers import ParameterFactory
from skafm.nn._linear import SparseLinear


class WideDeep(Model):
    """Wide & Deep on ragged batches.

    ``raw(x) = w0 + sum_i w_i x_i + p' MLP([sum_{i in f} v_i x_i for each field f])`` (Cheng et al., 2016): the sum of a
    linear model and a multilayer perceptron on the concatenated embeddings of the fields.

    With several outputs, each has its own w0, w and p.

    Parameters
    ----------
    fields : array-like of shape (n_features,)
        Field of each feature, an integer from 0.
    n_factors : int
        Embedding size k; at least 1.
    hidden_layer_sizes : sequence of int, default=(1024, 512, 256)
        Number of units of each hidden layer, from the first to the last.
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
    >>> from skafm.nn import WideDeep
    >>> model = WideDeep(fields=[0, 0, 1], n_factors=4, hidden_layer_sizes=(8,))
    >>> indices, values, offsets = torch.tensor([0, 2, 1]), torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0, 2, 3])
    >>> model(indices, values, offsets).shape
    torch.Size([2])
    """

    _per_feature = ("linear.weight", "factors", "fields")

    def __init__(
        self,
        fields: ArrayLike,
        n_factors: int,
        hidden_layer_sizes: Sequence[int] = (1024, 512, 256),
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
        self.deep = FieldMLP(n_fields, n_factors, hidden_layer_sizes, dropout, factory)
        self.projection = factory.projection(hidden_layer_sizes[-1], n_outputs)

    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row; ``values=None`` means that all are 1."""
        batch = (indices, values, offsets, transposed)
        wide: Tensor = self.linear(*batch)
        return wide + linear(self.deep(self.factors, self.fields, batch), self.projection)

    def _bytes_per_row(self, lengths: Tensor) -> Tensor:
        """Return the memory (B,) in bytes that rows of these lengths (B,) need, the parameters not counted."""
        return 128 * lengths.long() + self.factors.element_size() * self.deep.elements_per_row
