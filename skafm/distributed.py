"""Data-parallel training: many processes train one model, each on rows of its own, through ``torch.distributed``."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from skafm._training.collectives import ProcessGroup, Step, use_group

__all__ = ["data_parallel"]


@contextmanager
def data_parallel(group: dist.ProcessGroup | None = None) -> Iterator[None]:
    """Fit models on the rows of all ranks together: each rank passes its own part of ``X`` and ``y``.

    Every rank makes the same calls, ``fit`` or ``partial_fit`` of an estimator of skafm with the same parameters, and
    ends with the same fitted model: up to rounding that of one process with all rows and the same batches. A batch of
    ``batch_size`` rows has rows of all ranks. Outside of this context the ranks do not communicate. As in torch's
    ``DistributedDataParallel``, each rank has all parameters.

    Parameters
    ----------
    group : ProcessGroup, default=None
        As made by ``torch.distributed.init_process_group``, whose ``timeout`` is how long a rank waits for the others;
        by default all processes.

    Raises
    ------
    ValueError
        If the ranks' models or columns differ; if ``scoring`` is not ``"loss"``; if the model normalizes
        each batch as a whole (DeepCross, and DeepFM with ``batch_norm=True``).
    RuntimeError
        If there is no process group; if a rank ends, fails or does not answer in time. A model that was being fitted
        is then unchanged.

    Examples
    --------
    A script that ``torchrun --nproc-per-node 2 train.py`` starts, in which ``load_part`` is your own function:

    >>> import torch.distributed as dist
    >>> from skafm import FMRegressor
    >>> from skafm.distributed import data_parallel
    >>> def main():
    ...     dist.init_process_group("gloo")
    ...     X, y = load_part(dist.get_rank(), dist.get_world_size())
    ...     with data_parallel():
    ...         model = FMRegressor().fit(X, y)
    ...     dist.barrier()  # no rank exits while another still works
    ...     dist.destroy_process_group()
    ...     return model
    """
    if not (dist.is_available() and dist.is_initialized()):
        what = "data_parallel needs a process group: start the script with torchrun"
        raise RuntimeError(f"{what} and call torch.distributed.init_process_group('gloo') first.")
    ranks = _TorchProcessGroup(group)
    with use_group(ranks):
        try:
            yield
        except Exception as error:
            ranks.propagate_error(error)
            raise


class _RemoteError:
    """What a rank sends in place of a value if it fails before the first collective, as on malformed rows."""

    def __init__(self, error: Exception) -> None:
        self.text = f"{type(error).__name__}: {error}"


class _TorchProcessGroup(ProcessGroup):
    """The ranks of a process group of ``torch.distributed``."""

    def __init__(self, group: dist.ProcessGroup | None) -> None:
        self.group, self.rank, self.size = group, dist.get_rank(group), dist.get_world_size(group)
        self.source = 0 if group is None else dist.get_global_rank(group, 0)
        self.has_communicated = False

    def all_gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in the order of the ranks."""
        self.has_communicated = True
        values: list[Any] = [None] * self.size
        self._call(dist.all_gather_object, values, value)
        for rank, each in enumerate(values):
            if isinstance(each, _RemoteError) and rank != self.rank:
                raise RuntimeError(f"Rank {rank} of {self.size} failed: {each.text}")
        return values

    def all_reduce_sum(self, value: Any) -> Any:
        """Return the sum of the values of all ranks; float64 arrays are summed on the way, and not gathered."""
        if not (self.has_communicated and isinstance(value, np.ndarray) and value.dtype == np.float64):
            return super().all_reduce_sum(value)
        total = torch.tensor(value, device="cuda" if dist.get_backend(self.group) == "nccl" else "cpu")
        self._call(dist.all_reduce, total)
        return total.numpy(force=True)

    def propagate_error(self, error: Exception) -> None:
        """Send an error to the other ranks if they still wait for the first collective."""
        if not self.has_communicated:
            with suppress(RuntimeError):  # the first error is the one to raise
                self.all_gather(_RemoteError(error))

    def broadcast(self, parameters: Mapping[str, Tensor]) -> None:
        """Copy the parameters of rank 0 to all ranks, in place."""
        for parameter in parameters.values():
            self._call(dist.broadcast, parameter.detach(), self.source)

    @torch.no_grad()
    def all_reduce(self, step: Step, share: float, parameters: Mapping[str, Tensor]) -> Step:
        """Return the step of a batch's rows on all ranks: traffic grows with its distinct features, not the tables."""
        features = self._union(step.features) if step.tables else step.features
        index = torch.searchsorted(features, step.features)
        values, gradients = dict(step.parameters), {}
        for name, gradient in step.gradients.items():
            gradients[name] = gradient
            if name in step.tables:
                values[name] = parameters[name].index_select(0, features)
                gradients[name] = torch.zeros_like(values[name]).index_copy_(0, index, gradient)
        parts = [step.loss, *gradients.values()]
        flat = torch.cat([part.flatten() for part in parts]).mul_(share)
        self._call(dist.all_reduce, flat)
        pieces = torch.split(flat, [part.numel() for part in parts])
        loss, *summed = (piece.view_as(part) for piece, part in zip(pieces, parts, strict=True))
        return Step(loss, values, dict(zip(gradients, summed, strict=True)), features, step.tables)

    def _union(self, features: Tensor) -> Tensor:
        """Return the distinct features of all ranks, ascending."""
        counts = [features.new_empty(1) for _ in range(self.size)]
        self._call(dist.all_gather, counts, features.new_tensor([len(features)]))
        longest = int(torch.cat(counts).max())
        padded = [features.new_empty(longest) for _ in range(self.size)]
        own = torch.nn.functional.pad(features, (0, longest - len(features)))
        self._call(dist.all_gather, padded, own)
        found = [part[: int(count)] for part, count in zip(padded, counts, strict=True)]
        union: Tensor = torch.unique(torch.cat(found))
        return union

    def _call(self, collective: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Call a collective; explain a failure."""
        self.has_communicated = True
        try:
            collective(*arguments, group=self.group, **options)
        except RuntimeError as error:
            raise RuntimeError(
                f"Rank {self.rank} of {self.size} lost the others: one of them ended, failed or did not answer within "
                "the timeout of the process group. See the first error among the ranks, and restart all ranks."
            ) from error
