"""The best items of each context."""

from numbers import Integral

import numpy as np
from sklearn.utils import gen_batches

from skafm._estimators.fitted_model import working_memory
from skafm.recommendation._rows import check_disjoint, check_mask, check_model, check_rows
from skafm.recommendation._scores import Predictions, Products
from skafm.recommendation._vectors import has_vectors

_MAX_CONTEXTS = 256
"""With this many contexts in a block, a matrix product has its full speed."""
_BYTES_PER_SCORE = 40
"""Of a score, its masks and, where all are equal, its item, its row and their order."""


def recommend(model, contexts, items, n=10, *, exclude=None, candidates=None):
    """Return the items with the best scores for each context.

    A row that a model predicts is here the sum of two: a context, such as a user with a time and a place, and an item
    with its properties. All items are scored for each context and the best ones are returned; memory is bounded by
    scikit-learn's ``working_memory``, whatever the number of contexts. Of a factorization machine all scores are one
    matrix product (see :func:`context_vectors`), equal to its predictions but for rounding; every other model predicts
    the rows, of candidates only if there are any.

    Parameters
    ----------
    model : estimator of skafm
        Fitted: a regressor with one target, or a classifier with two classes.
    contexts : {sparse matrix or array, array-like} of shape (n_contexts, n_features)
        Rows as for ``predict``, in which the columns of the item are empty. The features of users that were not in
        training may be empty as well: they count as the average.
    items : {sparse matrix or array, array-like} of shape (n_items, n_features)
        The catalog: rows of the same width, in which all columns but those of the item are empty.
    n : int, default=10
        Number of items for each context; at least 1.
    exclude : {sparse matrix or array, array-like} of shape (n_contexts, n_items), default=None
        Items not to recommend to a context: those whose entry is not zero, e.g. the known ones.
    candidates : {sparse matrix or array, array-like} of shape (n_contexts, n_items), default=None
        Items that may be recommended to a context: those whose entry is not zero. By default all.

    Returns
    -------
    indices : ndarray of shape (n_contexts, n), int64
        Rows of ``items``, the best first; of equal scores the item that comes first. -1 where a context has fewer than
        n items.
    scores : ndarray of shape (n_contexts, n)
        What ``predict`` of a regressor and ``decision_function`` of a classifier give; nan beside -1. Items whose
        predictions ``clip`` makes equal are ranked by what they were before.

    Raises
    ------
    TypeError
        If the model is no estimator of skafm.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ValueError
        If the input is malformed, if contexts and items share a column, if a mask has another shape, or if the model
        has several scores.

    See Also
    --------
    item_vectors : Vectors for an index, for catalogs too large to score each item.

    Examples
    --------
    >>> import numpy as np
    >>> from skafm import FMRegressor
    >>> from skafm.recommendation import recommend
    >>> users, items = np.eye(5)[:2], np.eye(5)[2:]
    >>> X = np.array([user + item for user in users for item in items] * 20)
    >>> model = FMRegressor(random_state=0).fit(X, [1, 2, 3, 3, 2, 1] * 20)
    >>> indices, scores = recommend(model, users, items, n=2)
    >>> indices
    array([[2, 1],
           [0, 1]])
    >>> recommend(model, users, items, n=2, exclude=[[0, 0, 1], [0, 0, 0]])[0]
    array([[1, 0],
           [0, 1]])
    """
    check_model(model)
    if not (isinstance(n, Integral) and int(n) > 0):
        raise ValueError(f"n must be a positive integer, got {n!r}.")
    contexts, items = check_rows(model, contexts, "contexts"), check_rows(model, items, "items")
    check_disjoint(model, contexts, items)
    shape = contexts.shape[0], items.shape[0]
    masks = check_mask(exclude, shape, "exclude"), check_mask(candidates, shape, "candidates")
    ranking = (Products if has_vectors(model) else Predictions)(model, items)
    n_contexts = min(max(working_memory() // (_BYTES_PER_SCORE * shape[1]), 1), _MAX_CONTEXTS)
    best = [
        ranking.top_n(contexts[block], _allowed(*(mask if mask is None else mask[block] for mask in masks)), int(n))
        for block in gen_batches(shape[0], n_contexts)
    ]
    indices, raw = map(np.concatenate, zip(*best, strict=True))
    scores = np.full_like(raw, np.nan)
    scores[indices >= 0] = model._decode_raw(raw[indices >= 0])
    return indices, scores


def _allowed(exclude, candidates):
    """Return which items (n_contexts, n_items) may be recommended, or None for all."""
    if candidates is not None:
        allowed = candidates.toarray()
    elif exclude is not None:
        allowed = np.ones(exclude.shape, bool)
    else:
        return None
    if exclude is not None:
        allowed[exclude.nonzero()] = False
    return allowed
