"""A training in progress: model, optimizer, random generator, and what the estimators ask of it. No model is known."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skafm._training.batching import Dataset
from skafm._training.collectives import SINGLE_PROCESS, ProcessGroup
from skafm._training.conversion import tensors_like
from skafm._training.errors import DivergenceError
from skafm._training.loop import BatchConfig, Objective, predict, train
from skafm._training.losses import LOSSES
from skafm._training.optimizers import SOLVERS
from skafm.nn._base import Model


class Trainer:
    """A model and its training.

    Parameters
    ----------
    model : Model
        Trained in place: its parameters that require a gradient.
    generator : torch.Generator
        Draws the order of the rows, and the model's dropout.
    loss : {"squared_error", "log_loss"}
    penalties : dict of str to float
        L2, by name of the parameter.
    solver : {"adagrad", "adam", "sgd"}
    learning_rate : float
    config : BatchConfig
    group : ProcessGroup
        The processes that train the same model.

    Raises
    ------
    ValueError
        If the model cannot be trained by several processes, and the group has several.
    """

    def __init__(
        self,
        model: Model,
        generator: torch.Generator,
        loss: str,
        penalties: Mapping[str, float],
        solver: str,
        learning_rate: float,
        config: BatchConfig,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.model, self.generator, self.config, self.group = model, generator, config, group
        if model._needs_sample_weight and group is not SINGLE_PROCESS:
            raise ValueError(
                f"{type(model).__name__} has batch normalization, which needs each batch as a whole: fit it in one "
                "process."
            )
        group.broadcast(dict(model.named_parameters()))
        trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = SOLVERS[solver](trained, learning_rate)
        penalties = {name: penalty for name, penalty in penalties.items() if penalty > 0 and name in trained}
        self.objective = Objective(LOSSES[loss], penalties)

    def epochs(self, dataset: Dataset) -> Iterator[float]:
        """Train one epoch for each item that the caller takes, and yield its loss."""
        return train(self.model, dataset, self.objective, self.optimizer, self.config, self.generator)

    def evaluate(self, dataset: Dataset, constant: ArrayLike | None = None) -> float:
        """Return the weighted mean loss of a data set, without penalties; or that of a constant raw score."""
        rows = dataset.rows
        if constant is None:
            raw = predict(self.model, rows, self.model._predict_batch_size, self.config.memory)
        else:
            one = torch.as_tensor(constant, dtype=rows.dtype, device=rows.device)
            raw = one.expand(len(rows), *one.shape)  # (n_samples,) or (n_samples, C)
        losses = self.objective.loss(raw, dataset.target).double()
        weight = torch.ones_like(losses) if dataset.weight is None else dataset.weight.double()
        total = self.group.all_reduce_sum
        loss = float(total(float(weight @ losses)) / total(float(weight.sum())))
        if not math.isfinite(loss):
            raise DivergenceError(f"The validation loss became {loss}")
        return loss

    def rescaled_parameters(self, shift: ArrayLike, scale: ArrayLike) -> dict[str, NDArray[Any]]:
        """Return copies of the parameters that make the raw score ``shift + scale * raw``."""
        own = {p.data_ptr() for p in self.model.parameters()}
        rescaled = self.model._rescaled_parameters(*tensors_like(self.model, shift, scale))
        for name, p in rescaled.items():
            if not bool(p.isfinite().all()):
                raise ValueError(
                    f"In the units of y, {name} does not fit {p.dtype}: lower learning_rate (now "
                    f"{self.optimizer.learning_rate}), pass X in float64, or y in other units."
                )
        return {
            name: (p.detach().clone() if p.data_ptr() in own else p.detach()).numpy(force=True)
            for name, p in rescaled.items()
        }

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of the parameters, for ``restore``."""
        return {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Set the parameters to those of a snapshot."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(snapshot[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the states of optimizer and generator as plain values and arrays; the parameters are not in it."""
        states = self.optimizer.states.items()
        return {
            "solver": type(self.optimizer).__name__,
            "n_steps": self.optimizer.n_steps,
            "states": {name: [state.numpy(force=True) for state in each] for name, each in states},
            "device": self.generator.device.type,
            "generator": self.generator.get_state().numpy(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume: another solver starts anew, and so does the generator on another type of device."""
        if state_dict["solver"] == type(self.optimizer).__name__:
            self.optimizer.n_steps = state_dict["n_steps"]
            for name in state_dict["states"].keys() & self.optimizer.states.keys():
                for own, state in zip(self.optimizer.states[name], state_dict["states"][name], strict=True):
                    own.copy_(torch.from_numpy(state))
        if state_dict["device"] == self.generator.device.type:
            self.generator.set_state(torch.from_numpy(state_dict["generator"]))
