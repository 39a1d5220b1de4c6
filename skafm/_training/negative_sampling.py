"""Rows that were not observed, drawn anew for each epoch: another item in the place of that of an observed row."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from skafm._training.batching import CSRRows, Dataset
from skafm._training.ranking_losses import set_weight

_MAX_ROUNDS = 20
"""So often known items are drawn again; what is then left is drawn from the others one row at a time, in effect."""
_CHUNK = 2**24
"""Most numbers that this takes at once."""


class KnownItems:
    """The items that each group of rows, such as a user, was observed with."""

    def __init__(self, group: NDArray[np.int64], item: NDArray[np.int64], n_items: int) -> None:
        self.n_items = n_items
        self.keys = np.unique(group * n_items + item)  # sorted
        self.counts = np.bincount(self.keys // n_items)  # (n_groups,)

    def contains(self, group: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each group (S,) was observed with the item (S,)."""
        keys = group * self.n_items + item
        place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        found: NDArray[np.bool_] = self.keys[place] == keys
        return found

    def as_rows(self, n_groups: int) -> sparse.csr_array:
        """Return them as CSR of shape (n_groups or more, n_items)."""
        group, item = np.divmod(self.keys, self.n_items)
        shape = max(n_groups, len(self.counts)), self.n_items
        return sparse.csr_array((np.ones(len(item), bool), (group, item)), shape)


class NegativeSampler:
    """Draws the items of negative rows.

    Parameters
    ----------
    probability : ndarray of shape (n_items,)
        Of each item to be drawn, up to a factor.
    known : KnownItems or None
        What is not drawn.
    random : numpy.random.Generator
    """

    def __init__(self, probability: NDArray[np.float64], known: KnownItems | None, random: np.random.Generator) -> None:
        self.probability, self.known, self.random = probability, known, random
        self.total = probability.cumsum()  # (n_items,)

    def draw(self, group: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return an item (S,) for each group (S,), drawn from those that the group was not observed with."""
        item = self._draw_any(len(group))
        if self.known is None:
            return item
        left = np.flatnonzero(self.known.contains(group, item))
        for _ in range(_MAX_ROUNDS):
            item[left] = self._draw_any(len(left))
            left = left[self.known.contains(group[left], item[left])]
            if not len(left):
                return item
        n = max(_CHUNK // len(self.total), 1)
        for part in np.split(left, range(n, len(left), n)):
            item[part] = self._draw_unknown(self.known, group[part])
        return item

    def _draw_any(self, n: int) -> NDArray[np.int64]:
        """Return n items (n,)."""
        item: NDArray[np.int64] = np.searchsorted(self.total, self.random.random(n) * self.total[-1], side="right")
        return item.clip(max=len(self.total) - 1)

    def _draw_unknown(self, known: KnownItems, group: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return an item (S,) for each group (S,), by the probabilities of all items."""
        n_items = len(self.total)
        pairs = np.repeat(group, n_items), np.tile(np.arange(n_items), len(group))
        chance = np.where(known.contains(*pairs), 0.0, self.probability[pairs[1]]).reshape(-1, n_items)
        total = chance.cumsum(1)  # (S, n_items)
        item: NDArray[np.int64] = (total <= self.random.random((len(group), 1)) * total[:, -1:]).sum(1)
        return item.clip(max=n_items - 1)


class ImplicitRows:
    """Observed rows, each followed by its negative ones.

    Parameters
    ----------
    contexts : CSR of shape (n_observed, n_features)
        Observed rows without their items.
    items : CSR of shape (n_items, n_features)
        Items, in other columns.
    item : ndarray of shape (n_observed,)
        The item of each observed row.
    group : ndarray of shape (n_observed,)
        Whose known items are not drawn for the row.
    n_negatives : int
        Negative rows of each observed one.
    sampler : NegativeSampler
    correct : bool
        Whether the weights in the targets of a ranking loss correct for how often items are drawn.
    """

    def __init__(
        self,
        contexts: sparse.csr_array,
        items: sparse.csr_array,
        item: NDArray[np.int64],
        group: NDArray[np.int64],
        n_negatives: int,
        sampler: NegativeSampler,
        *,
        correct: bool,
    ) -> None:
        self.contexts, self.items, self.item, self.group = contexts, items, item, group
        self.n_negatives, self.sampler, self.correct = n_negatives, sampler, correct

    def draw(self) -> NDArray[np.int64]:
        """Return the items (n_observed * (1 + n_negatives),) of all rows, the negative ones drawn anew."""
        drawn = self.sampler.draw(np.repeat(self.group, self.n_negatives))
        return np.column_stack([self.item, drawn.reshape(-1, self.n_negatives)]).ravel()

    def matrix(self, item: NDArray[np.int64]) -> sparse.csr_array:
        """Return all rows with their items."""
        return self.contexts[np.repeat(np.arange(len(self.item)), 1 + self.n_negatives)] + self.items[item]

    def renew(self, dataset: Dataset) -> Dataset:
        """Return the data set of the next epoch."""
        item = self.draw()
        rows = CSRRows.from_scipy(self.matrix(item), dataset.rows.device)
        return self.weigh(dataset._replace(rows=rows), item)

    def weigh(self, dataset: Dataset, item: NDArray[np.int64]) -> Dataset:
        """Return the data set of all rows with their items, its weights corrected."""
        if not self.correct:
            return dataset
        weight = torch.as_tensor(1 / self.sampler.probability[item])
        return dataset._replace(target=set_weight(dataset.target, weight))
