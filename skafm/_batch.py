"""A CSR matrix on the device, handed out as ragged batches."""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import torch
from numpy.typing import ArrayLike
from scipy import sparse
from torch import Tensor
from torch.nn.functional import pad


class Batch(NamedTuple):
    """Ragged rows: the arguments of a module's ``forward``."""

    indices: Tensor
    """(N,) Feature of each entry."""
    values: Tensor
    """(N,) Value of each entry."""
    offsets: Tensor
    """(B + 1,) The entries of row r are ``offsets[r]:offsets[r + 1]``."""


Columns = tuple[Tensor, Tensor, Tensor]
"""The entries of a batch feature after feature, its CSC form: rows (N,), values (N,), starts (n_features + 1,)."""


def localize(batch: Batch) -> tuple[Tensor, Batch, Columns]:
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
    keys, order = batch.indices.sort(stable=True)  # (N,)
    features, numbers, counts = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
    indices = torch.empty_like(numbers).index_copy_(0, order, numbers)  # (N,)
    rows = torch.arange(len(batch.offsets) - 1, device=order.device).repeat_interleave(batch.offsets.diff())  # (N,)
    columns = rows.index_select(0, order), batch.values.index_select(0, order), pad(counts.cumsum(0), (1, 0))
    return features.long(), batch._replace(indices=indices), columns


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
        yield slice(start, stop), Batch(batch.indices[entries], batch.values[entries], offsets)
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
    """

    def __init__(self, indptr: Tensor, indices: Tensor, values: Tensor) -> None:
        self.indptr, self.indices, self.values = indptr, indices, values
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
            Never changed; on the CPU its arrays are shared where its entries are sorted, distinct and not zero.
        device : torch.device

        Raises
        ------
        ValueError
            If the index arrays of ``X`` contradict each other or its shape.
        """
        X = sparse.csr_array(X)
        X.check_format()
        if not (X.has_canonical_format and X.data.all()):
            X = X.copy()
            X.sum_duplicates()
            X.eliminate_zeros()
        return cls(*(as_tensor(array, device) for array in (X.indptr, X.indices, X.data)))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.indptr) - 1

    def take(self, rows: Tensor) -> Batch:
        """Return the given rows (B,), copied together."""
        if self.length is not None:
            indices = self.indices.view(-1, self.length).index_select(0, rows)  # (B, length)
            values = self.values.view(-1, self.length).index_select(0, rows)
            offsets = torch.arange(0, indices.numel() + 1, self.length, device=rows.device)  # (B + 1,)
            return Batch(indices.flatten(), values.flatten(), offsets)
        starts = self.indptr[rows].long()  # (B,)
        lengths = self.indptr[rows + 1].long() - starts  # (B,)
        offsets = pad(lengths.cumsum(0), (1, 0))  # (B + 1,)
        shift = (starts - offsets[:-1]).repeat_interleave(lengths)  # (N,)
        at = shift + torch.arange(len(shift), device=rows.device)  # (N,)
        return Batch(self.indices[at], self.values[at], offsets)

    def slice(self, start: int, stop: int) -> Batch:
        """Return the rows ``start:stop``, without a copy of their entries."""
        indptr = self.indptr[start : stop + 1]
        entries = slice(int(indptr[0]), int(indptr[-1]))
        return Batch(self.indices[entries], self.values[entries], indptr - indptr[0])


def as_tensor(array: ArrayLike, device: torch.device) -> Tensor:
    """Return a tensor that is only ever read: on the CPU, over the array's own memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.as_tensor(array, device=device)
