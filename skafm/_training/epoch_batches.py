"""Which rows are in which batch of an epoch: any rows, or those of whole queries."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from skafm._training.batching import Dataset

Sizes = Sequence[tuple[int, int]]
"""Of each batch the number of rows on this rank and on all."""


class EpochBatches(ABC):
    """The batches of the epochs of a training."""

    n_steps: int
    """Number of batches of an epoch."""
    most_rows: int
    """Most rows of a batch on this rank."""

    @abstractmethod
    def draw(self, generator: torch.Generator) -> tuple[Tensor, Sizes]:
        """Return the order (n_samples,) of the rows in an epoch, and the sizes of the batches that it is cut into."""


def make_batches(dataset: Dataset, batch_size: int, *, shuffle: bool) -> EpochBatches:
    """Return the batches of a data set."""
    counts = dataset.group.all_gather(len(dataset.rows))
    if dataset.query is None:
        return RowBatches(dataset, counts, batch_size, shuffle=shuffle)
    return QueryBatches(dataset, dataset.query, sum(counts), batch_size, shuffle=shuffle)


class RowBatches(EpochBatches):
    """Batches of rows, whose sizes differ by at most one row."""

    def __init__(self, dataset: Dataset, counts: Sequence[int], batch_size: int, *, shuffle: bool) -> None:
        self.n, self.device, self.shuffle = len(dataset.rows), dataset.target.device, shuffle
        self.sizes = _partition_batches(counts, dataset.group.rank, batch_size)
        self.n_steps, self.most_rows = len(self.sizes), batch_size

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Sizes]:
        return _row_order(self.n, self.device, generator if self.shuffle else None), self.sizes


class QueryBatches(EpochBatches):
    """Batches of whole queries, about ``batch_size`` rows each: one ends with the query that reaches its end."""

    def __init__(self, dataset: Dataset, query: Tensor, n_samples: int, batch_size: int, *, shuffle: bool) -> None:
        self.query, self.group, self.shuffle = query, dataset.group, shuffle
        self.n_rows = query.bincount()  # (Q,)
        self.n_steps = -(-n_samples // batch_size)
        self.most_rows = min(batch_size + int(self.n_rows.max()), len(query))

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Sizes]:
        n, device = len(self.query), self.query.device
        generator_or_none = generator if self.shuffle else None
        rows = _row_order(n, device, generator_or_none)  # (n_samples,)
        queries = _row_order(len(self.n_rows), device, generator_or_none)  # (Q,)
        place = torch.empty_like(queries).scatter_(0, queries, torch.arange(len(queries), device=device))  # (Q,)
        order = rows[place[self.query[rows]].argsort(stable=True)]  # (n_samples,)
        n_rows = self.n_rows[queries]  # (Q,)
        batch = (n_rows.cumsum(0) - n_rows) * self.n_steps // n  # (Q,) by the place of the first row
        own = torch.zeros(self.n_steps, dtype=torch.int64, device=device).index_add_(0, batch, n_rows).tolist()
        every = zip(own, *self.group.all_gather(own), strict=True)
        return order, [(first, sum(others)) for first, *others in every]


def _partition_batches(counts: Sequence[int], rank: int, batch_size: int) -> list[tuple[int, int]]:
    """Distribute the rows of all ranks over the batches, round robin; return each batch's size on a rank and in all."""
    n, before = sum(counts), sum(counts[:rank])
    steps = -(-n // batch_size)

    def size(start: int, stop: int, batch: int) -> int:
        return (batch - start) // steps - (batch - stop) // steps

    return [(size(before, before + counts[rank], batch), size(0, n, batch)) for batch in range(steps)]


def _row_order(n: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Return the numbers from 0 to n - 1, in a random order if there is a generator."""
    if generator is None:
        return torch.arange(n, device=device)
    return torch.randperm(n, generator=generator, device=device)
