"""Observed rows in each of which all items of a catalog compete with its own: softmax without sampling.

Letters in shapes: B rows, M items.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from skafm._training.batching import CSRRows, Dataset
from skafm._training.negative_sampling import KnownItems
from skafm.nn._base import Batch

_COPIES = 8
"""Most tensors of the size of a batch's scores with all items at a time."""


class Catalog(NamedTuple):
    """The items that compete with the one of each row of a data set, whose target is then the number of its item."""

    items: CSRRows
    """(M rows)"""
    contexts: CSRRows
    """(n_samples rows) The rows of the data set without their items."""
    group: Tensor
    """(n_samples,) Whose known items do not compete in a row."""
    known: CSRRows
    """(n_groups rows) Entries are known items."""

    def max_batch_size(self, memory: int) -> int:
        """Return of how many rows the scores with all items fit ``memory`` bytes, at least 1."""
        return max(memory // (_COPIES * self.items.dtype.itemsize * len(self.items)), 1)

    def take(self, rows: Tensor) -> Batch:
        """Return the contexts of rows (B,) and all items behind them: a batch of B + M rows."""
        contexts, items = self.contexts.take(rows), self.items.slice(0, len(self.items))
        offsets = torch.cat([contexts.offsets, items.offsets[1:] + contexts.offsets[-1]])
        if contexts.values is None and items.values is None:
            values = None
        else:
            values = torch.cat([self._values(contexts), self._values(items)])
        return Batch(torch.cat([contexts.indices, items.indices]), values, offsets)

    def _values(self, batch: Batch) -> Tensor:
        ones = torch.ones(len(batch.indices), dtype=self.items.dtype, device=self.items.device)
        return ones if batch.values is None else batch.values

    def hide_known(self, raw: Tensor, rows: Tensor, item: Tensor) -> Tensor:
        """Set scores (B, M) of rows (B,) to -inf where an item is known and not the row's own, ``item`` (B,)."""
        known, _, offsets = self.known.take(self.group.index_select(0, rows))  # (N,)
        row = torch.arange(len(rows), device=rows.device).repeat_interleave(offsets.diff())  # (N,)
        other = known != item.long().index_select(0, row)
        return raw.index_put_((row[other], known[other].long()), raw.new_tensor(-torch.inf))

    def frequency(self, item: Tensor, weight: Tensor | None) -> Tensor:
        """Return how often rows with these items (B,) and weights (B,) have each row of ``take``: (B + M,)."""
        weight = torch.ones(len(item), dtype=self.items.dtype, device=item.device) if weight is None else weight
        return torch.cat([weight, weight.new_zeros(len(self.items)).index_add_(0, item.long(), weight)])


class CompetingItems:
    """Observed rows and the items that compete in them.

    Parameters
    ----------
    contexts : CSR of shape (n_observed, n_features)
        Observed rows without their items.
    items : CSR of shape (M, n_features)
        Items, in other columns.
    item : ndarray of shape (n_observed,)
        The item of each observed row.
    group : ndarray of shape (n_observed,)
        Whose known items do not compete in the row.
    known : KnownItems or None
        What does not compete.
    """

    def __init__(
        self,
        contexts: sparse.csr_array,
        items: sparse.csr_array,
        item: NDArray[np.int64],
        group: NDArray[np.int64],
        known: KnownItems | None,
    ) -> None:
        self.contexts, self.items, self.item, self.group = contexts, items, item, group
        n_groups = int(group.max()) + 1
        self.known = sparse.csr_array((n_groups, items.shape[0])) if known is None else known.as_rows(n_groups)

    def matrix(self) -> sparse.csr_array:
        """Return the observed rows with their items."""
        return self.contexts + self.items[self.item]

    def attach(self, dataset: Dataset) -> Dataset:
        """Return the data set of these rows, whose targets are then the numbers of their items."""
        device = dataset.rows.device
        items, contexts, known = (CSRRows.from_scipy(X, device) for X in (self.items, self.contexts, self.known))
        catalog = Catalog(items, contexts, torch.as_tensor(self.group, device=device), known)
        target = torch.as_tensor(self.item, dtype=dataset.target.dtype, device=device)
        return dataset._replace(target=target, query=None, catalog=catalog)
