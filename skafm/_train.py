"""The only training loop and the only prediction loop. They are given a module and know no model."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import embedding_bag

from skafm._batch import Columns, Rows, localize, split
from skafm._exchange import ALONE, Exchange, Step
from skafm._optim import Optimizer


class Module(Protocol):
    """What the loops ask of a model, a torch module otherwise."""

    per_feature: Sequence[str]
    """Names of the parameters with one row for each feature."""
    weighs: bool
    """Whether, to train, it wants the weights of the rows as ``weight``."""
    rows_at_once: int
    """The most rows to predict at once."""

    def __call__(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, columns: Columns | None = None, **weight: Tensor
    ) -> Tensor:
        """Return the raw score (B,) of each row of a batch; no values are values of 1."""

    def memory(self, lengths: Tensor) -> Tensor:
        """Return the bytes (B,) that a row of so many entries takes while it is worked, above the model's own."""

    def rescaled(self, shift: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """Return the parameters that make the raw score ``shift + scale * raw``, either a number or one an output."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters with their names."""

    def train(self, mode: bool = True) -> object:
        """Switch dropout on or off."""


class Examples(NamedTuple):
    """What to learn from, all on one device."""

    rows: Rows
    target: Tensor
    """(n_samples,)"""
    weight: Tensor | None
    """(n_samples,) Of mean 1; None where all are alike."""


class Objective(NamedTuple):
    """Loss and L2 penalties: what training makes small.

    The mean over the rows s of ``weight_s * (loss_s + sum_{i in s} penalty * ||parameter_i||^2)``, summed over the
    per-feature parameters, plus ``penalty * ||parameter||^2`` for each other one. A feature is so penalised once for
    each row that has it, as in libFM, and a batch needs its own features alone.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    """Pointwise loss of raw score (B,) and target (B,): (B,)."""
    penalties: Mapping[str, float]
    """By name of the parameter, those above zero."""


class Plan(NamedTuple):
    """How to go through the examples."""

    batch_size: int
    """The most rows in a batch, those of all ranks; the batches of an epoch differ by one row at most."""
    shuffle: bool
    """Whether each epoch takes the rows in a new order."""
    memory: int
    """Bytes: a batch that would take more is worked in pieces, whose gradients add up to the same step."""


def train(
    module: Module,
    examples: Examples,
    objective: Objective,
    optimizer: Optimizer,
    plan: Plan,
    generator: torch.Generator,
    exchange: Exchange = ALONE,
) -> Iterator[float]:
    """Train epoch after epoch, for as long as the caller asks for one more.

    Parameters
    ----------
    module : Module
        Trained in place: its parameters that require a gradient.
    examples : Examples
    objective : Objective
    optimizer : Optimizer
        Of these parameters of ``module``.
    plan : Plan
    generator : torch.Generator
        Source of the order of the rows, on the device of the examples.
    exchange : Exchange
        With the other processes that train this model on rows of theirs.

    Yields
    ------
    loss : float
        Mean objective over the batches of an epoch.

    Raises
    ------
    ValueError
        If the loss or a parameter is no longer finite.
    """
    worst = plan.batch_size * float(module.memory(examples.rows.indptr.diff()).max())
    memory = plan.memory if worst > plan.memory else None
    batches = _deal(exchange.gather(len(examples.rows)), exchange.rank, plan.batch_size)
    for epoch in count(1):
        module.train()
        order = _order(examples, plan, generator)
        loss = _epoch(module, examples, objective, optimizer, order, batches, memory, exchange)
        if not (math.isfinite(loss) and _is_finite(module, optimizer)):
            what = "A gradient" if math.isfinite(loss) else "The loss"
            became = "too large" if math.isfinite(loss) else str(loss)
            rate = optimizer.learning_rate
            raise ValueError(
                f"{what} became {became} in epoch {epoch}: lower learning_rate (now {rate}) or scale X, e.g. with "
                "MaxAbsScaler."
            )
        yield loss


def _deal(counts: Sequence[int], rank: int, batch_size: int) -> list[tuple[int, int]]:
    """Deal the ranks' rows to the batches like cards, and return how many of a rank, and of all, each batch has."""
    n, before = sum(counts), sum(counts[:rank])
    steps = -(-n // batch_size)

    def dealt(start: int, stop: int, batch: int) -> int:
        return (batch - start) // steps - (batch - stop) // steps

    return [(dealt(before, before + counts[rank], batch), dealt(0, n, batch)) for batch in range(steps)]


def _order(examples: Examples, plan: Plan, generator: torch.Generator) -> Tensor:
    """Return the order (n_samples,) in which an epoch takes the rows."""
    n, device = len(examples.rows), examples.target.device
    return torch.randperm(n, generator=generator, device=device) if plan.shuffle else torch.arange(n, device=device)


def _is_finite(module: Module, optimizer: Optimizer) -> bool:
    """Return whether parameters and the optimizer's states are: Adagrad does not move what has an infinite one."""
    learnt = [p.detach() for _, p in module.named_parameters() if p.is_floating_point()]
    learnt += [state for states in optimizer.states.values() for state in states]
    extremes = torch.stack([torch.stack(p.aminmax()) for p in learnt])  # nan, if any
    return bool(extremes.isfinite().all())


def _epoch(
    module: Module,
    examples: Examples,
    objective: Objective,
    optimizer: Optimizer,
    order: Tensor,
    batches: Sequence[tuple[int, int]],
    memory: int | None,
    exchange: Exchange,
) -> float:
    """Take a step on each batch and return the mean objective."""
    total, n = torch.zeros((), device=order.device, dtype=torch.float64), 0
    parts = torch.split(order, [mine for mine, _ in batches])
    for chosen, (mine, everyones) in zip(parts, batches, strict=True):
        step = _step(module, examples, chosen, objective, memory)
        step = exchange.combine(step, mine / everyones, optimizer.parameters)
        optimizer.step(step.values, step.gradients, dict.fromkeys(step.tables, step.features))
        total += everyones * step.loss
        n += everyones
    return float(total) / n


def _step(module: Module, examples: Examples, chosen: Tensor, objective: Objective, memory: int | None) -> Step:
    """Return the step that the chosen rows (B,) ask for, worked in pieces if need be."""
    target = examples.target.index_select(0, chosen)  # (B,)
    weight = None if examples.weight is None else examples.weight.index_select(0, chosen)  # (B,)
    # The model sees the batch's own U features alone, so that nothing in a step has the size of the table.
    features, batch, columns = localize(examples.rows.take(chosen), examples.rows.n_features)  # (U,)
    parameters, trained = {}, {}
    for name, parameter in module.named_parameters():
        value = parameter.detach()
        parameters[name] = value.index_select(0, features) if name in module.per_feature else value
        if parameter.requires_grad:
            trained[name] = parameters[name].requires_grad_()
    n_rows = max(len(chosen), 1)  # none ask for nothing
    total = target.new_zeros(())
    gradients: list[Tensor] = []
    whole = [(slice(None), batch)]
    for rows, piece in whole if memory is None else split(batch, module.memory(batch.offsets.diff()), memory):
        given = columns if piece is batch else None
        options = {} if weight is None or not module.weighs else {"weight": weight[rows]}
        raw = cast(Tensor, functional_call(cast(nn.Module, module), parameters, (*piece, given), options))
        each = objective.loss(raw, target[rows])
        loss = (each.sum() if weight is None else weight[rows] @ each) / n_rows
        total += loss.detach()
        parts = torch.autograd.grad(loss, list(trained.values()))
        del raw, each, loss  # and what their graph holds, before the next piece
        gradients = [a + b for a, b in zip(gradients, parts, strict=True)] if gradients else list(parts)
    named = dict(zip(trained, gradients, strict=True))
    if objective.penalties:
        share = _share(columns, n_rows, target.dtype) if weight is None else _weighted_share(columns, weight)
        total += _penalize(named, trained, objective, module.per_feature, share)
    return Step(total, trained, named, features, [name for name in module.per_feature if name in trained])


def _share(columns: Columns, n_rows: int, dtype: torch.dtype) -> Tensor:
    """Return the share (U,) of the batch's rows that have each of its features."""
    return columns[2].diff().to(dtype) / n_rows


def _weighted_share(columns: Columns, weight: Tensor) -> Tensor:
    """Return the same with rows that count as their weight (B,)."""
    rows, _, starts = columns
    total = embedding_bag(rows, weight.unsqueeze(1), starts, mode="sum", include_last_offset=True)  # (U, 1)
    return total.squeeze(1) / len(weight)


@torch.no_grad()
def _penalize(
    gradients: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    objective: Objective,
    per_feature: Sequence[str],
    share: Tensor,
) -> Tensor:
    """Add the gradients of the penalties to those of the loss, and return the penalties (a scalar)."""
    value = share.new_zeros(())
    for name, penalty in objective.penalties.items():
        parameter = parameters[name].unsqueeze(-1).flatten(1)  # (rows, numbers of a row)
        gradient = gradients[name].unsqueeze(-1).flatten(1)
        norms = torch.linalg.vector_norm(parameter, dim=1).square_()  # (rows,)
        if name in per_feature:
            value += penalty * (share @ norms)
            gradient.addcmul_(share.unsqueeze(1), parameter, value=2 * penalty)
        else:
            value += penalty * norms.sum()
            gradient.add_(parameter, alpha=2 * penalty)
    return value


@torch.no_grad()
def predict(module: Module, rows: Rows, batch_size: int, memory: int) -> Tensor:
    """Return the raw score (n_samples,) of each row, dropout off.

    Rows are worked at most ``batch_size`` at a time, and fewer where more would take more than ``memory`` bytes.
    """
    module.train(False)
    raw = []
    for start in range(0, len(rows), batch_size):
        batch = rows.slice(start, min(start + batch_size, len(rows)))
        raw += [module(*piece) for _, piece in split(batch, module.memory(batch.offsets.diff()), memory)]
    return torch.cat(raw)
