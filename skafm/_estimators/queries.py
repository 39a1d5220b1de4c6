"""The queries of a ranker's rows, and their grades of relevance."""

import numpy as np
from scipy import sparse
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d


def has_two_grades(relevance, query, used):
    """Return whether each row (n_samples,) has one of the same query and of another grade, among those that are used.

    Queries are numbers. Rows that are not used may count as either.
    """
    numbers = query.astype(np.int64)
    lowest, highest = np.full(numbers.max() + 1, np.inf), np.full(numbers.max() + 1, -np.inf)
    np.minimum.at(lowest, numbers[used], relevance[used])
    np.maximum.at(highest, numbers[used], relevance[used])
    return (lowest < highest)[numbers]


def queries_are_features(data):
    """Return whether most queries have a column of their own, one that all of their rows have and no others, as users.

    What such a model knows of a query it knows from its rows: whole queries that are held out would be new to it.
    """
    X, query = sparse.csr_array(data.X), np.unique(data.y[:, 1], return_inverse=True)[1]
    n_rows = np.bincount(query)  # (Q,)
    of_entry = np.repeat(query, np.diff(X.indptr))  # (N,)
    first, last = np.full(X.shape[1], len(n_rows)), np.full(X.shape[1], -1)
    np.minimum.at(first, X.indices, of_entry)
    np.maximum.at(last, X.indices, of_entry)
    single = np.flatnonzero(first == last)  # columns of one query
    counts = np.bincount(X.indices, minlength=X.shape[1])[single]
    own = first[single][counts == n_rows[first[single]]]
    return 2 * len(np.unique(own)) > len(n_rows) > 1


def check_relevance(y):
    """Return relevance as float64; numbers are checked later on."""
    try:
        return column_or_1d(y, warn=True).astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"y must be one number for each row, its relevance: {error}.") from error


def check_given(qid):
    """Raise a ValueError if there are no queries."""
    if qid is None:
        raise ValueError(
            "qid must be given: the query of each row, such as the user or the search, within which rows are ranked. "
            "In cross-validation and pipelines it is routed by set_fit_request(qid=True) and "
            "set_score_request(qid=True), with sklearn.set_config(enable_metadata_routing=True)."
        )


def number_queries(qid, y):
    """Return the number of each row's query, from 0: (n_samples,)."""
    check_given(qid)
    queries = column_or_1d(qid)
    check_consistent_length(y, queries)
    if queries.dtype.kind == "f":
        assert_all_finite(queries, input_name="qid")
    try:
        return np.unique(queries, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(f"qid must have values of one type, without missing ones: {error}.") from error
