"""Metrics of a ranking, averaged over queries; letters in shapes: N rows, Q queries."""

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import ndcg_score
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d


class _Ranking(NamedTuple):
    """The rows of the queries that have a relevant one, by query and from the best score to the worst."""

    relevant: NDArray[np.bool_]
    """(N,)"""
    rank: NDArray[np.int64]
    """(N,) Place of each row in its query, from 1."""
    starts: NDArray[np.int64]
    """(Q,) Position of the first row of each query."""
    n_relevant: NDArray[np.int64]
    """(Q,) Number of relevant rows."""

    def within(self, k: int | None) -> NDArray[np.bool_]:
        """Return which rows (N,) are relevant and among the first k of their query."""
        return self.relevant if k is None else self.relevant & (self.rank <= k)

    def sum_queries(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the sum (Q,) of the values (N,) of each query."""
        return np.add.reduceat(values, self.starts)


def hit_rate_at_k(y_true: ArrayLike, y_score: ArrayLike, qid: ArrayLike, *, k: int | None = 10) -> float:
    """Return the share of queries that have a relevant row among their first k.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Relevance, at least 0; a row is relevant if it is above 0.
    y_score : array-like of shape (n_samples,)
        Scores, of which a greater one ranks a row higher. Of equal scores the least relevant row comes first, so that
        ties never help and the order of the rows does not matter.
    qid : array-like of shape (n_samples,)
        Query of each row; the rows of a query may be anywhere.
    k : int or None, default=10
        Number of rows of each query that count; None counts all.

    Returns
    -------
    float
        Between 0 and 1: the mean over the queries that have a relevant row.

    Raises
    ------
    ValueError
        If the input is malformed, or if no query has a relevant row.

    Examples
    --------
    >>> from skafm.metrics import hit_rate_at_k
    >>> hit_rate_at_k([0, 1, 0, 0, 1, 0], [0.3, 0.2, 0.1, 0.5, 0.6, 0.1], qid=[1, 1, 1, 2, 2, 2], k=1)
    0.5
    """
    ranking = _rank(y_true, y_score, qid, k)
    return float(np.mean(ranking.sum_queries(ranking.within(k) * 1.0) > 0))


def recall_at_k(y_true: ArrayLike, y_score: ArrayLike, qid: ArrayLike, *, k: int | None = 10) -> float:
    """Return the share of a query's relevant rows that are among its first k, averaged over queries.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Relevance, at least 0; a row is relevant if it is above 0.
    y_score : array-like of shape (n_samples,)
        Scores, as for :func:`hit_rate_at_k`.
    qid : array-like of shape (n_samples,)
        Query of each row; the rows of a query may be anywhere.
    k : int or None, default=10
        Number of rows of each query that count; None counts all.

    Returns
    -------
    float
        Between 0 and 1: the mean over the queries that have a relevant row. With more than k relevant rows a query
        cannot reach 1.

    Raises
    ------
    ValueError
        If the input is malformed, or if no query has a relevant row.

    Examples
    --------
    >>> from skafm.metrics import recall_at_k
    >>> recall_at_k([1, 1, 0, 0, 1, 0], [0.3, 0.2, 0.1, 0.5, 0.6, 0.1], qid=[1, 1, 1, 2, 2, 2], k=1)
    0.75
    """
    ranking = _rank(y_true, y_score, qid, k)
    return float(np.mean(ranking.sum_queries(ranking.within(k) * 1.0) / ranking.n_relevant))


def reciprocal_rank_at_k(y_true: ArrayLike, y_score: ArrayLike, qid: ArrayLike, *, k: int | None = 10) -> float:
    """Return the mean reciprocal rank (MRR): 1 over the place of a query's first relevant row, averaged over queries.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Relevance, at least 0; a row is relevant if it is above 0.
    y_score : array-like of shape (n_samples,)
        Scores, as for :func:`hit_rate_at_k`.
    qid : array-like of shape (n_samples,)
        Query of each row; the rows of a query may be anywhere.
    k : int or None, default=10
        Number of rows of each query that count; a query without a relevant one among them counts as 0. None counts all.

    Returns
    -------
    float
        Between 0 and 1: the mean over the queries that have a relevant row.

    Raises
    ------
    ValueError
        If the input is malformed, or if no query has a relevant row.

    Examples
    --------
    >>> from skafm.metrics import reciprocal_rank_at_k
    >>> reciprocal_rank_at_k([0, 1, 0, 0, 1, 0], [0.3, 0.2, 0.1, 0.5, 0.6, 0.1], qid=[1, 1, 1, 2, 2, 2])
    0.75
    """
    ranking = _rank(y_true, y_score, qid, k)
    return float(np.mean(np.maximum.reduceat(ranking.within(k) / ranking.rank, ranking.starts)))


def average_precision_at_k(y_true: ArrayLike, y_score: ArrayLike, qid: ArrayLike, *, k: int | None = 10) -> float:
    """Return the mean average precision (MAP) over queries.

    The average precision of a query is the sum, over its relevant rows among the first k, of the share of relevant rows
    up to this one, divided by the number of all its relevant rows, as in trec_eval.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Relevance, at least 0; a row is relevant if it is above 0.
    y_score : array-like of shape (n_samples,)
        Scores, as for :func:`hit_rate_at_k`.
    qid : array-like of shape (n_samples,)
        Query of each row; the rows of a query may be anywhere.
    k : int or None, default=10
        Number of rows of each query that count; None counts all.

    Returns
    -------
    float
        Between 0 and 1: the mean over the queries that have a relevant row. With more than k relevant rows a query
        cannot reach 1.

    Raises
    ------
    ValueError
        If the input is malformed, or if no query has a relevant row.

    Examples
    --------
    >>> from skafm.metrics import average_precision_at_k
    >>> average_precision_at_k([0, 1, 1, 0, 1, 0], [0.3, 0.2, 0.4, 0.5, 0.6, 0.1], qid=[1, 1, 1, 2, 2, 2])
    0.9166666666666666
    """
    ranking = _rank(y_true, y_score, qid, k)
    found = np.cumsum(ranking.relevant)  # (N,) relevant rows so far, of all queries
    before: NDArray[Any] = np.repeat(found[ranking.starts] - ranking.relevant[ranking.starts], _sizes(ranking))  # (N,)
    precision = ranking.within(k) * (found - before) / ranking.rank  # (N,)
    return float(np.mean(ranking.sum_queries(precision) / ranking.n_relevant))


def ndcg_at_k(y_true: ArrayLike, y_score: ArrayLike, qid: ArrayLike, *, k: int | None = None) -> float:
    """Return the normalized discounted cumulative gain (NDCG) of a query, averaged over queries.

    It is :func:`sklearn.metrics.ndcg_score`, whose gain is the relevance itself, of queries of any length. For gains of
    ``2^relevance - 1``, as in LightGBM, pass ``2**y_true - 1``.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Relevance, at least 0.
    y_score : array-like of shape (n_samples,)
        Scores, of which a greater one ranks a row higher; equal ones share the average of their gains.
    qid : array-like of shape (n_samples,)
        Query of each row; the rows of a query may be anywhere.
    k : int or None, default=None
        Number of rows of each query that count; None counts all.

    Returns
    -------
    float
        Between 0 and 1: the mean over the queries that have a relevant row.

    Raises
    ------
    ValueError
        If the input is malformed, or if no query has a relevant row.

    Examples
    --------
    >>> from skafm.metrics import ndcg_at_k
    >>> ndcg_at_k([0, 1, 3, 0, 1], [0.1, 0.3, 0.2, 0.5, 0.6], qid=[1, 1, 1, 2, 2])
    0.898...
    """
    relevance, score, query = _check(y_true, y_score, qid, k)
    order = np.argsort(query, kind="stable")
    relevance, score, sizes = relevance[order], score[order], np.bincount(query)  # (Q,)
    starts, total = np.cumsum(sizes) - sizes, 0.0
    for size in np.unique(sizes):  # one call for all queries of a length
        rows = starts[sizes == size, None] + np.arange(size)  # (queries, size)
        tied = (np.diff(np.sort(score[rows])) == 0).any(1)  # (queries,)
        for part, ties in ((rows[tied], True), (rows[~tied], False)):  # ties take a loop over the queries
            if len(part):
                value = 1.0 if size == 1 else ndcg_score(relevance[part], score[part], k=k, ignore_ties=not ties)
                total += len(part) * value
    return total / len(sizes)


def _rank(y_true: ArrayLike, y_score: ArrayLike, qid: ArrayLike, k: int | None) -> _Ranking:
    """Return the rows in the order of their scores."""
    relevance, score, query = _check(y_true, y_score, qid, k)
    order = np.lexsort((relevance, -score, query))
    sizes = np.bincount(query)  # (Q,)
    starts = np.cumsum(sizes) - sizes
    rank = 1 + np.arange(len(query)) - np.repeat(starts, sizes)
    relevant = relevance[order] > 0
    return _Ranking(relevant, rank, starts, np.add.reduceat(relevant.astype(np.int64), starts))


def _sizes(ranking: _Ranking) -> NDArray[np.int64]:
    """Return the number of rows (Q,) of each query."""
    return np.diff(ranking.starts, append=len(ranking.rank))


def _check(
    y_true: ArrayLike, y_score: ArrayLike, qid: ArrayLike, k: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return relevance, score and number of the query of the rows whose query has a relevant one."""
    if not (k is None or (isinstance(k, Integral) and k > 0)):
        raise ValueError(f"k must be a positive integer, or None for all rows, got {k!r}.")
    check_consistent_length(y_true, y_score, qid)
    relevance, score = (column_or_1d(each).astype(np.float64) for each in (y_true, y_score))
    assert_all_finite(relevance, input_name="y_true")
    assert_all_finite(score, input_name="y_score")
    if len(relevance) and relevance.min() < 0:
        raise ValueError(
            f"y_true must be at least 0, the relevance of a row, but its least value is {relevance.min()}."
        )
    _, query = np.unique(column_or_1d(qid), return_inverse=True)
    kept = np.bincount(query, relevance > 0)[query] > 0  # (N,)
    if not kept.any():
        raise ValueError("No query has a row of relevance above 0: such queries have no ranking to measure.")
    _, query = np.unique(query[kept], return_inverse=True)
    return relevance[kept], score[kept], query
