"""Rankers: what they learn, and how queries are passed, held out and left out; the losses are in ``tests/training``."""

import pickle

import numpy as np
import onnxruntime
import pytest
import sklearn
import skops.io
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder

from skafm import AFMRanker, FMRanker
from skafm._estimators.ranking_metrics import METRICS
from skafm._training.collectives import SINGLE_PROCESS
from skafm.metrics import make_ranking_scorer, ndcg_at_k, recall_at_k
from skafm.onnx import to_onnx

both = pytest.mark.parametrize("Ranker", [FMRanker, AFMRanker])
losses = pytest.mark.parametrize("loss", ["pairwise", "softmax", "lambdarank"])
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"n_factors": 3, "max_iter": 4, "random_state": 0}


@pytest.fixture
def searches():
    """Sparse rows of three one-hot columns, grades from 0 to 2 by pairs of them, and 60 queries, in any order."""
    rng = np.random.default_rng(0)
    columns, qid = rng.integers(0, 4, (900, 3)), rng.integers(0, 60, 900)
    y = (columns[:, 0] == columns[:, 1]).astype(float) + (columns[:, 1] == columns[:, 2])
    return OneHotEncoder().fit_transform(columns), y, qid


@pytest.fixture
def users():
    """Rows of a user and a genre, and whether the user likes it: each user is a query, and has a column."""
    rng = np.random.default_rng(0)
    user, genre = rng.integers(0, 30, 1500), rng.integers(0, 5, 1500)
    return OneHotEncoder().fit_transform(np.column_stack([user, genre])), (user % 5 == genre).astype(int), user


# --- it learns --------------------------------------------------------------------------------------------------------


@both
@losses
def test_default_ranker_learns_an_order_by_interactions(Ranker, loss, searches):
    X, y, qid = searches
    train = qid < 45
    model = Ranker(loss=loss, random_state=0).fit(X[train], y[train], qid=qid[train])
    assert ndcg_at_k(y, np.zeros(900), qid) < 0.85
    assert model.score(X[~train], y[~train], qid=qid[~train]) > 0.98


@both
def test_ranker_learns_what_each_user_likes(Ranker, users):
    X, y, qid = users
    model = Ranker(random_state=0).fit(X[:1000], y[:1000], qid=qid[:1000])
    assert model.score(X[1000:], y[1000:], qid=qid[1000:]) > 0.95


def slow_loss(loss, s, grade):
    """Return the loss of a query by its scores s."""
    better, terms = grade[:, None] > grade, np.logaddexp(0, s - s[:, None])
    discount = 1 / np.log2(2 + s.argsort()[::-1].argsort())
    change = np.abs((grade[:, None] - grade) * (discount[:, None] - discount))
    return {
        "pairwise": np.average(terms[better]),
        "softmax": -grade / grade.sum() @ (s - np.log(np.exp(s).sum())),
        "lambdarank": np.average(terms[better], weights=change[better]),
    }[loss]


@losses
def test_first_objective_is_the_mean_loss_of_the_queries(loss, searches):
    X, y, qid = searches
    settings = {"l2_linear": 0.0, "l2_factors": 0.0, "early_stopping": False, "batch_size": 900, "shuffle": False}
    model = FMRanker(loss=loss, warm_start=True, **settings | SMALL).fit(X, y, qid=qid)
    raw = model.predict(X)
    total = sum(np.sum(qid == q) * slow_loss(loss, raw[qid == q], y[qid == q]) for q in range(60))
    assert model.set_params(max_iter=1).fit(X, y, qid=qid).loss_curve_[0] == pytest.approx(total / 900, rel=1e-9)


def test_lambdarank_at_k_ranks_other_rows_first(searches):
    X, y, qid = searches
    scores = [FMRanker(loss="lambdarank", k=k, **SMALL).fit(X, y, qid=qid).predict(X) for k in (None, 1)]
    assert not np.allclose(*scores)


def test_intercept_that_no_order_depends_on_is_not_trained():
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3
    assert FMRanker(**SMALL, solver="adam").fit(X, y, qid=np.arange(60) // 6).intercept_ == 0


@both
def test_same_seed_gives_the_same_bits_and_sparse_those_of_dense(Ranker, searches):
    X, y, qid = searches
    first, second, dense = (Ranker(**SMALL, dropout=0.2).fit(rows, y, qid=qid) for rows in (X, X, X.toarray()))
    assert np.array_equal(first.predict(X), second.predict(X))
    assert np.array_equal(first.predict(X), dense.predict(X))


def test_ranker_is_trained_in_float32_on_rows_in_float32(searches):
    X, y, qid = searches
    model = FMRanker(random_state=0).fit(X.astype(np.float32), y, qid=qid)
    assert model.predict(X.astype(np.float32)).dtype == np.float32
    assert model.score(X, y, qid=qid) > 0.98


@both
def test_rows_that_do_not_fit_memory_together_are_ranked_within_parts(Ranker, searches):
    X, y, qid = searches
    with sklearn.config_context(working_memory=0.02):
        model = Ranker(random_state=0).fit(X, y, qid=qid)
    assert model.score(X, y, qid=qid) > 0.98


@pytest.mark.parametrize("init", ["fm", FMRanker(3, max_iter=4, random_state=0)])
def test_attention_starts_from_a_factorization_machine(init, searches):
    X, y, qid = searches
    init = init if init == "fm" else init.fit(X, y, qid=qid)
    model = AFMRanker(init=init, freeze_init=True, **SMALL).fit(X, y, qid=qid)
    assert model.score(X, y, qid=qid) > 0.9
    if init != "fm":
        np.testing.assert_allclose(model.factors_, init.factors_, rtol=1e-12)


# --- queries ----------------------------------------------------------------------------------------------------------


def test_queries_may_be_strings(searches):
    X, y, qid = searches
    names = np.array([f"query {q:02d}" for q in qid])
    scores = [FMRanker(**SMALL).fit(X, y, qid=each).predict(X) for each in (qid, names, names.astype(object))]
    assert np.array_equal(scores[0], scores[1])
    assert np.array_equal(scores[0], scores[2])


def test_rows_of_a_query_may_be_anywhere(searches):
    X, y, qid = searches
    settings = SMALL | {"batch_size": 900, "early_stopping": False}
    order = np.argsort(qid, kind="stable")
    scores = [FMRanker(**settings).fit(X[o], y[o], qid=qid[o]).predict(X) for o in (np.arange(900), order)]
    np.testing.assert_allclose(*scores, rtol=1e-9)


def test_queries_of_one_grade_and_rows_of_weight_zero_change_nothing(searches):
    X, y, qid = searches
    settings = SMALL | {"early_stopping": False}
    expected = FMRanker(**settings).fit(X, y, qid=qid, sample_weight=np.ones(900))
    more = sparse.vstack([X, X[:9]], format="csr"), np.r_[y, np.ones(5), 0, 2, 0, 2]
    qid = np.r_[qid, [70] * 4, 71, 72, 72, 3, 4]
    weight = np.r_[np.ones(906), 0, 0, 0]  # the only other grade of query 72, and rows of known queries
    found = FMRanker(**settings).fit(*more, qid=qid, sample_weight=weight)
    assert np.array_equal(found.predict(X), expected.predict(X))


def test_weights_say_which_rows_matter(searches):
    X, y, qid = searches
    opposite = np.where(qid % 2, y, 2 - y)
    model = FMRanker(random_state=0).fit(X, opposite, qid=qid, sample_weight=np.where(qid % 2, 1.0, 0.01))
    assert model.score(X, y, qid=qid) > 0.95


GOOD = {"X": np.eye(6)[np.arange(30) % 6], "y": np.arange(30) % 3, "qid": np.arange(30) // 6}
VALIDATION = {"X_val": GOOD["X"], "y_val": GOOD["y"], "qid_val": GOOD["qid"]}
WRONG = {
    "no qid": ({"qid": None}, r"qid must be given: .*set_fit_request\(qid=True\)"),
    "qid of another length": ({"qid": np.zeros(29)}, r"inconsistent numbers of samples: \[30, 29\]"),
    "qid of two columns": ({"qid": np.zeros((30, 2))}, "y should be a 1d array"),
    "qid with nan": ({"qid": np.r_[np.nan, np.zeros(29)]}, "qid contains NaN"),
    "qid with None": ({"qid": [None, *"a" * 29]}, "one type, without missing ones"),
    "a query for each row": ({"qid": np.arange(30)}, r"No query has rows of two grades: .* n_samples=30 .* 30 queries"),
    "one grade": ({"y": np.ones(30)}, r"values from 1 to 1, .*Pass as qid what the rows that compete"),
    "negative relevance": ({"y": np.arange(30) - 1}, "at least 0, the relevance of a row, but its least value is -1"),
    "relevance with nan": ({"y": np.r_[np.nan, np.ones(29)]}, "y contains NaN"),
    "relevance of strings": ({"y": ["good"] * 30}, "one number for each row, its relevance"),
    "two columns": ({"y": np.ones((30, 2))}, "one number for each row, its relevance"),
    "validation without queries": (VALIDATION | {"qid_val": None}, "Invalid X_val, y_val .*qid must be given"),
    "validation without rows": ({"y_val": GOOD["y"]}, "must be given together"),
    "validation of one grade": (VALIDATION | {"y_val": np.ones(30)}, "Invalid X_val.*No query has rows of two grades"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_invalid_queries_are_refused_and_the_model_stays(given, message):
    model = FMRanker(**SMALL).fit(**GOOD)
    before = pickle.dumps(model)
    with pytest.raises(ValueError, match=message):
        model.fit(**GOOD | given)
    assert pickle.dumps(model) == before


def test_score_without_queries_is_refused():
    model = FMRanker(**SMALL).fit(**GOOD)
    with pytest.raises(ValueError, match=r"qid must be given: .*set_score_request\(qid=True\)"):
        model.score(GOOD["X"], GOOD["y"])


def test_validation_queries_without_rows_are_refused():
    with pytest.raises(ValueError, match="qid_val needs X_val and y_val"):
        FMRanker(**SMALL).fit(**GOOD, qid_val=GOOD["qid"])


# --- score and early stopping -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [None, 2])
@pytest.mark.parametrize("metric", METRICS)
def test_score_is_the_metric_at_k(metric, k, searches):
    X, y, qid = searches
    model = FMRanker(metric=metric, k=k, **SMALL | {"max_iter": 1}).fit(X, y, qid=qid)
    assert model.score(X, y, qid=qid) == METRICS[metric](y, model.predict(X), qid, k=k)


def test_score_leaves_out_rows_of_weight_zero(searches):
    X, y, qid = searches
    model = FMRanker(**SMALL).fit(X, y, qid=qid)
    weight = np.arange(900) % 3
    kept = weight > 0
    assert model.score(X, y, weight, qid=qid) == model.score(X[kept], y[kept], qid=qid[kept])


@both
def test_training_stops_early_by_the_metric_and_keeps_the_best_epoch(Ranker, searches):
    X, y, qid = searches
    noisy = np.random.default_rng(0).permutation(y[:300])
    held_out = {"X_val": X[300:], "y_val": y[300:], "qid_val": qid[300:]}
    model = Ranker(k=3, tol=0, random_state=0).fit(X[:300], noisy, qid=qid[:300], **held_out)
    assert model.n_iter_ < 100
    assert model.best_iter_ == 1 + np.argmax(model.validation_scores_)
    assert model.score(X[300:], y[300:], qid=qid[300:]) == pytest.approx(max(model.validation_scores_), rel=1e-6)


def test_validation_score_may_be_the_loss(searches):
    X, y, qid = searches
    model = FMRanker(scoring="loss", **SMALL).fit(X, y, qid=qid)
    assert -np.log(2) <= max(model.validation_scores_) < 0


def test_validation_score_may_be_a_function_of_the_queries(searches):
    X, y, qid = searches
    given = {"X_val": X[600:], "y_val": y[600:], "qid_val": qid[600:]}
    recall = lambda model, X, y, qid: recall_at_k(y, model.predict(X), qid, k=2)  # noqa: E731
    model, expected = (
        FMRanker(**SMALL, **how).fit(X[:600], y[:600], qid=qid[:600], **given)
        for how in ({"scoring": recall}, {"metric": "recall", "k": 2})
    )
    assert model.validation_scores_ == expected.validation_scores_


def test_whole_queries_are_held_out(searches):
    X, y, qid = searches
    train, validation = split(X, y, qid)
    assert len(set(train) & set(validation)) == 0
    assert len(set(validation)) == 6


def test_rows_are_held_out_if_queries_have_columns(users):
    train, validation = split(*users)
    assert set(train) >= set(validation)
    assert 80 < len(validation) <= 150


def split(X, y, qid):
    """Return the queries of the rows to train on, and of those held out."""
    model = FMRanker(**SMALL)
    parts = model._split_validation((X, (y, qid), None), (None, None, None), SINGLE_PROCESS, reset=True)
    return [part.y[:, 1].tolist() for part in parts]


def test_few_queries_are_not_held_out():
    model = FMRanker(**SMALL | {"max_iter": 1})
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 3)), rng.integers(0, 3, 400)
    assert model.fit(X, y, qid=np.arange(400) % 19).validation_scores_ is None
    assert model.fit(X, y, qid=np.arange(400) % 20).validation_scores_ is not None


# --- scikit-learn -----------------------------------------------------------------------------------------------------


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def routed(model):
    return model.set_fit_request(qid=True).set_score_request(qid=True)


@both
@pytest.mark.usefixtures("routing")
def test_cross_validation_gives_each_fold_its_queries(Ranker, searches):
    X, y, qid = searches
    model, cv = routed(Ranker(**SMALL)), GroupKFold(3)
    scores = cross_val_score(model, X, y, cv=cv, params={"qid": qid, "groups": qid}, error_score="raise")
    expected = [clone(model).fit(X[a], y[a], qid=qid[a]).score(X[b], y[b], qid=qid[b]) for a, b in cv.split(X, y, qid)]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


@both
@pytest.mark.usefixtures("routing")
def test_grid_search_gives_each_fold_its_queries(Ranker, searches):
    X, y, qid = searches
    grid = {"loss": ["pairwise", "softmax"], "n_factors": [2, 4]}
    search = GridSearchCV(routed(Ranker(**SMALL)), grid, cv=GroupKFold(3), error_score="raise")
    search.fit(X, y, qid=qid, groups=qid)
    assert len(set(search.cv_results_["mean_test_score"])) == 4
    assert search.score(X, y, qid=qid) == search.best_estimator_.score(X, y, qid=qid)


@pytest.mark.usefixtures("routing")
def test_rankers_are_compared_by_other_metrics(searches):
    X, y, qid = searches
    model, scorer = FMRanker(**SMALL).set_fit_request(qid=True), make_ranking_scorer(recall_at_k, k=2)
    scores = cross_val_score(model, X, y, cv=KFold(2), scoring=scorer, params={"qid": qid}, error_score="raise")
    fitted = clone(model).fit(X[450:], y[450:], qid=qid[450:])
    assert scores[0] == recall_at_k(y[:450], fitted.predict(X[:450]), qid[:450], k=2)


@pytest.mark.usefixtures("routing")
def test_queries_are_routed_through_a_pipeline(searches):
    X, y, qid = searches
    table = X.toarray().reshape(900, 3, 4).argmax(2)
    pipeline = make_pipeline(OneHotEncoder(), routed(FMRanker(**SMALL))).fit(table, y, qid=qid)
    assert np.array_equal(pipeline.predict(table), FMRanker(**SMALL).fit(X, y, qid=qid).predict(X))
    assert pipeline.score(table, y, qid=qid) == pipeline[-1].score(X, y, qid=qid)


@pytest.mark.usefixtures("routing")
def test_pipeline_is_searched_with_its_queries(searches):
    X, y, qid = searches
    pipeline = make_pipeline(MaxAbsScaler(), routed(FMRanker(**SMALL)))
    search = GridSearchCV(pipeline, {"fmranker__n_factors": [2, 4]}, cv=GroupKFold(2), error_score="raise")
    search.fit(X, y, qid=qid, groups=qid)
    assert len(set(search.cv_results_["mean_test_score"])) == 2


# --- a fitted ranker --------------------------------------------------------------------------------------------------


@both
def test_explanation_sums_to_the_score(Ranker, searches):
    X, y, qid = searches
    model = Ranker(**SMALL).fit(X, y, qid=qid)
    np.testing.assert_allclose(model.explain(X[:20]).sum(), model.predict(X[:20]), rtol=1e-10, atol=1e-12)


@both
@pytest.mark.parametrize("store", ["pickle", "skops"])
def test_stored_ranker_scores_the_same_bits(Ranker, store, searches):
    X, y, qid = searches
    model = Ranker(**SMALL).fit(X, y, qid=qid)
    trusted = [f"skafm.{Ranker.__name__}"]
    stored = pickle.loads(pickle.dumps(model)) if store == "pickle" else skops.io.loads(skops.io.dumps(model), trusted)
    assert np.array_equal(stored.predict(X), model.predict(X))


@both
def test_graph_scores_as_the_ranker_does(Ranker, searches):
    X, y, qid = searches
    model = Ranker(**SMALL).fit(X, y, qid=qid)
    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    arrays = {"indices": X.indices, "data": X.data, "indptr": X.indptr}
    np.testing.assert_allclose(session.run(["variable"], arrays)[0], model.predict(X), rtol=1e-10, atol=1e-12)


@both
def test_graph_of_a_pipeline_scores_as_the_pipeline_does(Ranker, searches):
    X, y, qid = searches
    table, name = X.toarray().reshape(900, 3, 4).argmax(2), Ranker.__name__.lower()
    pipeline = make_pipeline(OneHotEncoder(), Ranker(**SMALL)).fit(table, y, **{f"{name}__qid": qid})
    session = onnxruntime.InferenceSession(to_onnx(pipeline, table).SerializeToString())
    found = session.run(["variable"], {"X": table})[0]
    np.testing.assert_allclose(found, pipeline.predict(table), rtol=1e-4, atol=1e-5)


def test_warm_start_resumes(searches):
    X, y, qid = searches
    model = FMRanker(warm_start=True, **SMALL).fit(X, y, qid=qid)
    first = model.loss_curve_[0]
    assert model.fit(X, y, qid=qid).loss_curve_[0] < first


def test_missing_user_counts_as_the_average_one(users):
    X, y, qid = users
    model = FMRanker(**SMALL).fit(X, y, qid=qid)
    genre = sparse.csr_array((np.ones(5), (np.arange(5), 30 + np.arange(5))), (5, 35))
    everyone = [sparse.csr_array(np.hstack([np.eye(30), np.tile(np.eye(5)[g], (30, 1))])) for g in range(5)]
    mean = np.array([model.predict(each).mean() for each in everyone])
    np.testing.assert_allclose(np.diff(model.predict(genre)), np.diff(mean), atol=0.1 * np.ptp(mean) + 1e-3)
