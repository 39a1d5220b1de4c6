"""A training under way, NumPy outside and torch inside: what the estimators ask for. No model is known here."""

import math
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skafm import _losses
from skafm._batch import Rows, as_tensor, split
from skafm._exchange import ALONE, CURRENT
from skafm._optim import SOLVERS
from skafm._train import Examples, Module, Objective, Plan, predict, train

__all__ = [
    "Plan",
    "Training",
    "fill",
    "find_device",
    "intercept_of",
    "lend",
    "load",
    "pairs_of",
    "raw_score",
    "seeded",
    "start",
]

LOSSES = {"squared_error": _losses.squared_error, "log_loss": _losses.log_loss}


class Training:
    """A module, its optimizer, its source of chance and the other processes that train it.

    Parameters
    ----------
    module : Module
        Trained in place: its parameters that require a gradient.
    generator : torch.Generator
        Source of the order of the rows, and the module's of dropout.
    loss : {"squared_error", "log_loss"}
    penalties : dict of str to float
        L2, by name of the parameter.
    solver : {"adagrad", "adam", "sgd"}
    learning_rate : float
    plan : Plan
    """

    def __init__(
        self,
        module: Module,
        generator: torch.Generator,
        loss: str,
        penalties: Mapping[str, float],
        solver: str,
        learning_rate: float,
        plan: Plan,
    ) -> None:
        self.module, self.generator, self.loss, self.plan = module, generator, LOSSES[loss], plan
        self.exchange = CURRENT.get()
        if module.weighs and self.exchange is not ALONE:
            raise ValueError("This model normalises each batch as a whole, and no rank has one: fit it in one process.")
        self.exchange.spread(dict(module.named_parameters()))
        trained = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
        self.optimizer = SOLVERS[solver](trained, learning_rate)
        penalties = {name: penalty for name, penalty in penalties.items() if penalty > 0 and name in trained}
        self.objective = Objective(self.loss, penalties)

    def epochs(self, examples: Examples) -> Iterator[float]:
        """Train epoch after epoch and yield each one's loss."""
        return train(self.module, examples, self.objective, self.optimizer, self.plan, self.generator, self.exchange)

    def evaluate(self, examples: Examples, constant: ArrayLike | None = None) -> float:
        """Return the mean loss of examples, penalties not counted; or that of a constant raw score."""
        if constant is None:
            raw = predict(self.module, examples.rows, self.module.rows_at_once, self.plan.memory)
        else:
            rows = examples.rows
            one = torch.as_tensor(constant, dtype=rows.dtype, device=rows.device)
            raw = one.expand(len(rows), *one.shape)  # (n_samples,) or (n_samples, C)
        losses = self.loss(raw, examples.target).double()
        weight = torch.ones_like(losses) if examples.weight is None else examples.weight.double()
        total = self.exchange.total
        loss = float(total(float(weight @ losses)) / total(float(weight.sum())))
        if not math.isfinite(loss):
            rate = self.optimizer.learning_rate
            what = f"The loss of the rows held back became {loss}"
            raise ValueError(f"{what}: lower learning_rate (now {rate}) or scale X, e.g. with MaxAbsScaler.")
        return loss

    def parameters(self, shift: ArrayLike, scale: ArrayLike) -> dict[str, NDArray[Any]]:
        """Return copies of the parameters that make the raw score ``shift + scale * raw``."""
        mine = {p.data_ptr() for _, p in self.module.named_parameters()}
        moved = self.module.rescaled(*_like(self.module, shift, scale))
        for name, p in moved.items():
            if not bool(p.isfinite().all()):
                raise ValueError(
                    f"In the units of y {name} does not fit {p.dtype}: lower learning_rate (now "
                    f"{self.optimizer.learning_rate}), give X in float64, or y in other units."
                )
        return {
            name: (p.detach().clone() if p.data_ptr() in mine else p.detach()).numpy(force=True)
            for name, p in moved.items()
        }

    def keep(self) -> dict[str, Tensor]:
        """Return a copy of the parameters, to ``bring_back`` later."""
        return {name: p.detach().clone() for name, p in self.module.named_parameters()}

    def bring_back(self, kept: Mapping[str, Tensor]) -> None:
        """Set the parameters as they were."""
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                parameter.copy_(kept[name])

    def pause(self) -> dict[str, Any]:
        """Return what a later training needs to go on as if there had been no pause, the parameters aside."""
        states = self.optimizer.states.items()
        return {
            "solver": type(self.optimizer).__name__,
            "n_steps": self.optimizer.n_steps,
            "states": {name: [state.numpy(force=True) for state in each] for name, each in states},
            "device": self.generator.device.type,
            "generator": self.generator.get_state().numpy(),
        }

    def go_on(self, paused: Mapping[str, Any]) -> None:
        """Go on from a pause; another solver starts anew, and so does chance on another kind of device."""
        if paused["solver"] == type(self.optimizer).__name__:
            self.optimizer.n_steps = paused["n_steps"]
            for name in paused["states"].keys() & self.optimizer.states.keys():
                for mine, state in zip(self.optimizer.states[name], paused["states"][name], strict=True):
                    mine.copy_(torch.from_numpy(state))
        if paused["device"] == self.generator.device.type:
            self.generator.set_state(torch.from_numpy(paused["generator"]))


def find_device(device: Any) -> torch.device:
    """Return the ``torch.device`` that the parameter names."""
    if not isinstance(device, str | torch.device):
        raise ValueError(f"device must be 'cpu', 'cuda', 'auto', another str or a torch.device, got {device!r}.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        if found.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device={device!r} asks for CUDA, but torch finds no CUDA device: use 'cpu' or 'auto'.")
        torch.Generator(found)  # fails where this torch, or this machine, cannot compute
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is not one: use 'cpu', 'cuda', 'cuda:1', ... or 'auto'.") from error
    return found


def seeded(seed: int, device: torch.device) -> torch.Generator:
    """Return a source of chance on the device."""
    return torch.Generator(device).manual_seed(seed)


def load(X: Any, target: NDArray[Any], weight: NDArray[Any], device: torch.device) -> Examples:
    """Put rows, targets and weights on the device; weights are brought to mean 1 over all ranks."""
    _keep_freed_memory()
    rows, exchange = Rows.from_scipy(X, device), CURRENT.get()
    lows, highs = zip(*exchange.gather((weight.min(), weight.max())), strict=True)
    mean = exchange.total(weight.sum()) / exchange.total(len(weight))
    tensor = partial(torch.tensor, dtype=rows.dtype, device=device)
    return Examples(rows, tensor(target), None if min(lows) == max(highs) else tensor(weight / mean))


@cache
def _keep_freed_memory() -> None:
    """Have the C library keep up to 64 MiB of what is freed, as whoever frees 32 MiB has it do.

    glibc gives back what is free at the heap's end once that is twice the largest block freed so far. Training, which
    frees its tensors after each step, then asks the kernel for the same pages in the next: 2,000 faults, 4 ms.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)  # of more than 32 MiB glibc learns nothing


def _like(module: Module, *numbers: ArrayLike) -> tuple[Tensor, ...]:
    """Return numbers as tensors like the module's."""
    like = intercept_of(module)
    return tuple(torch.as_tensor(np.asarray(number), dtype=like.dtype, device=like.device) for number in numbers)


def start(module: Module, intercept: ArrayLike) -> None:
    """Set the intercept that training starts from."""
    (value,) = _like(module, intercept)
    intercept_of(module).detach().copy_(value)


def intercept_of(module: Module) -> Tensor:
    """Return the parameter w0, which every model has under this name, alone or in its linear part."""
    return next(p for name, p in module.named_parameters() if name.rpartition(".")[2] == "intercept")


def fill(
    module: Any, parameters: Mapping[str, ArrayLike], shift: ArrayLike, scale: ArrayLike, device: torch.device
) -> None:
    """Set a module's parameters from arrays, changed so that the raw score becomes ``shift + scale * raw``."""
    dtypes = {name: parameter.dtype for name, parameter in module.named_parameters()}
    state = {name: torch.tensor(array, dtype=dtypes[name], device=device) for name, array in parameters.items()}
    module.load_state_dict(state, assign=True)
    module.load_state_dict(module.rescaled(*_like(module, shift, scale)), assign=True)


def lend(module: Any, parameters: Mapping[str, NDArray[Any]], device: torch.device) -> None:
    """Give a module built on the meta device its parameters, to read: on the CPU over the arrays' own memory."""
    module.load_state_dict({name: as_tensor(array, device) for name, array in parameters.items()}, assign=True)


def raw_score(module: Any, X: Any, device: torch.device, memory: int) -> Any:
    """Return the raw score of each row, (n_samples,) or (n_samples, C)."""
    _keep_freed_memory()
    return predict(module, Rows.from_scipy(X, device), module.rows_at_once, memory).numpy(force=True)


def pairs_of(module: Any, X: Any, device: torch.device, memory: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield the rows, features, attention and interaction of the pairs of a part of the rows after another."""
    batch = Rows.from_scipy(X, device).slice(0, X.shape[0])
    lengths = batch.offsets.diff().long()
    cost = 16 * module.factors.element_size() * (lengths * (lengths - 1) // 2 + 1)  # bytes of what is yielded, thrice
    for rows, part in split(batch, cost, memory // 4):
        first, *others = module.pair_terms(*part, chunk_elements=memory // 64)
        yield tuple(each.numpy(force=True) for each in (first + rows.start, *others))
