"""Steps of training in which no size depends on the data, so that the host waits for nothing and launches graphs.

They are those of ``loop``, in a single process. The B rows of a batch are padded to m entries, so there is room for B m
distinct features. Where a batch has fewer, the rest are copies of the first one, which is written several times, with
the same numbers. Gradients of features add up in the backward pass of ``embedding``.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import embedding, pad

from skafm._training.batching import Dataset
from skafm._training.collectives import SINGLE_PROCESS
from skafm._training.cuda_graph import Repeater
from skafm._training.losses import Objective
from skafm._training.optimizers import Optimizer
from skafm._training.padded_rows import PaddedRows
from skafm.nn._base import Model

DEVICE_TYPES = {"cuda"}
"""Types of the devices on which these steps are taken: on a CPU those of ``loop`` are faster."""
_MEMORY_SHARE = 0.25
"""Most of a device's free memory that the numbers of a batch may need."""


def suiting_rows(model: Model, dataset: Dataset, batch_size: int) -> PaddedRows | None:
    """Return the rows of a data set if these steps can be taken on them, and the device is one that gains by it."""
    device = dataset.rows.device
    if device.type not in DEVICE_TYPES or dataset.group is not SINGLE_PROCESS:
        return None
    if dataset.query is not None or dataset.renew is not None or dataset.catalog is not None:
        return None  # batches differ in size, rows in each epoch, or all items are in each batch
    rows = PaddedRows.of(dataset.rows, batch_size)
    needed = None if rows is None else model._entry_bytes_per_row(rows.lengths[-1])
    if needed is None or device.type != "cuda":
        return None if needed is None else rows
    return rows if needed * batch_size <= _MEMORY_SHARE * torch.cuda.mem_get_info(device)[0] else None


def compact_entries(indices: Tensor, n_features: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the distinct features of entries (N,), in tensors whose sizes do not depend on how many they are.

    Returns
    -------
    features : Tensor of shape (S,)
        The U distinct features, ascending, and copies of the first one; S is the smaller of N and ``n_features``.
    slots : Tensor of shape (S,)
        0 to U - 1, and 0 for each copy.
    inverse : Tensor of shape (N,)
        The number of each entry's feature, below U, in 32 bits: ``embedding`` sorts them in half of the passes.
    """
    keys, order = indices.sort(stable=True)  # (N,)
    segment = pad((keys[1:] != keys[:-1]).cumsum(0), (1, 0))  # (N,)
    inverse = torch.empty_like(segment, dtype=torch.int32).scatter_(0, order, segment.int())
    slots = torch.arange(min(len(keys), n_features), device=keys.device)  # (S,)
    features = torch.zeros_like(slots).scatter_(0, segment, keys.long())
    slots = torch.where(slots <= segment[-1], slots, 0)
    return features.index_select(0, slots), slots, inverse


class _OfEntries(nn.Module):
    """A model whose ``forward`` is that of entries, as ``functional_call`` needs it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, values: Tensor | None) -> Tensor:
        return self.model._forward_entries(values)


class FixedSteps:
    """The steps of the epochs of one training.

    Parameters
    ----------
    model, dataset, objective, optimizer
        As for ``train``.
    rows : PaddedRows
        Those of ``suiting_rows``.
    rows_per_step : int
        As in ``BatchConfig``.
    generator : torch.Generator
        As for ``train``.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        rows: PaddedRows,
        objective: Objective,
        optimizer: Optimizer,
        rows_per_step: int,
        generator: torch.Generator,
    ) -> None:
        self.model, self.of_entries, self.dataset = model, _OfEntries(model), dataset
        self.objective, self.optimizer, self.rows_per_step, self.rows = objective, optimizer, rows_per_step, rows
        device = dataset.rows.device
        self.order = torch.arange(len(dataset.rows), device=device)
        self.position = torch.zeros((), dtype=torch.int64, device=device)
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        own = (getattr(module, "generator", None) for module in model.modules())
        generators = {id(each): each for each in (generator, *own) if each is not None}
        self.repeat = Repeater(device, generators.values())

    def run_epoch(self, order: Tensor, sizes: Sequence[int]) -> float:
        """Take a step on each batch of the rows in their order (n_samples,), and return the mean objective."""
        self.order.copy_(order)
        self.position.zero_()
        self.total.zero_()
        for step in zip(sizes, self.rows.lengths_of(order, sizes), strict=True):
            self.repeat(step, partial(self._step, *step))
        return float(self.total) / len(order)

    def _step(self, size: int, length: int) -> None:
        """Take a step on the next rows, padded to a length."""
        rows = self.order.index_select(0, self.position + torch.arange(size, device=self.order.device))  # (B,)
        self.position += size
        indices, values = self.rows.take(rows, length)  # (B, m)
        features, slots, inverse = compact_entries(indices.flatten(), self.dataset.rows.n_features)
        parameters = {}
        for name, parameter in self.model.named_parameters():
            value = parameter.detach()
            parameters[name] = value.index_select(0, features) if name in self.model._per_feature else value
        trained = {name: parameters[name].requires_grad_() for name in self.optimizer.parameters}
        loss = self._objective(rows, indices, values, inverse.view_as(indices), parameters)
        gradients = dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))
        self.total += size * loss.detach()
        tables = [name for name in self.model._per_feature if name in trained]
        for name in tables:
            gradients[name] = gradients[name].index_select(0, slots)
        if size < self.rows_per_step:
            for gradient in gradients.values():
                gradient.mul_(size / self.rows_per_step)
        self.optimizer.step(trained, gradients, dict.fromkeys(tables, features))

    def _objective(
        self, rows: Tensor, indices: Tensor, values: Tensor | None, inverse: Tensor, parameters: dict[str, Tensor]
    ) -> Tensor:
        """Return the objective, a scalar, of rows (B,) whose entries (B, m) have the parameters of ``inverse``."""
        tables = {name: _embed(inverse, parameters[name]) for name in self.model._per_feature}
        state = {f"model.{name}": value for name, value in (parameters | tables).items()}
        raw: Tensor = functional_call(self.of_entries, state, (values,))
        losses, whole = self.objective.loss(raw, self.dataset.target.index_select(0, rows)), raw.new_zeros(())  # (B,)
        for name, penalty in self.objective.penalties.items():
            if name in tables:
                norms = tables[name].unsqueeze(-1).flatten(2).square().sum(2)  # (B, m)
                norms = norms if values is None else norms * (values != 0)
                strength = _at(penalty, indices) if isinstance(penalty, Tensor) else penalty
                losses = losses + (strength * norms).sum(1)
            else:
                whole = whole + penalty * parameters[name].square().sum()
        weight = self.dataset.weight
        total = losses.sum() if weight is None else weight.index_select(0, rows) @ losses
        return whole + total / len(rows)


def _at(vector: Tensor, indices: Tensor) -> Tensor:
    """Return the numbers (B, m) of a vector (n_features,) that indices (B, m) name."""
    return vector.index_select(0, indices.flatten()).view_as(indices)


def _embed(indices: Tensor, table: Tensor) -> Tensor:
    """Return the rows (B, m, ...) of a table (S, ...) that indices (B, m) name."""
    return embedding(indices, table.unsqueeze(-1).flatten(1)).view(*indices.shape, *table.shape[1:])
