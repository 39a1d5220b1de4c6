"""The items of the best raw scores for a block of contexts, by the two ways to these scores."""

import numpy as np
from sklearn.utils import gen_batches

from skafm._estimators.item_rows import max_rows
from skafm._estimators.validation import check_finite
from skafm.recommendation._vectors import context_vectors, item_vectors


class Products:
    """Raw scores of a factorization machine: inner products of the vectors of contexts and items."""

    def __init__(self, model, items):
        from skafm._training.conversion import resolve_device
        from skafm._training.top_n import InnerProducts

        self._model, vectors = model, item_vectors(model, items)
        self._largest = np.abs(vectors).max()
        self._products = InnerProducts(vectors, resolve_device(model.device))

    def top_n(self, contexts, allowed, n):
        """Return the n best items, as ``skafm._training.top_n``; ``allowed`` is (n_contexts, n_items) or None."""
        vectors = context_vectors(self._model, contexts)
        with np.errstate(over="ignore"):
            check_finite(contexts, np.abs(vectors).max() * self._largest * vectors.shape[1])
        return self._products.top_n(vectors, None if allowed is None else ~allowed, n)


class Predictions:
    """Raw scores of any model: predictions of the rows of context and item."""

    def __init__(self, model, items):
        self._model, self._items = model, items

    def top_n(self, contexts, allowed, n):
        """Return the n best items, as ``skafm._training.top_n``; ``allowed`` is (n_contexts, n_items) or None."""
        from torch import from_numpy

        from skafm._training.top_n import top_n

        n_contexts, n_items = contexts.shape[0], self._items.shape[0]
        pairs = np.arange(n_contexts * n_items) if allowed is None else np.flatnonzero(allowed)
        scores = np.full(n_contexts * n_items, -np.inf, np.asarray(self._model.intercept_).dtype)
        for part in gen_batches(len(pairs), max_rows(contexts, self._items)):
            context, item = np.divmod(pairs[part], n_items)
            scores[pairs[part]] = self._model._predict_raw(contexts[context] + self._items[item])
        return top_n(from_numpy(scores.reshape(n_contexts, n_items)), n)
