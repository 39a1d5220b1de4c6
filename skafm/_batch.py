"""A CSR matrix on the device, handed out as ragged batches."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn.functional import pad


class Batch(NamedTuple):
    """Ragged rows: the arguments of a module's ``forward``."""

    indices: Tensor
    """(N,) Feature of each entry."""
    values: Tensor | None
    """(N,) Value of each entry; None where all are 1."""
    offsets: Tensor
    """(B + 1,) The entries of row r are ``offsets[r]:offsets[r + 1]``."""


Columns = tuple[Tensor, Tensor | None, Tensor]
"""The entries of a batch feature after feature, its CSC form: rows (N,), values (N,), starts (n_features + 1,)."""


def localize(batch: Batch, n_features: int) -> tuple[Tensor, Batch, Columns]:
    """Renumber the features of a batch from 0.

    Returns
    -------
    features : Tensor of shape (U,)
        The distinct features of the batch, ascending.
    batch : Batch
        With ``indices`` from 0 to U - 1.
    columns : Columns
        Of that batch.
    """
    count = batch.indices.device.type == "cpu" and len(batch.indices) >= max(n_features // 2, 2**13)
    features, indices, rows, order, starts = _count(batch, n_features) if count else _sort(batch)
    values = None if batch.values is None else batch.values.index_select(0, order)
    return features, Batch(indices, batch.values, batch.offsets.to(indices.dtype)), (rows, values, starts)


_Local = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""The distinct features (U,), each entry's number among them (N,); rows (N,), places in the batch (N,) and starts
(U + 1,) of the entries feature after feature."""


def _sort(batch: Batch) -> _Local:
    """Find the features by sorting, at a cost that does not depend on how many there are."""
    keys, order = batch.indices.sort(stable=True)  # (N,)
    features, numbers, counts = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
    indices = torch.empty_like(numbers).scatter_(0, order, numbers)  # (N,)
    rows = torch.arange(len(batch.offsets) - 1, device=order.device)
    rows = rows.repeat_interleave(batch.offsets.diff(), output_size=len(order)).index_select(0, order)  # (N,)
    return features.long(), indices, rows, order, pad(counts.cumsum(0), (1, 0))


def _count(batch: Batch, n_features: int) -> _Local:
    """Find the features by counting, as SciPy does: on the CPU five times as fast where entries outnumber features."""
    indices = batch.indices.numpy()
    shape = (len(batch.offsets) - 1, n_features)
    places = np.arange(len(indices), dtype=indices.dtype)
    columns = sparse.csr_array((places, indices, batch.offsets.numpy()), shape=shape).tocsc()
    features = np.flatnonzero(np.diff(columns.indptr))  # (U,)
    numbers = np.empty(n_features, indices.dtype)
    numbers[features] = np.arange(len(features))
    starts = columns.indptr[np.append(features, n_features)]  # (U + 1,)
    found = features, numbers[indices], columns.indices, columns.data, starts
    return tuple(torch.from_numpy(array) for array in found)  # type: ignore[return-value]


def split(batch: Batch, costs: Tensor, budget: int) -> Iterator[tuple[slice, Batch]]:
    """Cut a batch into runs of rows whose costs (B,) sum to no more than the budget, or are of one row.

    Yields
    ------
    rows : slice
    piece : Batch
        Those rows; the batch itself where it is within the budget.
    """
    ends = costs.cumsum(0)  # (B,)
    if len(ends) == 0 or int(ends[-1]) <= budget:
        yield slice(0, len(ends)), batch
        return
    start, spent = 0, 0
    while start < len(ends):
        stop = max(int(torch.searchsorted(ends, spent + budget, right=True)), start + 1)
        entries = slice(int(batch.offsets[start]), int(batch.offsets[stop]))
        offsets = batch.offsets[start : stop + 1] - batch.offsets[start]
        values = None if batch.values is None else batch.values[entries]
        yield slice(start, stop), Batch(batch.indices[entries], values, offsets)
        start, spent = stop, int(ends[stop - 1])


class Rows:
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
        self.length = int(lengths[0]) if uniform else None
        """Entries of each row, where all have as many."""

    @classmethod
    def from_scipy(cls, X: Any, device: torch.device) -> Self:
        """Put a matrix, sparse or dense, on the device.

        Parameters
        ----------
        X : sparse matrix, sparse array or ndarray of shape (n_samples, n_features)
            As ``check_sparse`` returns it: its indices are believed. Never changed; on the CPU its arrays are shared
            where its entries are sorted, distinct and not zero.
        device : torch.device
        """
        X = sparse.csr_array(X)
        if not (X.has_canonical_format and X.data.all()):
            X = X.copy()
            X.sum_duplicates()
            X.eliminate_zeros()
        indptr, indices, values = (as_tensor(array, device) for array in (X.indptr, X.indices, X.data))
        return cls(indptr, indices, values, X.shape[1])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.indptr) - 1

    def take(self, rows: Tensor) -> Batch:
        """Return the given rows (B,), copied together."""
        pick: Callable[[Tensor], Tensor]
        length, integer = self.length, self.indices.dtype
        if length is not None:
            pick = lambda array: array.view(-1, length).index_select(0, rows).flatten()  # noqa: E731
            offsets = torch.arange(0, len(rows) * length + 1, length, dtype=integer, device=self.device)  # (B + 1,)
        else:
            starts = self.indptr.index_select(0, rows)  # (B,)
            lengths = self.indptr.index_select(0, rows + 1) - starts  # (B,)
            offsets = pad(lengths.cumsum(0, dtype=integer), (1, 0))  # (B + 1,)
            at = (starts - offsets[:-1]).repeat_interleave(lengths)  # (N,)
            at += torch.arange(len(at), device=self.device)
            pick = lambda array: array.index_select(0, at)  # noqa: E731
        return Batch(pick(self.indices), None if self.values is None else pick(self.values), offsets)

    def slice(self, start: int, stop: int) -> Batch:
        """Return the rows ``start:stop``, without a copy of their entries."""
        indptr = self.indptr[start : stop + 1]
        entries = slice(int(indptr[0]), int(indptr[-1]))
        values = None if self.values is None else self.values[entries]
        return Batch(self.indices[entries], values, indptr - indptr[0])


class _Lent:
    """A read-only array that says it is writable: torch would warn of each, and to silence it is no thread's own."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array  # lives as long as its memory is used
        address = array.__array_interface__["data"][0]
        self.__array_interface__ = array.__array_interface__ | {"data": (address, False)}


def as_tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return a tensor that is only ever read: on the CPU, over the array's own memory."""
    return torch.as_tensor(array if array.flags.writeable else np.asarray(_Lent(array)), device=device)
