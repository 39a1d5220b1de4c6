"""A CSR matrix on the device, handed out as ragged batches."""

import warnings
from typing import Any, NamedTuple, Self

import torch
from numpy.typing import ArrayLike
from scipy import sparse
from torch import Tensor


class Batch(NamedTuple):
    """Ragged rows: the arguments of a module's ``forward``."""

    indices: Tensor
    """(N,) Feature of each entry."""
    values: Tensor
    """(N,) Value of each entry."""
    offsets: Tensor
    """(B + 1,) The entries of row r are ``offsets[r]:offsets[r + 1]``."""


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
        starts, ends = self.indptr[rows].long(), self.indptr[rows + 1].long()  # (B,)
        lengths = ends - starts
        offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))  # (B + 1,)
        shift = (starts - offsets[:-1]).repeat_interleave(lengths)  # (N,)
        at = shift + torch.arange(len(shift), device=shift.device)  # (N,)
        return Batch(self.indices[at].long(), self.values[at], offsets)

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
