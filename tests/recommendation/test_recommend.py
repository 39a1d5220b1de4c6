"""Which items are recommended: masks, ties, units, missing fields, vectors, errors. Every model: contract_recommend."""

import copy

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skafm import AFMRegressor, FMClassifier, FMRegressor
from skafm.recommendation import context_vectors, item_vectors, recommend

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_USERS, N_ITEMS = 12, 40
EYE = sparse.csr_array(np.eye(N_USERS + N_ITEMS))
USERS, ITEMS = EYE[:N_USERS], EYE[N_USERS:]
USER, ITEM = np.divmod(np.arange(N_USERS * N_ITEMS), N_ITEMS)
X = USERS[USER] + ITEMS[ITEM]
Y = 3 + np.sin(USER) * np.cos(ITEM) + 0.1 * ITEM
SMALL = {"n_factors": 3, "max_iter": 20, "tol": 10.0, "n_iter_no_change": 1, "random_state": 0}  # two epochs
FM = FMRegressor(**SMALL).fit(X, Y)
AFM = AFMRegressor(attention_size=2, **SMALL).fit(X, Y)
each = pytest.mark.parametrize("model", [FM, AFM], ids=["products", "predictions"])
MASK = np.random.default_rng(0).random((N_USERS, N_ITEMS)) < 0.7


def brute_force(model, allowed, n):
    """Return the n best allowed items of each user by predictions; -1 where there are fewer."""
    scores = np.where(allowed, model.predict(X).reshape(N_USERS, N_ITEMS), -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    return np.where(np.isfinite(np.take_along_axis(scores, order, axis=1)), order, -1)


@each
def test_excluded_items_are_not_recommended(model):
    expected = brute_force(model, ~MASK, 5)
    assert (recommend(model, USERS, ITEMS, 5, exclude=sparse.csr_array(MASK * 3.5))[0] == expected).all()


@each
def test_only_candidates_are_recommended(model):
    indices, _ = recommend(model, USERS, ITEMS, 5, candidates=MASK)
    assert (indices == brute_force(model, MASK, 5)).all()


@each
def test_an_excluded_candidate_is_not_recommended(model):
    candidates = np.roll(MASK, 1, axis=1)
    indices, _ = recommend(model, USERS, ITEMS, 5, exclude=MASK, candidates=candidates)
    assert (indices == brute_force(model, candidates & ~MASK, 5)).all()


@each
def test_context_with_too_few_items_has_no_more(model):
    candidates = np.zeros_like(MASK)
    candidates[0, [7, 3]] = True
    indices, scores = recommend(model, USERS, ITEMS, 4, candidates=candidates)
    assert sorted(indices[0]) == [-1, -1, 3, 7]
    assert (indices[1:] == -1).all()
    assert (np.isnan(scores) == (indices < 0)).all()


@each
def test_n_may_be_larger_than_the_catalog(model):
    indices, scores = recommend(model, USERS, ITEMS, N_ITEMS + 3)
    assert indices.shape == scores.shape == (N_USERS, N_ITEMS + 3)
    assert (indices[:, :N_ITEMS] == brute_force(model, True, N_ITEMS)).all()
    assert (indices[:, N_ITEMS:] == -1).all()


def test_explicit_zeros_of_a_mask_do_not_count():
    mask = sparse.csr_array(np.ones((N_USERS, N_ITEMS)))
    mask.data[:] = 0
    assert (recommend(FM, USERS, ITEMS, exclude=mask)[0] == recommend(FM, USERS, ITEMS)[0]).all()
    assert mask.nnz == N_USERS * N_ITEMS


@each
def test_equal_items_come_in_their_order(model):
    twice = sparse.vstack([ITEMS, ITEMS], format="csr")
    indices, _ = recommend(model, USERS, twice, 6)
    assert (indices[:, ::2] + N_ITEMS == indices[:, 1::2]).all()


@each
def test_rows_may_be_dense_or_frames(model):
    expected = recommend(model, USERS, ITEMS)
    for kind in (np.asarray, pd.DataFrame, sparse.csc_array):
        found = recommend(model, kind(USERS.toarray()), kind(ITEMS.toarray()))
        assert (found[0] == expected[0]).all()


@each
def test_clipped_scores_are_ranked_by_what_they_were(model):
    clipped = copy.deepcopy(model).set_params(clip=True)
    clipped._target_range = np.float64(3), np.float64(3.5)
    indices, scores = recommend(clipped, USERS, ITEMS, 5)
    assert (indices == recommend(model, USERS, ITEMS, 5)[0]).all()
    assert set(np.unique(scores)) >= {3.5}
    np.testing.assert_allclose(
        scores, clipped.predict(USERS[np.repeat(range(N_USERS), 5)] + ITEMS[indices.ravel()]).reshape(-1, 5)
    )


@pytest.mark.parametrize("loss", ["poisson", "log_loss"])
def test_scores_are_predictions_beyond_the_link(loss):
    model = FMRegressor(loss=loss, **SMALL).fit(X, Y / Y.max())
    _, scores = recommend(model, USERS, ITEMS, 1)
    np.testing.assert_allclose(scores[:, 0], model.predict(X).reshape(N_USERS, N_ITEMS).max(axis=1))


def test_scores_of_a_classifier_are_its_decision_function():
    model = FMClassifier(**SMALL).fit(X, Y > 4)
    _, scores = recommend(model, USERS, ITEMS, 1)
    np.testing.assert_allclose(scores[:, 0], model.decision_function(X).reshape(N_USERS, N_ITEMS).max(axis=1))


@each
def test_unknown_user_is_the_average_one_and_items_are_not_missing(model):
    nobody = sparse.csr_array((1, X.shape[1]))
    _, scores = recommend(model, nobody, ITEMS, 1)
    np.testing.assert_allclose(scores[0, 0], model.predict(ITEMS).max())


@pytest.mark.parametrize("regressor", [FMRegressor, AFMRegressor])
def test_scores_have_the_precision_of_the_predictions(regressor):
    rows = X.astype(np.float32)
    model = regressor(**SMALL).fit(rows, Y + 1e7)
    expected = model.predict(rows).reshape(N_USERS, N_ITEMS).max(axis=1)
    scores = recommend(model, USERS, ITEMS, 1)[1][:, 0]
    assert scores.dtype == expected.dtype
    np.testing.assert_allclose(scores - 1e7, expected - 1e7, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_score_is_the_product_of_the_vectors(dtype, shift):
    rng = np.random.default_rng(0)
    rows = sparse.random_array((150, 12), density=0.5, rng=rng, data_sampler=rng.normal).astype(dtype)
    model = FMRegressor(**SMALL).fit(rows, shift + rng.normal(size=150))
    contexts, items = rows.toarray(), rows.toarray()
    contexts[:, 6:], items[:, :6] = 0, 0
    products = np.einsum("ik,ik->i", context_vectors(model, contexts), item_vectors(model, items))
    np.testing.assert_allclose(
        products - shift, model.predict(rows) - shift, atol=1e-5 if dtype == np.float32 else 1e-8
    )


def test_vectors_of_a_classifier_give_its_log_odds():
    model = FMClassifier(**SMALL).fit(X, Y > 4)
    products = context_vectors(model, USERS) @ item_vectors(model, ITEMS).T
    np.testing.assert_allclose(products.ravel(), model.decision_function(X), atol=1e-12)


def test_memory_of_masked_candidates_is_bounded_by_their_number(monkeypatch):
    rows = []
    predict = AFM._predict_raw
    monkeypatch.setattr(AFM, "_predict_raw", lambda X: rows.append(X.shape[0]) or predict(X), raising=False)
    candidates = np.zeros_like(MASK)
    candidates[:, :2] = True
    recommend(AFM, USERS, ITEMS, candidates=candidates)
    assert sum(rows) == 2 * N_USERS


def test_input_is_not_changed():
    contexts = sparse.csr_array((np.array([1.0, 0.0]), np.array([1, 0]), np.array([0, 2])), shape=(1, X.shape[1]))
    recommend(AFM, contexts, ITEMS)
    assert contexts.indices.tolist() == [1, 0]
    assert contexts.nnz == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"contexts": X}, r"share 40, the first being column 12: leave the columns of the item empty in contexts"),
        ({"contexts": USERS[:, :5]}, r"Invalid contexts: X has 5 features"),
        ({"items": np.full((2, X.shape[1]), np.nan)}, "Invalid items: Input X contains NaN"),
        ({"exclude": MASK.T}, r"exclude must have a row for each context.*\(12, 40\), got \(40, 12\)"),
        ({"candidates": MASK[0]}, r"candidates must have a row for each context"),
        ({"n": 0}, "n must be a positive integer, got 0"),
        ({"n": 2.5}, "n must be a positive integer, got 2.5"),
    ],
)
def test_invalid_input_is_an_error_that_says_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        recommend(**({"model": FM, "contexts": USERS, "items": ITEMS} | arguments))


def test_shared_column_is_named():
    names = [f"column_{number}" for number in range(X.shape[1])]
    rows = pd.DataFrame(X.toarray(), columns=names)
    model = FMRegressor(**SMALL).fit(rows, Y)
    with pytest.raises(ValueError, match=r"column 12 .'column_12'.: leave"):
        recommend(model, rows[:3], rows[:3] * (np.arange(X.shape[1]) >= N_USERS))


@pytest.mark.parametrize("y", [np.column_stack([Y, Y]), Y.round()], ids=["targets", "classes"])
def test_model_of_several_scores_is_refused(y):
    model = (FMRegressor if y.ndim > 1 else FMClassifier)(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match=r"has [0-9]+ for each row: fit a regressor with one target, or a classifier"):
        recommend(model, USERS, ITEMS)


def test_pipeline_is_refused_with_the_way_out():
    model = make_pipeline(MaxAbsScaler(), FMRegressor(**SMALL)).fit(X, Y)
    with pytest.raises(TypeError, match=r"got Pipeline. Of a pipeline pass the last step"):
        recommend(model, USERS, ITEMS)


def test_model_without_vectors_is_refused():
    with pytest.raises(TypeError, match="got AFMRegressor, whose score is no inner product"):
        item_vectors(AFM, ITEMS)


def test_model_that_is_not_fitted_is_refused():
    with pytest.raises(sklearn.exceptions.NotFittedError):
        recommend(FMRegressor(), USERS, ITEMS)


def test_scores_out_of_range_are_an_error():
    model = copy.deepcopy(FM)
    model.factors_ = model.factors_ * 1e160
    with pytest.raises(ValueError, match="not finite"):
        recommend(model, USERS, ITEMS)
