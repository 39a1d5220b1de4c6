"""Steps of training in which no size depends on the data, so that the host waits for nothing and launches graphs.

They are those of ``loop``, in a single process. All rows have m entries: shorter ones are padded with their first
feature and the value 0, which adds to no sum and no gradient. A batch of B rows has B m entries, and so room for as
many distinct features. Where it has fewer, the rest are copies of the first one, which is written several times, with
the same numbers. Gradients of features add up in the backward pass of ``embedding``.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import embedding, pad

from skafm._training.batching import CSRRows, Dataset
from skafm._training.collectives import SINGLE_PROCESS
from skafm._training.cuda_graph import Repeater
from skafm._training.losses import Objective
from skafm._training.optimizers import Optimizer
from skafm.nn._base import Model

DEVICE_TYPES = {"cuda"}
"""Types of the devices on which these steps are taken: on a CPU those of ``loop`` are faster."""
_MEMORY_SHARE = 0.25
"""Most of a device's free memory that the numbers of a batch may need."""
_MAX_PADDING = 2.0
"""Most times as many pairs as without padding."""


def suit(model: Model, dataset: Dataset, batch_size: int) -> bool:
    """Return whether a model can be trained on a data set by these steps, and the device is one that gains by it."""
    device = dataset.rows.device
    if device.type not in DEVICE_TYPES or dataset.group is not SINGLE_PROCESS:
        return False
    if dataset.query is not None or dataset.renew is not None or dataset.catalogue is not None:
        return False  # batches differ in size, rows in each epoch, or all items are in each batch
    length = padded_length(dataset.rows)
    needed = None if length is None else model._entry_bytes_per_row(length)
    if needed is None or device.type != "cuda":
        return needed is not None
    return needed * batch_size <= _MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]


def padded_length(rows: CSRRows) -> int | None:
    """Return the length m that rows are padded to; None if a row is empty, none has a pair, or many are short."""
    lengths = rows.indptr.diff().long()
    if len(lengths) == 0 or int(lengths.min()) == 0:
        return None
    m, n_pairs = int(lengths.max()), int((lengths * (lengths - 1)).sum())
    return m if 0 < len(lengths) * m * (m - 1) <= _MAX_PADDING * n_pairs else None


def pad_rows(rows: CSRRows, length: int) -> tuple[Tensor, Tensor | None]:
    """Return features (n_samples, m) and values (n_samples, m) of the entries of rows; None if all values are 1."""
    if rows.row_length is not None:
        return rows.indices.view(-1, length), None if rows.values is None else rows.values.view(-1, length)
    place = torch.arange(length, device=rows.device)  # (m,)
    exists = place < rows.indptr.diff().unsqueeze(1)  # (n_samples, m)
    positions = rows.indptr[:-1].unsqueeze(1) + torch.where(exists, place, 0)
    values = exists.to(rows.dtype) if rows.values is None else rows.values[positions] * exists
    return rows.indices[positions], values


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
        As for ``train``, such that ``suit`` is true.
    rows_per_step : int
        As in ``BatchConfig``.
    generator : torch.Generator
        As for ``train``.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        objective: Objective,
        optimizer: Optimizer,
        rows_per_step: int,
        generator: torch.Generator,
    ) -> None:
        self.model, self.of_entries, self.dataset = model, _OfEntries(model), dataset
        self.objective, self.optimizer, self.rows_per_step = objective, optimizer, rows_per_step
        rows, n = dataset.rows, len(dataset.rows)
        self.indices, self.values = pad_rows(rows, padded_length(rows) or 0)  # (n_samples, m)
        self.order = torch.arange(n, device=rows.device)
        self.position = torch.zeros((), dtype=torch.int64, device=rows.device)
        self.total = torch.zeros((), dtype=torch.float64, device=rows.device)
        own = (getattr(module, "generator", None) for module in model.modules())
        generators = {id(each): each for each in (generator, *own) if each is not None}
        self.repeat = Repeater(rows.device, generators.values())

    def run_epoch(self, order: Tensor, sizes: Sequence[int]) -> float:
        """Take a step on each batch of the rows in their order (n_samples,), and return the mean objective."""
        self.order.copy_(order)
        self.position.zero_()
        self.total.zero_()
        for size in sizes:
            self.repeat(size, partial(self._step, size))
        return float(self.total) / len(order)

    def _step(self, size: int) -> None:
        """Take a step on the next rows."""
        rows = self.order.index_select(0, self.position + torch.arange(size, device=self.order.device))  # (B,)
        self.position += size
        indices = self.indices.index_select(0, rows)  # (B, m)
        features, slots, inverse = compact_entries(indices.flatten(), self.dataset.rows.n_features)
        parameters = {}
        for name, parameter in self.model.named_parameters():
            value = parameter.detach()
            parameters[name] = value.index_select(0, features) if name in self.model._per_feature else value
        trained = {name: parameters[name].requires_grad_() for name in self.optimizer.parameters}
        loss = self._objective(rows, indices, inverse.view_as(indices), parameters)
        gradients = dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))
        self.total += size * loss.detach()
        tables = [name for name in self.model._per_feature if name in trained]
        for name in tables:
            gradients[name] = gradients[name].index_select(0, slots)
        if size < self.rows_per_step:
            for gradient in gradients.values():
                gradient.mul_(size / self.rows_per_step)
        self.optimizer.step(trained, gradients, dict.fromkeys(tables, features))

    def _objective(self, rows: Tensor, indices: Tensor, inverse: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """Return the objective, a scalar, of rows (B,) whose entries (B, m) have the parameters of ``inverse``."""
        tables = {name: _embed(inverse, parameters[name]) for name in self.model._per_feature}
        values = None if self.values is None else self.values.index_select(0, rows)  # (B, m)
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
