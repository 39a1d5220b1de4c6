"""Metrics of rankings: by loops, beside trec_eval, and whatever the order and the length of the queries."""

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LinearRegression
from sklearn.metrics import ndcg_score
from sklearn.model_selection import GroupKFold, cross_val_score

from skafm import metrics
from skafm.metrics import (
    average_precision_at_k,
    hit_rate_at_k,
    make_ranking_scorer,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)

TREC = {
    hit_rate_at_k: "success_{k}",
    recall_at_k: "recall_{k}",
    reciprocal_rank_at_k: "recip_rank",
    average_precision_at_k: "map_cut_{k}",
    ndcg_at_k: "ndcg_cut_{k}",
}
every = pytest.mark.parametrize("metric", TREC)
ranks = pytest.mark.parametrize("k", [1, 5, 10])


def slow(metric, relevance, score, k):
    """Return the metric of one query without ties, by loops."""
    order = sorted(range(len(score)), key=lambda row: -score[row])
    hits = [relevance[row] > 0 for row in order]
    n_relevant, top = sum(hits), hits[:k]
    if metric is hit_rate_at_k:
        return float(any(top))
    if metric is recall_at_k:
        return sum(top) / n_relevant
    if metric is reciprocal_rank_at_k:
        return next((1 / (place + 1) for place, hit in enumerate(top) if hit), 0.0)
    if metric is average_precision_at_k:
        return sum(sum(top[: place + 1]) / (place + 1) for place, hit in enumerate(top) if hit) / n_relevant
    gains = [relevance[row] / np.log2(place + 2) for place, row in enumerate(order[:k])]
    best = [gain / np.log2(place + 2) for place, gain in enumerate(sorted(relevance, reverse=True)[:k])]
    return sum(gains) / sum(best)


def draw(n_queries=60, seed=0):
    """Return relevance, scores and queries of 1 to 30 rows, in no order; each query has a relevant row."""
    rng = np.random.default_rng(seed)
    qid = np.repeat(np.arange(n_queries), rng.integers(1, 31, n_queries))
    relevance = rng.choice([0, 0, 0, 0, 1, 2, 3], len(qid))
    relevance[np.searchsorted(qid, np.arange(n_queries))] = 1
    order = rng.permutation(len(qid))
    return relevance[order], rng.normal(size=len(qid)), qid[order]


@every
@ranks
def test_metric_equals_the_loops(metric, k):
    y, score, qid = draw()
    expected = np.mean([slow(metric, y[qid == query], score[qid == query], k) for query in np.unique(qid)])
    assert metric(y, score, qid, k=k) == pytest.approx(expected, rel=1e-12)


@every
@ranks
def test_metric_equals_trec_eval(metric, k):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    if metric is reciprocal_rank_at_k:
        k = None  # trec_eval has it without a cut
    y, score, qid = draw()
    run, truth = {}, {}
    for row, (relevance, value, query) in enumerate(zip(y.tolist(), score.tolist(), qid.tolist(), strict=True)):
        truth.setdefault(str(query), {})[str(row)] = relevance
        run.setdefault(str(query), {})[str(row)] = value
    name = TREC[metric].format(k=k)
    measure = name.replace(f"_{k}", f".{k}")
    found = pytrec_eval.RelevanceEvaluator(truth, {measure}).evaluate(run)
    assert metric(y, score, qid, k=k) == pytest.approx(np.mean([each[name] for each in found.values()]), rel=1e-6)


def test_ndcg_is_scikit_learns_mean_over_ragged_queries_with_ties():
    y, score, qid = draw()
    score = score.round()
    lengths = np.bincount(qid)
    expected = [1.0 if n == 1 else ndcg_score([y[qid == q]], [score[qid == q]], k=5) for q, n in enumerate(lengths)]
    assert ndcg_at_k(y, score, qid, k=5) == pytest.approx(np.mean(expected), rel=1e-12)


@every
def test_without_k_all_rows_count(metric):
    y, score, qid = draw()
    assert metric(y, score, qid, k=None) == pytest.approx(metric(y, score, qid, k=30))


@every
def test_order_of_rows_and_names_of_queries_do_not_matter_with_ties(metric):
    y, score, qid = draw()
    score = score.round()
    order = np.random.default_rng(1).permutation(len(y))
    names = np.array([f"query {query}" for query in qid])
    assert metric(y[order], score[order], names[order], k=3) == pytest.approx(metric(y, score, qid, k=3), rel=1e-12)


@pytest.mark.parametrize("metric", [metric for metric in TREC if metric is not ndcg_at_k])
def test_equal_scores_find_nothing(metric):
    assert metric([1, 0, 0, 0], [0.5] * 4, [0] * 4, k=3) == 0


@every
def test_queries_without_a_relevant_row_do_not_count(metric):
    y, score, qid = draw()
    more = (np.append(y, [0, 0]), np.append(score, [1.0, 2.0]), np.append(qid, [-1, -1]))
    assert metric(*more, k=5) == metric(y, score, qid, k=5)


@every
def test_perfect_scores_have_the_best_value(metric):
    y, _, qid = draw()
    assert metric(y, y, qid, k=30) == pytest.approx(1)


def test_many_queries_take_little_time():
    y, score, qid = draw(20_000)
    for metric in TREC:
        assert 0 < metric(y, score, qid) < 1


@every
@pytest.mark.parametrize(
    ("y", "score", "qid", "k", "message"),
    [
        ([1, 0], [1.0, 2.0], [0, 0], 0, "k must be a positive integer, or None for all rows, got 0"),
        ([1, 0], [1.0, 2.0], [0, 0], 2.5, "k must be a positive integer, or None for all rows, got 2.5"),
        ([1, -1], [1.0, 2.0], [0, 0], 1, "y_true must be at least 0, .* its least value is -1"),
        ([0, 0], [1.0, 2.0], [0, 0], 1, "No query has a row of relevance above 0"),
        ([1, 0], [1.0, np.nan], [0, 0], 1, "Input y_score contains NaN"),
        ([1, np.inf], [1.0, 2.0], [0, 0], 1, "Input y_true contains infinity"),
        ([1, 0], [1.0, 2.0, 3.0], [0, 0], 1, "inconsistent numbers of samples"),
        ([1, 0], [1.0, 2.0], [0], 1, "inconsistent numbers of samples"),
        ([], [], [], 1, "No query has a row of relevance above 0"),
    ],
)
def test_malformed_input_is_refused(metric, y, score, qid, k, message):
    with pytest.raises(ValueError, match=message):
        metric(y, score, qid, k=k)


# --- scorers ----------------------------------------------------------------------------------------------------------


@every
def test_scorer_gets_the_queries_of_each_fold(metric):
    y, score, qid = draw()
    X = np.column_stack([score, np.random.default_rng(2).normal(size=len(y))])
    with sklearn.config_context(enable_metadata_routing=True):
        scorer, cv = make_ranking_scorer(metric, k=4), GroupKFold(3)
        params = {"groups": qid, "qid": qid}
        found = cross_val_score(LinearRegression(), X, y, scoring=scorer, cv=cv, params=params)
    expected = []
    for train, test in cv.split(X, y, qid):
        prediction = LinearRegression().fit(X[train], y[train]).predict(X[test])
        expected.append(metric(y[test], prediction, qid[test], k=4))
    np.testing.assert_allclose(found, expected)


def test_every_metric_is_public():
    assert {metric.__name__ for metric in TREC} | {"make_ranking_scorer"} == {*metrics.__all__}
