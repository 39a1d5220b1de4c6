"""What the processes of one training tell each other. A process alone has nobody to tell, which is the default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Step(NamedTuple):
    """What a batch asks of the optimizer."""

    loss: Tensor
    """Mean objective of the batch's rows (a scalar)."""
    values: dict[str, Tensor]
    """The parameters, of the tables among them a copy of the rows ``features``."""
    gradients: dict[str, Tensor]
    """Of ``values``."""
    features: Tensor
    """(U,) The distinct features of the batch, ascending."""
    tables: Sequence[str]
    """Names of the parameters with one row for each feature."""


class Exchange(ABC):
    """The processes, called ranks, of which each has rows of its own; all make the same calls in the same order."""

    rank: int
    """Number of this process, from 0."""

    @abstractmethod
    def gather(self, value: Any) -> list[Any]:
        """Return the value that each rank gives, in the order of the ranks."""

    @abstractmethod
    def spread(self, parameters: Mapping[str, Tensor]) -> None:
        """Set the parameters to what they are on rank 0."""

    @abstractmethod
    def combine(self, step: Step, share: float, parameters: Mapping[str, Tensor]) -> Step:
        """Return the step of all the ranks' rows of a batch.

        Parameters
        ----------
        step : Step
            Of this rank's rows.
        share : float
            Of the batch's rows, those that this rank has.
        parameters : dict of str to Tensor
            All that are trained, the tables whole.
        """

    def total(self, value: Any) -> Any:
        """Return the sum of the values that the ranks give."""
        first, *others = self.gather(value)
        return sum(others, start=first)


class Alone(Exchange):
    """A process that has all rows."""

    rank = 0

    def gather(self, value: Any) -> list[Any]:
        """Return the value."""
        return [value]

    def spread(self, parameters: Mapping[str, Tensor]) -> None:
        """Leave them."""

    def combine(self, step: Step, share: float, parameters: Mapping[str, Tensor]) -> Step:  # noqa: ARG002 all are here
        """Return the step."""
        return step


ALONE = Alone()
CURRENT: ContextVar[Exchange] = ContextVar("exchange", default=ALONE)
"""The exchange of the fits that begin now."""


def agree(settings: Mapping[str, Any]) -> None:
    """Raise an error on every rank if the ranks do not have the same settings."""
    first, *others = CURRENT.get().gather(settings)
    for rank, other in enumerate(others, start=1):
        for name in sorted(first.keys() | other.keys()):
            here, there = (each.get(name, "absent") for each in (first, other))
            if here != there:
                raise ValueError(
                    f"All ranks must fit the same model on the same columns, but {name} is {here!s:.200} on rank 0 "
                    f"and {there!s:.200} on rank {rank}."
                )
