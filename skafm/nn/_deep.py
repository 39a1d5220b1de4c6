"""The deep part of Wide & Deep, DeepFM and the parallel AFM: a perceptron on the embeddings of the fields."""

from collections.abc import Sequence

from torch import Tensor, nn

from skafm.nn import _sparse_ops
from skafm.nn._base import TransposedBatch
from skafm.nn._layers import MLP, ParameterFactory


class FieldMLP(nn.Module):
    """Multilayer perceptron ``MLP([sum_{i in f} v_i x_i for each field f])`` on concatenated embeddings.

    Parameters
    ----------
    n_fields : int
        Number of fields F.
    n_factors : int
        Embedding size k.
    hidden_layer_sizes : sequence of int
        Number of units of each hidden layer, from the first to the last.
    dropout : float
        Probability of dropping each hidden unit of a row in training; at least 0 and below 1.
    factory : ParameterFactory
        Creates the initial parameters; its generator draws dropout, too.
    batch_norm : bool, default=False
        Whether hidden layers have batch normalization.
    """

    def __init__(
        self,
        n_fields: int,
        n_factors: int,
        hidden_layer_sizes: Sequence[int],
        dropout: float,
        factory: ParameterFactory,
        *,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.n_fields = n_fields
        self.mlp = MLP([n_fields * n_factors, *hidden_layer_sizes], dropout, factory, batch_norm=batch_norm)
        self.elements_per_row = 2 * n_fields * n_factors + (6 if batch_norm else 4) * sum(hidden_layer_sizes)

    def forward(
        self,
        factors: Tensor,
        fields: Tensor,
        batch: tuple[Tensor, Tensor | None, Tensor, TransposedBatch | None],
        weight: Tensor | None = None,
    ) -> Tensor:
        """Return the last hidden layer (B, h) of each row; batch normalization is weighted by ``weight`` (B,)."""
        embedded = _sparse_ops.field_sum(factors, fields, self.n_fields, *batch)  # (B, F, k)
        hidden: Tensor = self.mlp(embedded.flatten(1), weight)
        return hidden
