"""The vectors of contexts and items whose inner products are the scores of a factorization machine."""

import numpy as np

from skafm.recommendation._rows import check_model, check_rows


def context_vectors(model, contexts):
    """Return a vector for each context whose inner product with an item's vector is the raw score of both.

    The raw score of a factorization machine (Eq. 1 of Xiao et al., 2017) for a row of a context c and an item i is

    ``raw(c + i) = raw(c) + (raw(i) - w0) + <v(c), v(i)>``, with ``v(x) = sum_j v_j x_j``.

    So it is the product of ``[v(c), 1, raw(c)]`` and ``[v(i), raw(i) - w0, 1]``: intercept, linear terms and the
    interactions within the context and within the item are all in it. The last element of the two vectors adds the same
    to all items of a context; an index that only ranks can do without it.

    Parameters
    ----------
    model : FMRegressor or FMClassifier
        Fitted, of one target or two classes.
    contexts : {sparse matrix or array, array-like} of shape (n_contexts, n_features)
        Rows as for ``predict``, without the columns of the item.

    Returns
    -------
    ndarray of shape (n_contexts, n_factors + 2)
        In the precision of the model.

    Raises
    ------
    TypeError
        If the model is no factorization machine: the scores of others are no inner products.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ValueError
        If the input is malformed, or if the model has several scores.

    See Also
    --------
    item_vectors : The vectors of the items.
    recommend : The best items of each context, for all models.

    Examples
    --------
    >>> import numpy as np
    >>> from skafm import FMRegressor
    >>> from skafm.recommendation import context_vectors, item_vectors
    >>> users, items = np.eye(5)[:2], np.eye(5)[2:]
    >>> X = np.array([user + item for user in users for item in items] * 20)
    >>> model = FMRegressor(random_state=0).fit(X, [1, 2, 3, 3, 2, 1] * 20)
    >>> scores = context_vectors(model, users) @ item_vectors(model, items).T
    >>> scores.round()
    array([[1., 2., 3.],
           [3., 2., 1.]])
    """
    rows = _check(model, contexts, "contexts")
    return np.column_stack([model._sum_factors(rows), np.ones(rows.shape[0], rows.dtype), model._predict_raw(rows)])


def item_vectors(model, items):
    """Return a vector for each item whose inner product with a context's vector is the raw score of both.

    Ready for an index of maximum inner products, such as those of faiss and hnswlib. See :func:`context_vectors` for
    the formula.

    Parameters
    ----------
    model : FMRegressor or FMClassifier
        Fitted, of one target or two classes.
    items : {sparse matrix or array, array-like} of shape (n_items, n_features)
        Rows as for ``predict``, with the columns of the item only.

    Returns
    -------
    ndarray of shape (n_items, n_factors + 2)
        In the precision of the model. The raw score is ``decision_function`` of a classifier and ``predict`` of a
        regressor, before ``clip`` and, of a loss with a link, before the link.

    Raises
    ------
    TypeError
        If the model is no factorization machine: the scores of others are no inner products.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ValueError
        If the input is malformed, or if the model has several scores.

    See Also
    --------
    context_vectors : The vectors of the contexts.

    Examples
    --------
    >>> import numpy as np
    >>> from skafm import FMRegressor
    >>> from skafm.recommendation import item_vectors
    >>> X = np.array([user + item for user in np.eye(5)[:2] for item in np.eye(5)[2:]] * 20)
    >>> model = FMRegressor(n_factors=8, random_state=0).fit(X, [1, 2, 3, 3, 2, 1] * 20)
    >>> item_vectors(model, np.eye(5)[2:]).shape
    (3, 10)
    """
    rows = _check(model, items, "items")
    own = model._predict_raw(rows) - np.asarray(model.intercept_)[()]
    return np.column_stack([model._sum_factors(rows), own, np.ones(rows.shape[0], rows.dtype)])


def has_vectors(model):
    """Return whether the raw score of a model is an inner product of a context and an item."""
    return hasattr(model, "_sum_factors")


def _check(model, X, name):
    """Return checked rows of a model that has vectors."""
    check_model(model)
    if not has_vectors(model):
        raise TypeError(
            f"model must be a factorization machine, FMRegressor or FMClassifier, got {type(model).__name__}, whose "
            "score is no inner product: skafm.recommendation.recommend ranks items by any model."
        )
    return check_rows(model, X, name)
