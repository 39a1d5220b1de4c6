"""Models of what was observed alone: what they learn, what they draw, and how observed items rank."""

import pickle

import numpy as np
import pytest
import sklearn
import skops.io
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skafm import AFMClassifier, AFMRanker, FMClassifier, FMRanker, FMRegressor, ImplicitFeedback
from skafm._training import negative_sampling
from skafm._training.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"n_factors": 4, "max_iter": 5, "random_state": 0}
ITEMS = slice(0, 20)
MODELS = {
    "BPR": FMRanker(random_state=0),
    "sampled softmax": FMRanker(loss="softmax", random_state=0),
    "AFM": AFMRanker(random_state=0),
    "log loss": FMClassifier(random_state=0),
    "log loss, AFM": AFMClassifier(random_state=0),
}


@pytest.fixture
def plays():
    """Rows of a film, its genre, and a user, who plays the films of two genres; and the users."""
    rng = np.random.default_rng(0)
    user, half = rng.integers(0, 30, (2, 1200))
    genre = np.where(half % 2, user % 5, (user + 1) % 5)
    film = genre + 5 * rng.integers(0, 3, 1200)
    return sparse.csr_array(np.hstack([np.eye(15)[film], np.eye(5)[genre], np.eye(30)[user]])), user


def make(estimator=None, **parameters):
    estimator = FMRanker(**SMALL) if estimator is None else estimator
    return ImplicitFeedback(estimator, ITEMS, **{"n_negatives": 2, "random_state": 0} | parameters)


@pytest.fixture
def drawn(monkeypatch):
    """The items of the rows of each draw."""
    draws, draw = [], negative_sampling.ImplicitRows.draw

    def record(self):
        draws.append((self.group, draw(self).reshape(len(self.item), -1)))
        return draws[-1][1].ravel()

    monkeypatch.setattr(negative_sampling.ImplicitRows, "draw", record)
    return draws


@pytest.mark.parametrize("popularity", [0.0, 0.75])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_observed_items_rank_above_others(model, popularity, plays):
    X, _ = plays
    fitted = make(model, popularity=popularity, exclude_known=False, k=6).fit(X[:900])
    best = np.mean(1 / np.log2(1 + np.arange(1, 7)))  # six items of the user's genres
    assert fitted.score(X[900:]) > 0.93 * best
    assert fitted.estimator_.n_iter_ < 100


ALL = {"n_negatives": "all", "k": 6}
SOFTMAX = FMRanker(**SMALL, loss="softmax")


def test_observed_items_rank_above_others_if_all_compete(plays):
    X, user = plays
    best = np.mean(1 / np.log2(1 + np.arange(1, 7)))  # six items of the user's genres
    fitted = make(FMRanker(8, loss="softmax", random_state=0), exclude_known=False, **ALL).fit(X[:900], qid=user[:900])
    assert fitted.score(X[900:]) > 0.93 * best
    assert fitted.estimator_.n_iter_ < 100


def test_scores_of_all_items_are_the_validation_score(plays):
    X, user = plays
    users, last = np.unique(user[900:], return_index=True)
    X_val = X[900 + last]
    model = make(SOFTMAX, n_negatives="all", k=15).fit(X[:900], qid=user[:900], X_val=X_val, qid_val=users)
    scores = model.estimator_.validation_scores_
    assert model.score(X_val, qid=users) == pytest.approx(max(scores))
    assert model.estimator_.best_iter_ == 1 + np.argmax(scores)


@pytest.mark.parametrize("n_negatives", [2, "all"])
def test_validation_set_is_not_trained_on(n_negatives, plays):
    X, user = plays
    given = {"qid": user[:900], "X_val": X[900:], "qid_val": user[900:]}
    stopped = make(SOFTMAX, n_negatives=n_negatives).fit(X[:900], **given)
    n = stopped.estimator_.best_iter_
    alone = clone(SOFTMAX).set_params(early_stopping=False, max_iter=n, tol=0)
    alone = make(alone, n_negatives=n_negatives).fit(X[:900], qid=user[:900])
    np.testing.assert_allclose(alone.predict(X[900:]), stopped.predict(X[900:]))
    assert stopped.item_counts_.sum() == 900


def test_items_of_the_validation_set_compete(plays):
    X, user = plays
    seen = X[:, 3].toarray().ravel() == 0
    model = make(SOFTMAX, n_negatives="all").fit(X[seen], qid=user[seen], X_val=X[~seen], qid_val=user[~seen])
    assert model.items_.shape[0] == 15
    assert sorted(model.item_counts_)[0] == 0


def test_all_items_compete_whatever_the_memory(plays):
    X, user = plays
    settings = make(SOFTMAX, n_negatives="all").set_params(estimator__batch_size=1, estimator__max_iter=2)
    expected = settings.fit(X[:40], qid=user[:40]).predict(X)
    with sklearn.config_context(working_memory=1e-4):
        many = settings.set_params(estimator__batch_size=40)
        np.testing.assert_array_equal(many.fit(X[:40], qid=user[:40]).predict(X), expected)


@pytest.mark.parametrize("estimator", [FMRanker(), FMClassifier(), AFMRanker(loss="softmax")])
def test_estimators_whose_scores_are_no_product_need_a_number_of_negatives(estimator, plays):
    with pytest.raises(TypeError, match=r"n_negatives='all' is for FMRanker\(loss='softmax'\)"):
        make(estimator, n_negatives="all").fit(plays[0])


def test_scorers_of_rows_cannot_score_a_catalog(plays):
    with pytest.raises(ValueError, match="scoring must be 'metric' or 'loss' if all items compete"):
        make(clone(SOFTMAX).set_params(scoring=lambda *_: 0.0), n_negatives="all").fit(plays[0])


def negatives(group, items):
    """Return the pairs of query and item of the negative rows."""
    return {(user, item) for user, row in zip(group, items, strict=True) for item in row[1:]}


def test_each_epoch_draws_anew_and_never_a_known_item(plays, drawn):
    X, user = plays
    model = make(FMRanker(**SMALL, early_stopping=False, tol=0)).fit(X, qid=user)
    assert len(drawn) == 1 + model.estimator_.n_iter_ == 6
    group, first = drawn[0]
    known = set(zip(group, first[:, 0], strict=True))
    assert not known & {pair for _, items in drawn for pair in negatives(group, items)}
    assert len({items.tobytes() for _, items in drawn}) == 6


def test_queries_say_which_items_are_known(plays, drawn):
    X, user = plays
    with_time = sparse.hstack([X, np.arange(1200)[:, None] / 1200.0], format="csr")  # each context is another
    make(FMRanker(**SMALL, early_stopping=False)).fit(with_time)
    by_context, _ = drawn.pop(), drawn.clear()
    make(FMRanker(**SMALL, early_stopping=False)).fit(with_time, qid=user)
    assert len(np.unique(by_context[0])) == 1200
    assert len(np.unique(drawn[0][0])) == 30


def test_known_items_are_drawn_if_asked(plays, drawn):
    X, _ = plays
    make(FMRanker(**SMALL, early_stopping=False), exclude_known=False, n_negatives=15).fit(X)
    assert all(np.mean(items[:, 1:] == items[:, :1]) == pytest.approx(1 / 15, rel=0.2) for _, items in drawn)


def test_items_are_drawn_by_popularity(plays, drawn):
    X, _ = plays
    X = sparse.vstack([X, *[X[:1]] * 600], format="csr")
    model = make(FMRanker(**SMALL, early_stopping=False), exclude_known=False, popularity=0.5).fit(X)
    expected = np.sqrt(model.item_counts_) / np.sqrt(model.item_counts_).sum()
    counts = np.bincount(np.concatenate([items[:, 1:].ravel() for _, items in drawn]), minlength=15)
    np.testing.assert_allclose(counts / counts.sum(), expected, atol=0.01)


def test_items_are_the_distinct_rows_of_their_columns(plays):
    X, _ = plays
    model = make().fit(X)
    found = {tuple(row) for row in model.items_.toarray()}
    assert found == {tuple(row) for row in np.hstack([X.toarray()[:, ITEMS], np.zeros((1200, 30))])}
    assert len(found) == model.items_.shape[0] == 15
    assert model.item_counts_.sum() == 1200


def test_held_out_items_may_be_drawn_in_training(plays, drawn):
    X, user = plays
    model = make().fit(X[:200], qid=user[:200])
    (group, training), (held_out_group, held_out) = drawn[:2]
    assert len(held_out) == 20
    assert model.estimator_.validation_scores_ is not None
    known = set(zip(group, training[:, 0], strict=True))
    assert not known & negatives(held_out_group, held_out)
    later = set(zip(held_out_group, held_out[:, 0], strict=True)) - known
    assert later & {pair for each, items in drawn if len(items) > 20 for pair in negatives(each, items)}


def test_rows_that_are_held_out_are_corrected_for_how_often_items_are_drawn(plays, monkeypatch):
    X, user = plays
    sets, train_once = [], Trainer.train_once
    monkeypatch.setattr(Trainer, "train_once", lambda self, data: (sets.append(data), train_once(self, data)))
    model = make(SOFTMAX, popularity=0.5).fit(X, qid=user)
    rows = sparse.csr_array((np.ones(3 * 360), sets[0].rows.indices, sets[0].rows.indptr), (360, 50)).toarray()
    item = [model.items_.toarray()[:, ITEMS].tolist().index(row[ITEMS].tolist()) for row in rows]
    np.testing.assert_allclose(sets[0].target[:, 2], model.item_counts_[item] ** -0.5)


def test_rows_of_weight_zero_change_nothing_and_others_count_by_weight(plays):
    X, _ = plays
    settings = FMRanker(**SMALL, early_stopping=False)
    more = sparse.vstack([X, X[:5]], format="csr")
    expected = make(settings).fit(X, sample_weight=np.ones(1200)).predict(X)
    assert np.array_equal(
        make(settings).fit(more, sample_weight=np.r_[np.ones(1200), np.zeros(5)]).predict(X), expected
    )
    assert not np.allclose(make(settings).fit(X, sample_weight=np.arange(1200)).predict(X), expected)


def test_same_seeds_give_the_same_bits(plays):
    X, _ = plays
    assert np.array_equal(make().fit(X).predict(X), clone(make()).fit(X.toarray()).predict(X))
    assert not np.array_equal(make().fit(X).predict(X), make(random_state=1).fit(X).predict(X))


def test_score_is_the_mean_ndcg_of_the_rows_items_among_all_that_were_not_known(plays):
    X, user = plays
    model = make(k=3).fit(X[:300], qid=user[:300])
    known = {(u, tuple(row)) for u, row in zip(user[:300], X[:300].toarray()[:, :15], strict=True)}
    items, gains = model.items_.toarray(), []
    for u, row in zip(user[300:320], X[300:320].toarray(), strict=True):
        rows = np.hstack([items[:, ITEMS], np.tile(row[20:], (len(items), 1))])
        scores, own = model.predict(rows), model.predict(row[None])[0]
        left = [(u, tuple(each[:15])) not in known for each in items]
        others = [
            s for s, each, ok in zip(scores, items, left, strict=True) if ok and (each[ITEMS] != row[ITEMS]).any()
        ]
        rank = 1 + sum(s >= own for s in others)
        gains.append(1 / np.log2(1 + rank) if rank <= 3 else 0)
    assert model.score(X[300:320], qid=user[300:320]) == pytest.approx(np.mean(gains))


def test_score_does_not_depend_on_the_memory(plays):
    X, user = plays
    model = make().fit(X[:300], qid=user[:300])
    expected = model.score(X[300:330], qid=user[300:330])
    with sklearn.config_context(working_memory=1e-4):
        assert model.score(X[300:330], qid=user[300:330]) == expected


def test_score_of_an_item_that_was_not_seen_is_its_rank(plays):
    X, _ = plays
    kept = X[:, 3].toarray().ravel() == 0
    model = make().fit(X[kept])
    assert model.items_.shape[0] == 14
    assert 0 <= model.score(X[~kept][:5]) <= 1


def test_classifier_predicts_what_its_estimator_does(plays):
    X, _ = plays
    model = make(FMClassifier(**SMALL)).fit(X)
    for method in ("predict", "predict_proba", "decision_function"):
        assert np.array_equal(getattr(model, method)(X), getattr(model.estimator_, method)(X))
    assert not hasattr(make(), "predict_proba")


@pytest.mark.parametrize("store", ["pickle", "skops"])
def test_stored_model_scores_the_same_bits(store, plays):
    X, user = plays
    model = make().fit(X, qid=user)
    trusted = ["skafm.FMRanker", "skafm.ImplicitFeedback"]
    stored = pickle.loads(pickle.dumps(model)) if store == "pickle" else skops.io.loads(skops.io.dumps(model), trusted)
    assert np.array_equal(stored.predict(X), model.predict(X))
    assert stored.score(X[:20], qid=user[:20]) == model.score(X[:20], qid=user[:20])


def test_grid_search_reaches_the_estimator_and_the_sampling(plays):
    X, user = plays
    grid = {"implicitfeedback__n_negatives": [1, 3], "implicitfeedback__estimator__n_factors": [2, 4]}
    with sklearn.config_context(enable_metadata_routing=True):
        model = make().set_fit_request(qid=True).set_score_request(qid=True)
        search = GridSearchCV(make_pipeline(MaxAbsScaler(), model), grid, cv=KFold(2), error_score="raise")
        search.fit(X, qid=user)
    assert len(set(search.cv_results_["mean_test_score"])) == 4


WRONG = {
    "columns that X has not": ({"item_columns": [3, 50]}, {}, "item_columns must choose columns of X, which has 50"),
    "no columns": ({"item_columns": []}, {}, "item_columns must choose some columns of X"),
    "all columns": ({"item_columns": slice(None)}, {}, r"leave others .* which chooses 50"),
    "a single item": ({}, {"X": np.eye(50)[[0] * 9] + np.eye(50)[30:39]}, "no item to draw for 9 of 9 queries"),
    "queries of another length": ({}, {"qid": np.zeros(3)}, "inconsistent numbers of samples"),
    "no negatives": ({"n_negatives": 0}, {}, "'n_negatives' parameter"),
    "a validation set without queries": ({}, {"qid": np.zeros(1200), "X_val": np.eye(50)[:3]}, "qid_val must be given"),
    "queries of no validation set": ({}, {"qid": np.zeros(1200), "qid_val": np.zeros(3)}, "qid_val must be given"),
    "a query too many and one of validation too few": (
        {},
        {"qid": np.zeros(1201), "X_val": np.eye(50)[:3], "qid_val": np.zeros(2)},
        "inconsistent numbers of samples",
    ),
    "a validation set that is too narrow": ({}, {"X_val": np.eye(40)}, "X has 40 features, but"),
}


@pytest.mark.parametrize(("parameters", "given", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_drawn_from_is_refused(parameters, given, message, plays):
    with pytest.raises(ValueError, match=message):
        make().set_params(**parameters).fit(**{"X": plays[0]} | given)


def test_other_estimators_are_refused(plays):
    with pytest.raises(TypeError, match="must be a ranker or a classifier of skafm"):
        make(FMRegressor()).fit(plays[0])
