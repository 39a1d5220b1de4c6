"""Optimizers that update only the rows with a gradient.

A parameter is updated as a whole, or, given ``rows``, only in those of its rows: the gradient and all intermediate
results then have the size of the batch, not of the table.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor


class Optimizer(ABC):
    """State and update of named parameters, in place.

    Parameters
    ----------
    parameters : dict of str to Tensor
    learning_rate : float
    """

    initial_states: ClassVar[tuple[float, ...]] = ()
    """Initial value of each state tensor of a parameter."""
    n_row_states: ClassVar[int] = 0
    """Number of further states with one number for each row of a parameter, (rows, 1, ...), initially 0."""
    momentum_states: ClassVar[tuple[int, ...]] = ()
    """Which of all states belong to a mean of gradients, from which another training does not resume."""

    @classmethod
    def all_initial_states(cls) -> tuple[float, ...]:
        """Return the initial value of each state."""
        return (*cls.initial_states, *[0.0] * cls.n_row_states)

    def __init__(self, parameters: Mapping[str, Tensor], learning_rate: float) -> None:
        self.parameters, self.learning_rate = parameters, learning_rate
        self.states = {name: self._initialize(parameter) for name, parameter in parameters.items()}

    def _initialize(self, parameter: Tensor) -> list[Tensor]:
        states = [torch.full_like(parameter, value) for value in self.initial_states]
        shape = parameter.shape[:1] + (1,) * (parameter.ndim - 1)
        return states + [parameter.new_zeros(shape) for _ in range(self.n_row_states)]

    @torch.no_grad()
    def step(self, values: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rows: Mapping[str, Tensor]) -> None:
        """Update the parameters.

        Parameters
        ----------
        values : dict of str to Tensor
            The parameters; of those in ``rows`` a copy of these rows. Updated too.
        gradients : dict of str to Tensor
            Of ``values``. Overwritten.
        rows : dict of str to Tensor
            For some parameters, the distinct rows that have a gradient.
        """
        for name, value in values.items():
            if name not in rows:
                value.sub_(self._direction(gradients[name], *self.states[name]), alpha=self.learning_rate)
                continue
            index = rows[name]
            states = [state.index_select(0, index) for state in self.states[name]]
            value.sub_(self._direction(gradients[name], *states), alpha=self.learning_rate)
            for table, part in zip((self.parameters[name], *self.states[name]), (value, *states), strict=True):
                table.index_copy_(0, index, part)

    @abstractmethod
    def _direction(self, gradient: Tensor, *states: Tensor) -> Tensor:
        """Update the states in place and return the step to subtract, before the learning rate; may reuse gradient."""


class SGD(Optimizer):
    """Plain stochastic gradient descent, as in libFM."""

    def _direction(self, gradient: Tensor, *states: Tensor) -> Tensor:  # noqa: ARG002 it has none
        return gradient


class Adagrad(Optimizer):
    """Adagrad (Duchi et al., 2011), with the initial accumulator of the AFM authors."""

    initial_states = (1e-8,)

    def _direction(self, gradient: Tensor, *states: Tensor) -> Tensor:
        (accumulator,) = states
        accumulator.addcmul_(gradient, gradient)
        return accumulator.rsqrt().mul_(gradient)


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015); a row's moments decay only in steps that touch it, as in torch's ``SparseAdam``.

    Unlike there, their bias is corrected by the steps that touched the row: by the number of all steps, a row that is
    first touched late would move by 3.16 learning rates.
    """

    initial_states = (0.0, 0.0)
    n_row_states = 2
    momentum_states = (0, 2)

    def _direction(self, gradient: Tensor, *states: Tensor) -> Tensor:
        mean, square, mean_weight, square_weight = states  # the weights are 1 - 0.9^steps and 1 - 0.999^steps
        mean.lerp_(gradient, 0.1)
        square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        mean_weight.mul_(0.9).add_(0.1)
        square_weight.mul_(0.999).add_(0.001)
        scale = square_weight.sqrt()
        root = torch.sqrt(square, out=gradient).add_(scale, alpha=1e-8)
        return torch.div(mean, root, out=root).mul_(scale.div_(mean_weight))


SOLVERS: dict[str, type[Optimizer]] = {"adagrad": Adagrad, "adam": Adam, "sgd": SGD}
