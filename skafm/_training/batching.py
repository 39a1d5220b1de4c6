"""A CSR matrix on the device, the data set around it, and ragged batches of its rows."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn.functional import pad

from skafm._training.collectives import SINGLE_PROCESS, ProcessGroup
from skafm.nn._base import Batch, TransposedBatch

if TYPE_CHECKING:
    from skafm._training.catalog import Catalog


def compact_features(batch: Batch, n_features: int) -> tuple[Tensor, Batch, TransposedBatch]:
    """Renumber the features of a batch from 0.

    Returns
    -------
    features : Tensor of shape (U,)
        The distinct features of the batch, ascending.
    batch : Batch
        With ``indices`` from 0 to U - 1.
    transposed : TransposedBatch
        Of that batch.
    """
    count = batch.indices.device.type == "cpu" and len(batch.indices) >= max(n_features // 2, 2**13)
    features, indices, rows, order, offsets = _by_counting(batch, n_features) if count else _by_sorting(batch)
    values = None if batch.values is None else batch.values.index_select(0, order)
    compact = Batch(indices, batch.values, batch.offsets.to(indices.dtype))
    return features, compact, TransposedBatch(rows, values, offsets)


_Compact = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""The distinct features (U,), each entry's index among them (N,); feature by feature the entries' rows (N,), positions
in the batch (N,) and offsets (U + 1,)."""


def _by_sorting(batch: Batch) -> _Compact:
    """Find the features by sorting, at a cost that does not depend on the number of columns."""
    keys, order = batch.indices.sort(stable=True)  # (N,)
    features, inverse, counts = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
    indices = torch.empty_like(inverse).scatter_(0, order, inverse)  # (N,)
    rows = torch.arange(len(batch.offsets) - 1, device=order.device)
    rows = rows.repeat_interleave(batch.offsets.diff(), output_size=len(order)).index_select(0, order)  # (N,)
    return features.long(), indices, rows, order, pad(counts.cumsum(0), (1, 0))


def _by_counting(batch: Batch, n_features: int) -> _Compact:
    """Find the features by counting in SciPy: on the CPU five times as fast if entries outnumber features."""
    indices = batch.indices.numpy()
    shape = (len(batch.offsets) - 1, n_features)
    positions = np.arange(len(indices), dtype=indices.dtype)
    columns = sparse.csr_array((positions, indices, batch.offsets.numpy()), shape=shape).tocsc()
    features = np.flatnonzero(np.diff(columns.indptr))  # (U,)
    inverse = np.empty(n_features, indices.dtype)
    inverse[features] = np.arange(len(features))
    offsets = columns.indptr[np.append(features, n_features)]  # (U + 1,)
    found = features, inverse[indices], columns.indices, columns.data, offsets
    return tuple(torch.from_numpy(array) for array in found)  # type: ignore[return-value]


def split_batch(batch: Batch, costs: Tensor, budget: int) -> Iterator[tuple[slice, Batch]]:
    """Split a batch into runs of rows, each of one row or with costs (B,) that sum to no more than the budget.

    Yields
    ------
    rows : slice
    micro_batch : Batch
        Those rows; the batch itself if it is within the budget.
    """
    for rows in split_costs(costs, budget):
        if rows.start == 0 and rows.stop == len(costs):
            yield rows, batch
            return
        entries = slice(int(batch.offsets[rows.start]), int(batch.offsets[rows.stop]))
        offsets = batch.offsets[rows.start : rows.stop + 1] - batch.offsets[rows.start]
        values = None if batch.values is None else batch.values[entries]
        yield rows, Batch(batch.indices[entries], values, offsets)


def split_costs(costs: Tensor, budget: int) -> Iterator[slice]:
    """Split costs (B,) into runs, each of one cost or with a sum of no more than the budget; yield one at least."""
    ends = costs.cumsum(0)  # (B,)
    if len(ends) == 0 or int(ends[-1]) <= budget:
        yield slice(0, len(ends))
        return
    start, spent = 0, 0
    while start < len(ends):
        stop = max(int(torch.searchsorted(ends, spent + budget, right=True)), start + 1)
        yield slice(start, stop)
        start, spent = stop, int(ends[stop - 1])


class CSRRows:
    """The rows of a CSR matrix on a device.

    Parameters
    ----------
    indptr : Tensor of shape (n_samples + 1,)
    indices : Tensor of shape (nnz,)
        Of the same integer type as ``indptr``, distinct within a row.
    values : Tensor of shape (nnz,)
        Without zeros.
    n_features : int
    """

    def __init__(self, indptr: Tensor, indices: Tensor, values: Tensor, n_features: int) -> None:
        self.indptr, self.indices, self.n_features = indptr, indices, n_features
        self.values = None if bool((values == 1).all()) else values
        self.dtype, self.device = values.dtype, values.device
        lengths = indptr.diff()
        uniform = len(lengths) > 0 and lengths[0] > 0 and bool((lengths == lengths[0]).all())
        self.row_length = int(lengths[0]) if uniform else None
        """Entries of each row, if all rows have the same number."""

    @classmethod
    def from_scipy(cls, X: Any, device: torch.device) -> Self:
        """Put a matrix, sparse or dense, on the device.

        Parameters
        ----------
        X : sparse matrix, sparse array or ndarray of shape (n_samples, n_features)
            As ``check_sparse`` returns it: its indices are not checked again. Never changed; on the CPU its arrays are
            shared if its entries are sorted, distinct and not zero.
        device : torch.device
        """
        X = sparse.csr_array(X)
        if not (X.has_canonical_format and X.data.all()):
            X = X.copy()
            X.sum_duplicates()
            X.eliminate_zeros()
        indptr, indices, values = (as_read_only_tensor(array, device) for array in (X.indptr, X.indices, X.data))
        return cls(indptr, indices, values, X.shape[1])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.indptr) - 1

    def take(self, rows: Tensor) -> Batch:
        """Return a copy of the given rows (B,)."""
        pick: Callable[[Tensor], Tensor]
        length, integer = self.row_length, self.indices.dtype
        if length is not None:
            pick = lambda array: array.view(-1, length).index_select(0, rows).flatten()  # noqa: E731
            offsets = torch.arange(0, len(rows) * length + 1, length, dtype=integer, device=self.device)  # (B + 1,)
        else:
            starts = self.indptr.index_select(0, rows)  # (B,)
            lengths = self.indptr.index_select(0, rows + 1) - starts  # (B,)
            offsets = pad(lengths.cumsum(0, dtype=integer), (1, 0))  # (B + 1,)
            positions = (starts - offsets[:-1]).repeat_interleave(lengths)  # (N,)
            positions += torch.arange(len(positions), device=self.device)
            pick = lambda array: array.index_select(0, positions)  # noqa: E731
        return Batch(pick(self.indices), None if self.values is None else pick(self.values), offsets)

    def select(self, rows: Tensor) -> "CSRRows":
        """Return the rows (B,), given by numbers, as rows of their own."""
        indices, values, offsets = self.take(rows)
        values = torch.ones(len(indices), dtype=self.dtype, device=self.device) if values is None else values
        return CSRRows(offsets, indices, values, self.n_features)

    def slice(self, start: int, stop: int) -> Batch:
        """Return the rows ``start:stop``, without a copy of their entries."""
        indptr, length = self.indptr[start : stop + 1], self.row_length
        # A device would have to be waited for, unless all rows have the same length.
        ends = (int(indptr[0]), int(indptr[-1])) if length is None else (start * length, stop * length)
        entries = slice(*ends)
        values = None if self.values is None else self.values[entries]
        return Batch(self.indices[entries], values, indptr - indptr[0])


class Dataset(NamedTuple):
    """The rows of this process, on one device."""

    rows: CSRRows
    target: Tensor
    """(n_samples,) or (n_samples, C)"""
    weight: Tensor | None
    """(n_samples,) Sample weights of mean 1 over all processes; None if all are equal."""
    group: ProcessGroup = SINGLE_PROCESS
    """The processes that have the other rows."""
    mean_weight: float = 1.0
    """Mean of the weights as given, in units of the smallest."""
    query: Tensor | None = None
    """(n_samples,) Number of each row's query, from 0; None if rows are not compared with one another."""
    renew: Callable[["Dataset"], "Dataset"] | None = None
    """Returns the data set, of as many rows, for the next epoch; None if it is always the same."""
    catalog: "Catalog | None" = None
    """What the items of the rows compete with; None if a row has a score and a target of its own."""

    @property
    def options(self) -> dict[str, Any]:
        """What a model's ``forward`` is given besides a batch."""
        return {} if self.catalog is None else {"n_items": len(self.catalog.items)}

    def take(self, rows: Tensor) -> Batch:
        """Return the batch of the given rows (B,)."""
        return self.rows.take(rows) if self.catalog is None else self.catalog.take(rows)

    def hide_known(self, raw: Tensor, rows: Tensor) -> Tensor:
        """Return the raw scores of rows (B,), -inf in the place of items that do not compete."""
        if self.catalog is None:
            return raw
        return self.catalog.hide_known(raw, rows, self.target.index_select(0, rows))

    def select(self, rows: Tensor) -> "Dataset":
        """Return some rows, given by a mask (n_samples,)."""
        numbers = rows.nonzero().squeeze(1)
        weight = None if self.weight is None else self.weight[numbers]
        query = None if self.query is None else self.query[numbers]
        return self._replace(rows=self.rows.select(numbers), target=self.target[numbers], weight=weight, query=query)


class _WritableView:
    """Presents a read-only array as writable: torch warns of each read-only one, in all threads or in none."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array  # keeps the memory alive
        address = array.__array_interface__["data"][0]
        self.__array_interface__ = array.__array_interface__ | {"data": (address, False)}


def as_read_only_tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return a tensor that must not be written to: on the CPU it shares the array's memory."""
    if any(stride < 0 for stride in array.strides):  # torch has none
        array = array.copy()
    return torch.as_tensor(array if array.flags.writeable else np.asarray(_WritableView(array)), device=device)
