"""What all models share: the batch that they take, and what the training loop asks of them."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn


class Batch(NamedTuple):
    """Ragged rows in CSR form: the arguments of a model's ``forward``."""

    indices: Tensor
    """(N,) Feature of each entry."""
    values: Tensor | None
    """(N,) Value of each entry; None if all are 1."""
    offsets: Tensor
    """(B + 1,) Row r has the entries ``offsets[r]:offsets[r + 1]``."""


class TransposedBatch(NamedTuple):
    """The same entries in CSC form, feature by feature: gradients are sums over it."""

    rows: Tensor
    """(N,) Row of each entry."""
    values: Tensor | None
    """(N,) Value of each entry; None if all are 1."""
    offsets: Tensor
    """(n_features + 1,) Feature i has the entries ``offsets[i]:offsets[i + 1]``."""


class Model(nn.Module, ABC):
    """A model of ragged rows, ``raw(x) = w0 + ...``, whose parameters have the same names in all models.

    ``linear.intercept`` or ``intercept`` is w0, ``linear.weight`` w, ``factors`` the embeddings V and ``projection`` p,
    in which the rest of the raw score is linear.
    """

    _per_feature: ClassVar[tuple[str, ...]] = ("linear.weight", "factors")
    """Names of the parameters with one row for each feature; the values x_i enter only as products with these rows."""
    _needs_whole_batch: bool = False
    """Whether rows of a batch depend on one another in training; ``forward`` then takes their weights as ``weight``."""
    _predict_batch_size: ClassVar[int] = 2**14
    """Most rows that are predicted at once."""

    @abstractmethod
    def forward(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
    ) -> Tensor:
        """Return the raw score, (B,) or (B, C), of each row of a batch; ``values=None`` means that all are 1."""

    @abstractmethod
    def _bytes_per_row(self, lengths: Tensor) -> Tensor:
        """Return the memory (B,) in bytes that rows of these lengths (B,) need, the parameters not counted."""

    def _forward_entries(self, values: Tensor | None) -> Tensor:
        """Return the raw score, (B,) or (B, C), of rows of m entries each, with their values (B, m), all 1 if None.

        In the place of each per-feature parameter (n_features, ...) are the rows of all entries, (B, m, ...). An entry
        of value 0 is none: it fills up a shorter row. There is no size that depends on the data. Training on CUDA uses
        it; of the models that have none, ``forward``.
        """
        raise NotImplementedError

    def _entry_bytes_per_row(self, length: int) -> int | None:  # noqa: ARG002 of the models without
        """Return the bytes of memory that ``_forward_entries`` needs for a row, or None without one."""
        return None

    def _products_per_row(self, lengths: Tensor) -> Tensor:
        """Return the multiplications in matrix products (B,) that rows of these lengths (B,) need."""
        n_dense = sum(p.numel() for name, p in self.named_parameters() if name not in self._per_feature)
        return torch.full_like(lengths, n_dense, dtype=torch.int64)

    def _multipliers(self, scale: Tensor) -> dict[str, Tensor]:
        """Return what each parameter is multiplied by, if not by 1, to make the raw score ``scale * raw``."""
        multipliers: dict[str, Tensor] = {}
        for name, parameter in self.named_parameters():
            if name in {"linear.intercept", "intercept", "linear.weight"}:
                multipliers[name] = scale
            elif name == "projection":  # (k,) or (C, k)
                multipliers[name] = scale.unsqueeze(-1) if parameter.ndim > 1 else scale
        return multipliers

    @torch.no_grad()
    def _rescaled_parameters(self, shift: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """Return the parameters that make the raw score ``shift + scale * raw``; both scalars, or (C,)."""
        multipliers = self._multipliers(scale)
        state = {name: p * multipliers[name] if name in multipliers else p for name, p in self.named_parameters()}
        for name in state.keys() & {"linear.intercept", "intercept"}:
            state[name] = shift + state[name]
        return state

    @torch.no_grad()
    def _rescale_(self, shift: Tensor, scale: Tensor) -> None:
        """Do that in place."""
        multipliers = self._multipliers(scale)
        for name, parameter in self.named_parameters():
            if name in multipliers:
                parameter.mul_(multipliers[name])
            if name in {"linear.intercept", "intercept"}:
                parameter.add_(shift)
