"""The best of many scores in each row, and the inner products that are such scores.

Letters in shapes: B rows, M items, k numbers of a vector.
"""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from skafm._training.batching import as_read_only_tensor
from skafm._training.threads import limit_threads

_GROUP = 64
"""Most scores in a group: their maximum takes one fast pass, and all else sees few groups."""

_PART = 2**16
"""Number of products that are computed one by one together."""


def top_n(scores: Tensor, n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the n best items of each row, from the best on; of equal scores the first item is the best.

    Parameters
    ----------
    scores : Tensor of shape (B, M)
        Without nan; an item of score -inf is never among the best.
    n : int

    Returns
    -------
    items : ndarray of shape (B, n)
        -1 where a row has fewer items.
    values : ndarray of shape (B, n)
        Their scores, nan where a row has fewer.
    """
    row, item = _candidates(scores, n, 0.0)
    return _sort(row, item, scores[row, item], len(scores), n)


class InnerProducts:
    """The best inner products of vectors with those of all items, block by block.

    Parameters
    ----------
    items : ndarray of shape (M, k)
    device : torch.device
    """

    def __init__(self, items: NDArray[Any], device: torch.device) -> None:
        self._items = as_read_only_tensor(items, device)
        rounding = self._items.shape[1] * torch.finfo(self._items.dtype).eps
        self._error = rounding * torch.linalg.vector_norm(self._items, dim=1).max()
        self._scores = self._items.new_empty(0)  # fresh memory for each block would take as long as the products

    def top_n(self, vectors: NDArray[Any], forbidden: NDArray[Any] | None, n: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the n best items of vectors (B, k), as :func:`top_n`, but those that are forbidden (B, M).

        A matrix product rounds the same sum in one way or another, depending on its place. So the few best are computed
        again, one by one: the same vectors have the same product, in whatever block.
        """
        left = as_read_only_tensor(vectors, self._items.device)
        shape = len(left), len(self._items)
        if len(self._scores) < shape[0]:
            self._scores = left.new_empty(shape)
        with limit_threads(shape[0] * self._items.numel()):
            scores = torch.mm(left, self._items.T, out=self._scores[: shape[0]])
            if forbidden is not None:
                scores.masked_fill_(as_read_only_tensor(forbidden, scores.device), -torch.inf)
            error = self._error * torch.linalg.vector_norm(left, dim=1, keepdim=True)  # (B, 1)
            row, item = _candidates(scores, n, 2 * error)
            parts = zip(torch.split(row, _PART), torch.split(item, _PART), strict=True)
            values = [(left[rows] * self._items[items]).sum(1) for rows, items in parts]
            return _sort(row, item, torch.cat(values), shape[0], n)


def _candidates(scores: Tensor, n: int, error: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return row and item of the scores, (E,) and (E,), among which are the n best of each row; items ascend in a row.

    The n-th greatest maximum of groups of items is no greater than the n-th greatest score, and few items reach it;
    ``error``, () or (B, 1), is how far two scores may be off.
    """
    (n_rows, n_items), lowest = scores.shape, torch.finfo(scores.dtype).min
    size = min(_GROUP, n_items // n)
    if size == 0:
        row, item = (scores >= lowest).nonzero(as_tuple=True)
        return row, item
    rest = n_items // size * size
    groups = scores[:, :rest].view(n_rows, -1, size)  # (B, G, size)
    maxima = groups.amax(2)  # (B, G)
    least = (maxima.topk(n).values[:, -1:] - error).clamp(min=lowest)  # (B, 1)
    row, group = (maxima >= least).nonzero(as_tuple=True)
    near, place = (groups[row, group] >= least[row]).nonzero(as_tuple=True)
    rest_row, rest_place = (scores[:, rest:] >= least).nonzero(as_tuple=True)
    return torch.cat([row[near], rest_row]), torch.cat([group[near] * size + place, rest + rest_place])


def _sort(row: Tensor, item: Tensor, value: Tensor, n_rows: int, n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the n best items (n_rows, n) of each row and their values, of candidates (E,) whose items ascend."""
    order = value.argsort(descending=True, stable=True)
    order = order[row[order].argsort(stable=True)]  # by row, value and item
    row, item, value = row[order], item[order], value[order]
    starts = pad(torch.bincount(row, minlength=n_rows).cumsum(0), (1, 0))  # (n_rows + 1,)
    rank = torch.arange(len(row), device=row.device) - starts[row]  # (E,)
    best = rank < n
    items = row.new_full((n_rows, n), -1)
    values = value.new_full((n_rows, n), torch.nan)
    items[row[best], rank[best]] = item[best]
    values[row[best], rank[best]] = value[best]
    return items.numpy(force=True), values.numpy(force=True)
