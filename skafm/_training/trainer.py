"""A training in progress: model, optimizer, random generator, and what the estimators ask of it. No model is known."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skafm._training.batching import CSRRows, Dataset, as_read_only_tensor
from skafm._training.collectives import SINGLE_PROCESS, ProcessGroup
from skafm._training.conversion import intercept_of, tensors_like
from skafm._training.errors import DivergenceError
from skafm._training.importance import feature_importances
from skafm._training.loop import BatchConfig, catalog_losses, mean_products, predict, train
from skafm._training.losses import Loss, Objective
from skafm._training.optimizers import SOLVERS
from skafm._training.threads import limit_threads
from skafm._training.uncertainty import few_rows, mean_and_error
from skafm.nn._base import Model

_COARSE = 1e-3
"""By this share of the spread of y predictions may be rounded."""


class Trainer:
    """A model and its training.

    Parameters
    ----------
    model : Model
        Trained in place: its parameters that require a gradient.
    generator : torch.Generator
        Draws the order of the rows, and the model's dropout.
    loss : callable
        Takes raw scores (B,) or (B, C) and targets, and returns the loss of each row (B,).
    penalties : dict of str to float or Tensor of shape (n_features,)
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
        loss: Loss,
        penalties: Mapping[str, float | Tensor],
        solver: str,
        learning_rate: float,
        config: BatchConfig,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.model, self.generator, self.config, self.group = model, generator, config, group
        if model._needs_whole_batch and group is not SINGLE_PROCESS:
            raise ValueError(
                f"{type(model).__name__} has batch normalization, which needs each batch as a whole: fit it in one "
                "process."
            )
        parameters = dict(model.named_parameters())
        group.broadcast(parameters)
        trained = {name: p.detach() for name, p in parameters.items() if p.requires_grad}
        self.optimizer = SOLVERS[solver](trained, learning_rate)
        used = {n: each for n, each in penalties.items() if n in trained and (isinstance(each, Tensor) or each > 0)}
        self.objective = Objective(loss, used)

    def epochs(self, dataset: Dataset) -> Iterator[float]:
        """Train one epoch for each item that the caller takes, and yield its loss."""
        return train(self.model, dataset, self.objective, self.optimizer, self.config, self.generator)

    @torch.no_grad()
    def halve_linear(self, dataset: Dataset) -> None:
        """Halve w, and with w0 keep the weighted mean of the linear part on a data set."""
        linear: Any = self.model.linear
        raw = linear(*dataset.rows.slice(0, len(dataset.rows))) - linear.intercept  # (n_samples,) or (n_samples, C)
        linear.weight.mul_(0.5)
        linear.intercept.add_(0.5 * self._mean(raw, dataset))

    def train_once(self, dataset: Dataset) -> None:
        """Train one epoch on rows that are few beside those of ``epochs``: their gradients are not made larger."""
        config = self.config._replace(rows_per_step=self.config.batch_size)
        next(train(self.model, dataset, self.objective, self.optimizer, config, self.generator))

    def evaluate(self, dataset: Dataset, constant: ArrayLike | None = None) -> float:
        """Return the weighted mean loss of a data set, without penalties; or that of a constant raw score."""
        loss = self.mean(dataset, self.objective.loss, constant)
        if not math.isfinite(loss):
            raise DivergenceError(f"The validation loss became {loss}")
        return loss

    def mean(self, dataset: Dataset, value: Loss, constant: ArrayLike | None = None) -> float:
        """Return the weighted mean of a value of the raw scores and targets of rows (B,), such as a loss."""
        return mean_and_error(self._values(dataset, value, constant), dataset.weight, dataset.group)[0]

    @torch.no_grad()
    def _values(self, dataset: Dataset, value: Loss, constant: ArrayLike | None = None) -> Tensor:
        """Return the value (n_samples,) of each row."""
        rows = dataset.rows
        if dataset.catalog is not None:
            return catalog_losses(self.model, dataset, value, self.config.batch_size, constant=constant is not None)
        if constant is None:
            return value(self._predict(rows), dataset.target)
        one = torch.as_tensor(constant, dtype=rows.dtype, device=rows.device)
        return value(one.expand(len(rows), *one.shape), dataset.target)  # raw scores (n_samples,) or (n_samples, C)

    def required_gain(self, validation: Dataset | None) -> Callable[[], float] | None:
        """Return a function that gives how much lower than now the validation loss has to be, not to be so by chance.

        It is one standard error of the difference of the rows' losses, and two if the rows are few: the best of many
        epochs is then the luckiest one. Returns None if there is no validation set.
        """
        if validation is None:
            return None

        losses = partial(self._values, validation, self.objective.loss)  # (n_samples,)
        before, n_errors = losses(), 2 if few_rows(validation) else 1
        return lambda: n_errors * mean_and_error(losses() - before, validation.weight, self.group)[1]

    def _predict(self, rows: CSRRows) -> Tensor:
        """Return the raw score, (n_samples,) or (n_samples, C), of each row."""
        batch_size = self.model._predict_batch_size
        with limit_threads(mean_products(self.model, rows) * min(batch_size, len(rows))):
            return predict(self.model, rows, batch_size, self.config.memory)

    def center_residuals(self, dataset: Dataset, share: float) -> None:
        """Add to w0 a share of the weighted mean residual, target minus raw score, of a data set."""
        raw = predict(self.model, dataset.rows, self.model._predict_batch_size, self.config.memory)
        _, intercept = intercept_of(self.model)
        with torch.no_grad():
            intercept += share * self._mean(dataset.target - raw, dataset)

    def _mean(self, values: Tensor, dataset: Dataset) -> Tensor:
        """Return the weighted mean, () or (C,), over the rows of all ranks of values (n_samples,) or (n_samples, C)."""
        weight = torch.ones(len(values), device=values.device) if dataset.weight is None else dataset.weight
        total = self.group.all_reduce_sum
        mean = total((weight.double() @ values.double()).numpy(force=True)) / total(float(weight.double().sum()))
        return tensors_like(self.model, mean)[0]

    def feature_importances(self, dataset: Dataset, scale: ArrayLike) -> NDArray[np.float64]:
        """Return the importances (n_features,) of the features of a data set, in units of ``scale``."""
        memory = self.config.memory // 16  # micro-batches that fit caches take no longer
        with limit_threads(0):
            return feature_importances(self.model, dataset, scale, self.generator, memory)

    def rescaled_parameters(
        self, shift: ArrayLike, scale: ArrayLike, *, in_place: bool = False
    ) -> dict[str, NDArray[Any]]:
        """Return the parameters that make the raw score ``shift + scale * raw``, as copies or in the model's memory.

        w0 is float64 if the precision of the model is too low for it, next to ``scale``.
        """
        name, w0 = intercept_of(self.model)
        intercept = np.add(shift, np.multiply(scale, w0.detach().double().numpy(force=True)))
        numbers = tensors_like(self.model, shift, scale)
        if in_place:
            self.model._rescale_(*numbers)
            rescaled = {each: p.detach() for each, p in self.model.named_parameters()}
        else:
            own = {p.data_ptr() for p in self.model.parameters()}
            rescaled = self.model._rescaled_parameters(*numbers)
            rescaled = {each: p.detach().clone() if p.data_ptr() in own else p for each, p in rescaled.items()}
        for each, p in rescaled.items():
            if p.numel() and not bool(torch.stack(p.aminmax()).isfinite().all()):  # isfinite alone makes copies
                raise ValueError(
                    f"In the units of y, {each} does not fit {p.dtype}: lower learning_rate (now "
                    f"{self.optimizer.learning_rate}), pass X in float64, or y in other units."
                )
        arrays = {each: p.numpy(force=True) for each, p in rescaled.items()}
        if np.any(np.spacing(np.abs(arrays[name])) > _COARSE * np.asarray(scale)):
            arrays[name] = intercept
        return arrays

    def snapshot(self, into: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return a copy of the parameters, for ``restore``; if ``into`` is an earlier one, in its memory."""
        if into is None:
            return {name: p.detach().clone() for name, p in self.model.named_parameters()}
        for name, parameter in self.model.named_parameters():
            into[name].copy_(parameter.detach())
        return into

    def lower_learning_rate(self, snapshot: Mapping[str, Tensor] | None) -> None:
        """Continue with a tenth of the learning rate, from the parameters of a snapshot if there is one."""
        self.optimizer.learning_rate /= 10
        if snapshot is not None:
            self.restore(snapshot)

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Set the parameters to those of a snapshot."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(snapshot[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the states of optimizer and generator as plain values and arrays; the parameters are not in it."""
        states = self.optimizer.states.items()
        return self._describe({name: [state.numpy(force=True) for state in each] for name, each in states})

    def update_state_dict(
        self, state_dict: Mapping[str, Any], features: NDArray[Any], n_features: int
    ) -> dict[str, Any]:
        """Return the states if this model has only some features (U,) of ``n_features``; the others' are kept.

        The arrays of ``state_dict`` are changed in place if they have one number for each of a parameter's.
        """
        resume, states = state_dict.get("solver") == type(self.optimizer).__name__, {}
        initial = self.optimizer.all_initial_states()
        for name, own in self.optimizer.states.items():
            states[name] = [state.numpy(force=True) for state in own]
            if name in self.model._per_feature:
                tables = state_dict["states"].get(name, initial) if resume else initial
                states[name] = [
                    _put_rows(table, rows, features, n_features)
                    for table, rows in zip(tables, states[name], strict=True)
                ]
        return self._describe(states)

    def _describe(self, states: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "solver": type(self.optimizer).__name__,
            "rows_per_step": self.config.rows_per_step,
            "states": states,
            "device": self.generator.device.type,
            "generator": self.generator.get_state().numpy(),
        }

    def release_optimizer(self) -> dict[str, Any]:
        """Free the memory of the optimizer's states, and return what ``compact_state_dict`` keeps of them."""
        compact = self.compact_state_dict()
        self.optimizer.states = {}
        return compact

    def compact_state_dict(self) -> dict[str, Any]:
        """Return the states that another training needs to resume with steps of the same size.

        Of a table there is one number for each feature, the mean of its state; there is no momentum and no generator.
        """

        def compact(name: str, number: int, state: Tensor) -> NDArray[Any]:
            if number in self.optimizer.momentum_states:
                state = state.new_zeros(())
            elif name in self.model._per_feature and state.ndim > 1:
                state = state.flatten(1).mean(1).view(-1, *[1] * (state.ndim - 1))  # (n_features, 1, ...)
            return state.numpy(force=True)

        states = self.optimizer.states.items()
        return {
            "solver": type(self.optimizer).__name__,
            "rows_per_step": self.config.batch_size,
            "states": {name: [compact(name, i, state) for i, state in enumerate(each)] for name, each in states},
        }

    def load_state_dict(self, state_dict: Mapping[str, Any], features: NDArray[Any] | None = None) -> None:
        """Resume: another solver starts anew, and so does the generator on another type of device.

        If this model has only some of the features that the states are of, ``features`` (U,) are their numbers.
        """
        if state_dict["solver"] == type(self.optimizer).__name__:
            for name in state_dict["states"].keys() & self.optimizer.states.keys():
                table = name in self.model._per_feature
                for own, state in zip(self.optimizer.states[name], state_dict["states"][name], strict=True):
                    if table and np.ndim(state):
                        state = state[: len(own)] if features is None else state[features]  # noqa: PLW2901
                    own.copy_(as_read_only_tensor(state, torch.device("cpu")))
        if state_dict.get("device") == self.generator.device.type:
            self.generator.set_state(torch.tensor(state_dict["generator"]))


def _put_rows(table: ArrayLike, rows: NDArray[Any], features: NDArray[Any], n_features: int) -> NDArray[Any]:
    """Set the rows (U, ...) of some features in a table; one that is compact or in read-only memory is copied."""
    shape, table = (n_features, *rows.shape[1:]), np.asarray(table, dtype=rows.dtype)
    if table.shape != shape or not table.flags.writeable:
        table = np.broadcast_to(table, shape).copy()
    table[features] = rows
    return table
