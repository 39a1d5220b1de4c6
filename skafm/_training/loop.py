"""The only training loop and the only prediction loop. They take any model and know none."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import embedding_bag

from skafm._training import fixed_steps
from skafm._training.batching import CSRRows, Dataset, compact_features, split_batch
from skafm._training.collectives import Step
from skafm._training.epoch_batches import EpochBatches, Sizes, make_batches
from skafm._training.errors import DivergenceError
from skafm._training.losses import Loss, Objective
from skafm._training.optimizers import Optimizer
from skafm._training.threads import limit_threads
from skafm.nn._base import Batch, Model, TransposedBatch


class BatchConfig(NamedTuple):
    """How an epoch is divided into batches."""

    batch_size: int
    """Most rows of a batch, over all ranks; of whole queries about that many, or those of one query."""
    shuffle: bool
    """Whether each epoch takes the rows in a new order."""
    memory: int
    """Bytes: a batch that needs more is processed in micro-batches, whose gradients add up to the same step; rows of
    a query are compared within them."""
    rows_per_step: int = 0
    """A batch with fewer rows takes a smaller step: its gradients are multiplied by its share of this number."""


def train(
    model: Model,
    dataset: Dataset,
    objective: Objective,
    optimizer: Optimizer,
    config: BatchConfig,
    generator: torch.Generator,
) -> Iterator[float]:
    """Train one epoch for each item that the caller takes.

    Parameters
    ----------
    model : Model
        Trained in place: its parameters that require a gradient.
    dataset : Dataset
    objective : Objective
    optimizer : Optimizer
        Of these parameters of ``model``.
    config : BatchConfig
    generator : torch.Generator
        Draws the order of the rows, on the device of the data set.

    Yields
    ------
    loss : float
        Mean objective over the batches of an epoch.

    Raises
    ------
    DivergenceError
        If the loss or a parameter is no longer finite.
    """
    batches = make_batches(dataset, config.batch_size, shuffle=config.shuffle)
    n_products = mean_products(model, dataset.rows) * len(dataset.rows) / max(batches.n_steps, 1)
    run_epoch = _epoch_runner(model, dataset, objective, optimizer, config, generator, batches)
    for epoch in count(1):
        model.train()
        with limit_threads(n_products):
            rows = dataset if dataset.renew is None else dataset.renew(dataset)
            loss = run_epoch(rows, *batches.draw(generator))
            finite = math.isfinite(loss) and _all_finite(model, optimizer)
        if not finite:
            what = "A gradient became too large" if math.isfinite(loss) else f"The loss became {loss}"
            raise DivergenceError(f"{what} in epoch {epoch}")
        yield loss


def _epoch_runner(
    model: Model,
    dataset: Dataset,
    objective: Objective,
    optimizer: Optimizer,
    config: BatchConfig,
    generator: torch.Generator,
    batches: EpochBatches,
) -> Callable[[Dataset, Tensor, Sizes], float]:
    """Return a function that trains one epoch on the rows in an order (n_samples,), and returns the mean objective."""
    if padded := fixed_steps.suiting_rows(model, dataset, config.batch_size):
        steps = fixed_steps.FixedSteps(model, dataset, padded, objective, optimizer, config.rows_per_step, generator)
        return lambda _, order, sizes: steps.run_epoch(order, [size for size, _ in sizes])
    worst = batches.most_rows * float(model._bytes_per_row(dataset.rows.indptr.diff()).max())
    split = worst > config.memory and not model._needs_whole_batch and dataset.catalog is None
    return partial(_run_epoch, model, objective, optimizer, config.rows_per_step, config.memory if split else None)


def mean_products(model: Model, rows: CSRRows) -> float:
    """Return how many multiplications in matrix products a row needs."""
    return float(model._products_per_row(rows.indptr.diff()).double().mean()) if len(rows) else 0.0


def _all_finite(model: Model, optimizer: Optimizer) -> bool:
    """Return whether parameters and optimizer states are finite: Adagrad does not move where a state is infinite."""
    tensors = [p.detach() for p in model.parameters() if p.is_floating_point()]
    tensors += [state for states in optimizer.states.values() for state in states]
    extremes = torch.stack([torch.stack(each.aminmax()) for each in tensors])  # nan, if any
    return bool(extremes.isfinite().all())


def _run_epoch(
    model: Model,
    objective: Objective,
    optimizer: Optimizer,
    rows_per_step: int,
    memory: int | None,
    dataset: Dataset,
    order: Tensor,
    sizes: Sizes,
) -> float:
    """Take a step on each batch that has rows and return the mean objective."""
    total, n = torch.zeros((), device=order.device, dtype=torch.float64), 0
    for rows, (local_size, size) in zip(torch.split(order, [own for own, _ in sizes]), sizes, strict=True):
        if size == 0:
            continue
        step = compute_step(model, dataset, rows, objective, memory)
        step = dataset.group.all_reduce(step, local_size / size, optimizer.parameters)
        if size < rows_per_step:
            for gradient in step.gradients.values():
                gradient.mul_(size / rows_per_step)
        optimizer.step(step.parameters, step.gradients, dict.fromkeys(step.tables, step.features))
        total += size * step.loss
        n += size
    return float(total) / n


def compute_step(model: Model, dataset: Dataset, rows: Tensor, objective: Objective, memory: int | None) -> Step:
    """Return the objective of the given rows (B,) and its gradients, in micro-batches if memory (bytes) demands it."""
    target = dataset.target.index_select(0, rows)  # (B,)
    weight = None if dataset.weight is None else dataset.weight.index_select(0, rows)  # (B,)
    # The model gets only the batch's own U features, so that nothing in a step has the size of the table.
    features, batch, transposed = compact_features(dataset.take(rows), dataset.rows.n_features)  # (U,)
    parameters, trained = {}, {}
    for name, parameter in model.named_parameters():
        value = parameter.detach()
        parameters[name] = value.index_select(0, features) if name in model._per_feature else value
        if parameter.requires_grad:
            trained[name] = parameters[name].requires_grad_()
    n_rows = max(len(rows), 1)
    total = target.new_zeros(())
    gradients: list[Tensor] = []
    whole = [(slice(None), batch)]
    for part, micro_batch in whole if memory is None else split_batch(batch, _bytes_of(model, batch), memory):
        known = transposed if micro_batch is batch else None
        options = {} if weight is None or not model._needs_whole_batch else {"weight": weight[part]}
        scores = functional_call(model, parameters, (*micro_batch, known), options | dataset.options)
        raw: Tensor = dataset.hide_known(scores, rows)
        losses = objective.loss(raw, target[part])
        loss = (losses.sum() if weight is None else weight[part] @ losses) / n_rows
        total += loss.detach()
        found = torch.autograd.grad(loss, list(trained.values()))
        del scores, raw, losses, loss  # frees their graph before the next micro-batch
        gradients = [a + b for a, b in zip(gradients, found, strict=True)] if gradients else list(found)
    named = dict(zip(trained, gradients, strict=True))
    if objective.penalties:
        counts = weight if dataset.catalog is None else dataset.catalog.frequency(target, weight)
        frequency = _frequency(transposed, counts, n_rows, target.dtype)
        total += _add_penalties(named, trained, objective, dict.fromkeys(model._per_feature, features), frequency)
    return Step(total, trained, named, features, [name for name in model._per_feature if name in trained])


def _bytes_of(model: Model, batch: Batch) -> Tensor:
    """Return the memory (B,) in bytes that each row of a batch needs."""
    return model._bytes_per_row(batch.offsets.diff())


def _frequency(transposed: TransposedBatch, weight: Tensor | None, n_rows: int, dtype: torch.dtype) -> Tensor:
    """Return the fraction (U,) of ``n_rows``, the rows of a batch being weighted (B,), that have each feature."""
    rows, _, offsets = transposed
    if weight is None:
        return offsets.diff().to(dtype) / n_rows
    total = embedding_bag(rows, weight.unsqueeze(1), offsets, mode="sum", include_last_offset=True)  # (U, 1)
    return total.squeeze(1) / n_rows


@torch.no_grad()
def _add_penalties(
    gradients: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    objective: Objective,
    features: Mapping[str, Tensor],
    frequency: Tensor,
) -> Tensor:
    """Add the gradients of the penalties to those of the loss, and return the penalties (a scalar).

    ``features`` has for each per-feature parameter the features (U,) of its rows, whose fraction is ``frequency`` (U,).
    """
    total = frequency.new_zeros(())
    for name, penalty in objective.penalties.items():
        parameter = parameters[name].unsqueeze(-1).flatten(1)  # (rows, numbers of a row)
        gradient = gradients[name].unsqueeze(-1).flatten(1)
        norms = torch.linalg.vector_norm(parameter, dim=1).square_()  # (rows,)
        if name in features:
            strength = frequency * (penalty[features[name]] if isinstance(penalty, Tensor) else penalty)  # (U,)
            total += strength @ norms
            gradient.addcmul_(strength.unsqueeze(1), parameter, value=2)
        else:
            total += penalty * norms.sum()
            gradient.add_(penalty * parameter, alpha=2)
    return total


@torch.no_grad()
def catalog_losses(model: Model, dataset: Dataset, loss: Loss, batch_size: int, *, constant: bool) -> Tensor:
    """Return the loss (n_samples,) of each row's scores with the items of a catalog; ``constant`` ones are all 0."""
    model.train(False)
    losses, n_items = [], int(dataset.options["n_items"])
    for rows in torch.split(torch.arange(len(dataset.rows), device=dataset.rows.device), batch_size):
        zeros = torch.zeros((len(rows), n_items), dtype=dataset.rows.dtype, device=rows.device)
        scores = zeros if constant else model(*dataset.take(rows), **dataset.options)  # (B, M)
        losses.append(loss(dataset.hide_known(scores, rows), dataset.target[rows]))
    return torch.cat(losses)


@torch.no_grad()
def predict(model: Model, rows: CSRRows, batch_size: int, memory: int) -> Tensor:
    """Return the raw score, (n_samples,) or (n_samples, C), of each row, without dropout.

    A batch has at most ``batch_size`` rows, and fewer if more would need more than ``memory`` bytes.
    """
    model.train(False)
    raw = []
    # Of rows of one length it is known at once whether all batches are small enough.
    small = rows.row_length is not None and batch_size * float(model._bytes_per_row(rows.indptr[:2].diff())) <= memory
    for start in range(0, len(rows), batch_size):
        batch = rows.slice(start, min(start + batch_size, len(rows)))
        parts = [batch] if small else [part for _, part in split_batch(batch, _bytes_of(model, batch), memory)]
        raw += [model(*part) for part in parts]
    return torch.cat(raw)
