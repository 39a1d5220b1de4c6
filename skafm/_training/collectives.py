"""Collective operations of the processes that train one model; a single process is the default.

torch is not imported here at run time: validation communicates before the first tensor exists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Step(NamedTuple):
    """The gradients of one batch."""

    loss: Tensor
    """Mean objective of the batch's rows (a scalar)."""
    parameters: dict[str, Tensor]
    """The trained parameters; of ``tables`` a copy of the rows ``features``."""
    gradients: dict[str, Tensor]
    """Of ``parameters``."""
    features: Tensor
    """(U,) The distinct features of the batch, ascending."""
    tables: Sequence[str]
    """Names of the parameters with one row for each feature."""


class ProcessGroup(ABC):
    """The processes (ranks) that train one model, each with rows of its own; all make the same calls in one order."""

    rank: int
    """Number of this process, from 0."""

    @abstractmethod
    def all_gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in the order of the ranks."""

    @abstractmethod
    def broadcast(self, parameters: Mapping[str, Tensor]) -> None:
        """Copy the parameters of rank 0 to all ranks, in place."""

    @abstractmethod
    def all_reduce(self, step: Step, share: float, parameters: Mapping[str, Tensor]) -> Step:
        """Return the step of a batch's rows on all ranks.

        Parameters
        ----------
        step : Step
            Of this rank's rows.
        share : float
            The fraction of the batch's rows that this rank has.
        parameters : dict of str to Tensor
            All trained parameters, the tables in full.
        """

    def all_reduce_sum(self, value: Any) -> Any:
        """Return the sum of the values of all ranks."""
        first, *others = self.all_gather(value)
        return sum(others, start=first)


class SingleProcess(ProcessGroup):
    """A process that has all rows."""

    rank = 0

    def all_gather(self, value: Any) -> list[Any]:
        """Return the value in a list."""
        return [value]

    def broadcast(self, parameters: Mapping[str, Tensor]) -> None:
        """Do nothing."""

    def all_reduce(self, step: Step, share: float, parameters: Mapping[str, Tensor]) -> Step:  # noqa: ARG002
        """Return the step."""
        return step


SINGLE_PROCESS = SingleProcess()
_CURRENT: ContextVar[ProcessGroup] = ContextVar("process_group", default=SINGLE_PROCESS)
_ACTIVE: list[ProcessGroup] = []
"""The groups in use in any thread."""


def current_group() -> ProcessGroup:
    """Return the group of the fits that begin now in this thread.

    Raises
    ------
    RuntimeError
        If another thread uses a group: this one's fit would silently have one rank's rows, or disturb the order of the
        other's calls.
    """
    group = _CURRENT.get()
    if group is SINGLE_PROCESS and _ACTIVE:
        raise RuntimeError(
            "data_parallel is active in another thread: fit in the thread that entered it, one model after another, "
            "e.g. without Parallel(backend='threading')."
        )
    return group


@contextmanager
def use_group(group: ProcessGroup) -> Iterator[None]:
    """Make a group the current one."""
    token = _CURRENT.set(group)
    _ACTIVE.append(group)
    try:
        yield
    finally:
        _ACTIVE.remove(group)
        _CURRENT.reset(token)


def check_same_settings(group: ProcessGroup, settings: Mapping[str, Any]) -> None:
    """Raise a ValueError on every rank if the settings differ between ranks."""
    first, *others = group.all_gather(settings)
    for rank, other in enumerate(others, start=1):
        for name in sorted(first.keys() | other.keys()):
            here, there = (each.get(name, "absent") for each in (first, other))
            if here != there:
                raise ValueError(
                    f"All ranks must fit the same model on the same columns, but {name} is {here!s:.200} on rank 0 "
                    f"and {there!s:.200} on rank {rank}."
                )
