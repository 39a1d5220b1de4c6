"""What users of the Bayesian factorization machines rely on."""

import pickle

import numpy as np
import pytest
import sklearn
import skops.io
import torch
from conftest import ragged_matrix
from scipy import sparse
from sklearn.preprocessing import OneHotEncoder

import skafm
from skafm import BayesianFMClassifier, BayesianFMRegressor
from skafm._estimators import bayesian_model
from skafm._sampling.sampler import Sampler
from skafm.inspection import WaterfallDisplay

both = pytest.mark.parametrize("Estimator", [BayesianFMRegressor, BayesianFMClassifier])
SMALL = {"n_factors": 2, "max_iter": 12, "burn_in": 4, "random_state": 0}


@pytest.fixture(scope="module")
def table():
    """One-hot rows of three fields whose first two interact, with noise of 0.5: X, y."""
    rng = np.random.default_rng(0)
    codes = np.column_stack([rng.integers(0, n, size=1500) for n in (12, 8, 5)])
    effect = rng.normal(size=(12, 2)) @ rng.normal(size=(2, 8))
    y = effect[codes[:, 0], codes[:, 1]] + rng.normal(size=1500) / 2
    return OneHotEncoder().fit_transform(codes), y


def targets(Estimator, y):
    return y if Estimator is BayesianFMRegressor else y > 0


def outcome(model, X):
    return getattr(model, "predict_proba", model.predict)(X)


# --- the posterior ----------------------------------------------------------------------------------------------------


def test_predictive_intervals_cover_new_targets(table):
    X, y = table
    model = BayesianFMRegressor(4, max_iter=60, random_state=0).fit(X[:1000], y[:1000])
    mean, std = model.predict(X[1000:], return_std=True)
    assert 0.85 < np.mean(np.abs(y[1000:] - mean) < 1.645 * std) < 0.95
    assert model.noise_std_draws_.mean() == pytest.approx(0.5, rel=0.1)


def test_noise_is_what_the_two_standard_deviations_differ_by(table):
    X, y = table
    model = BayesianFMRegressor(**SMALL).fit(X, y)
    (mean, std), (_, of_raw) = (model.predict(X, return_std=True, include_noise=noise) for noise in (True, False))
    np.testing.assert_allclose(std**2 - of_raw**2, np.mean(model.noise_std_draws_**2))
    np.testing.assert_allclose(mean, model.predict(X))


@both
def test_unseen_features_and_missing_fields_are_uncertain(Estimator, table):
    X, y = table[0].toarray(), table[1]
    seen = X[:, 3] == 0
    model = Estimator(4, max_iter=60, random_state=0).fit(X[seen], targets(Estimator, y)[seen])
    unseen, missing = X[~seen][:20], X[:20].copy()
    missing[:, :12] = 0
    spread = [model._score_draws(rows).std(axis=1).mean() for rows in (X[seen][:20], unseen, missing)]
    assert min(spread[1:]) > 2 * spread[0]


def test_weight_of_zero_is_no_row(table):
    X, y = table
    kept = np.arange(1500) % 3 > 0
    weighted = BayesianFMRegressor(**SMALL).fit(X, y, sample_weight=kept.astype(float))
    assert np.array_equal(weighted.predict(X), BayesianFMRegressor(**SMALL).fit(X[kept], y[kept]).predict(X))


def test_large_weights_make_sure(table):
    X, y = table
    std = [
        BayesianFMRegressor(**SMALL).fit(X, y, sample_weight=weight).predict(X, True, include_noise=False)[1].mean()
        for weight in (np.full(1500, 0.1), np.full(1500, 10.0))
    ]
    assert std[1] < 0.3 * std[0]


def test_predictions_do_not_depend_on_the_units_of_y(table):
    X, y = table
    model, other = BayesianFMRegressor(**SMALL).fit(X, y), BayesianFMRegressor(**SMALL).fit(X, 1e4 + 100 * y)
    (mean, std), (other_mean, other_std) = (each.predict(X, return_std=True) for each in (model, other))
    np.testing.assert_allclose(other_mean, 1e4 + 100 * mean, rtol=1e-7)
    np.testing.assert_allclose(other_std, 100 * std, rtol=1e-5)


def test_three_classes_are_learned(table):
    X, y = table
    y = np.array(["low", "middle", "high"])[np.digitize(y, [-0.5, 0.5])]
    model = BayesianFMClassifier(4, max_iter=40, random_state=0).fit(X[:1000], y[:1000])
    probability = model.predict_proba(X[1000:])
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert model.score(X[1000:], y[1000:]) > 0.55
    assert model.factors_.shape == (25, 3 * 35 * 4)


# --- draws and their mean ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_mean_of_the_draws_is_the_model_of_all_factors(n_classes):
    X = ragged_matrix()
    model = BayesianFMClassifier(**SMALL).fit(X, np.arange(60) % n_classes)
    np.testing.assert_allclose(model.decision_function(X), model._score_draws(X).mean(axis=-1), rtol=1e-9, atol=1e-10)


@both
@pytest.mark.parametrize("lacks", [False, True])
def test_explanations_sum_to_the_raw_score(Estimator, lacks, table):
    X, y = table[0].toarray(), table[1]
    model, rows = Estimator(**SMALL).fit(X, targets(Estimator, y)), X[:9].copy()
    if lacks:
        rows[:, :12] = 0
    raw = getattr(model, "decision_function", model.predict)(rows)
    np.testing.assert_allclose(model.explain(rows).sum(), raw, rtol=1e-10)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_explanations_of_real_values_sum_to_the_raw_score(n_classes):
    X = ragged_matrix()
    model = BayesianFMClassifier(**SMALL).fit(X, np.arange(60) % n_classes)
    np.testing.assert_allclose(model.explain(X).sum(), model.decision_function(X), rtol=1e-9, atol=1e-10)


def test_terms_have_the_standard_deviation_of_the_draws():
    X = ragged_matrix()
    model = BayesianFMRegressor(**SMALL).fit(X, X[:, 0] * X[:, 1])
    explanation = model.explain(X[5:6])
    draws = model.factors_.reshape(9, 8, 2) * np.sqrt(8)
    x, (i, j) = X[5], (explanation.feature_i, explanation.feature_j)
    terms = x[i, None] * x[j, None] * (draws[i] * draws[j]).sum(axis=2)  # (P, S)
    np.testing.assert_allclose(explanation.interaction_std, terms.std(axis=1), rtol=1e-10)
    linear = model.linear_coef_draws_[explanation.linear_features] * x[explanation.linear_features, None]
    np.testing.assert_allclose(explanation.linear_std, linear.std(axis=1), rtol=1e-10)
    assert explanation.to_frame()["std"].isna().sum() == 1


def test_terms_of_frequent_features_are_surer(table):
    X, y = table
    model = BayesianFMRegressor(4, max_iter=60, random_state=0).fit(X, y)
    few = BayesianFMRegressor(4, max_iter=60, random_state=0).fit(X[:150], y[:150])
    assert 2 * model.explain(X[:50]).interaction_std.mean() < few.explain(X[:50]).interaction_std.mean()


def test_waterfall_draws_the_standard_deviations(no_window):  # noqa: ARG001
    X = ragged_matrix()
    model = BayesianFMRegressor(**SMALL).fit(X, X[:, 0] * X[:, 1])
    display = WaterfallDisplay.from_estimator(model, X[5:6], n=4)
    top = model.explain(X[5:6]).top(4)
    np.testing.assert_allclose(display.std, [*top["std"], np.nan])
    (bars,) = display.ax_.containers[1:]  # after the bars
    assert bars.has_xerr


def test_top_interactions_find_the_fields_that_interact(table):
    X, y = table
    model = BayesianFMRegressor(4, max_iter=60, random_state=0).fit(X, y)
    top = model.top_interactions(X, 1, fields=np.repeat(["a", "b", "c"], [12, 8, 5])).iloc[0]
    assert {top["feature_i"], top["feature_j"]} == {"a", "b"}


# --- sampling ---------------------------------------------------------------------------------------------------------


@both
def test_same_seed_gives_the_same_bits_and_leaves_global_generators_alone(Estimator, table):
    X, y = table[0], targets(Estimator, table[1])
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002 the global one is the point
    first, second = (outcome(Estimator(**SMALL).fit(X, y), X) for _ in range(2))
    assert np.array_equal(first, second)
    assert before == (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    assert not np.array_equal(first, outcome(Estimator(**SMALL | {"random_state": 1}).fit(X, y), X))


@both
def test_warm_start_adds_draws_to_the_same_chain(Estimator, table):
    X, y = table[0], targets(Estimator, table[1])
    model = Estimator(**SMALL, warm_start=True).fit(X, y)
    draws = model.linear_coef_draws_.copy()
    model.set_params(max_iter=5, random_state=1).fit(X, y)
    assert (model.n_iter_, model.intercept_draws_.shape) == (17, (13,))
    np.testing.assert_allclose(model.linear_coef_draws_[:, :8], draws)
    np.testing.assert_allclose(model._score_draws(X).mean(axis=1), model._predict_raw(X))


def test_warm_start_keeps_the_number_of_factors(table):
    model = BayesianFMRegressor(**SMALL, warm_start=True).fit(*table)
    with pytest.raises(ValueError, match="n_factors=3 differs from the 2 of the previous fit"):
        model.set_params(n_factors=3).fit(*table)


@pytest.mark.parametrize(("max_iter", "burn_in", "n_draws"), [(12, 4, 8), (3, 0, 3), (3, 20, 1)])
def test_sweeps_after_the_burn_in_are_kept(max_iter, burn_in, n_draws, table):
    model = BayesianFMRegressor(**SMALL | {"max_iter": max_iter, "burn_in": burn_in}).fit(*table)
    assert model.intercept_draws_.shape == (n_draws,)
    assert model.factors_.shape == (25, 2 * n_draws)


def test_interruption_returns_the_draws_so_far(table, monkeypatch):
    sweep, calls = Sampler.sweep, []

    def interrupted(self):
        calls.append(0)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return sweep(self)

    monkeypatch.setattr(Sampler, "sweep", interrupted)
    model = BayesianFMRegressor(**SMALL)
    with pytest.warns(UserWarning, match="returning the 3 draws so far"):
        model.fit(*table)
    assert model.intercept_draws_.shape == (3,)
    calls[:] = [0] * 6
    before = vars(model.set_params(burn_in=10)).copy()
    with pytest.raises(KeyboardInterrupt):
        model.fit(*table)
    assert vars(model) == before


def test_small_memory_gives_the_same_model(table):
    X, y = table
    with sklearn.config_context(working_memory=0.02):
        model = BayesianFMRegressor(**SMALL | {"max_iter": 60}).fit(X, y)
        small = model.predict(X)
    np.testing.assert_allclose(small, model.predict(X), rtol=1e-9)
    assert model.score(X, y) > 0.85


# --- fields -----------------------------------------------------------------------------------------------------------


def test_small_fields_share_a_prior():
    rng = np.random.default_rng(0)
    X = OneHotEncoder().fit_transform(np.column_stack([rng.integers(0, n, 200) for n in (2, 6, 3)]))
    model = BayesianFMRegressor(**SMALL).fit(X, rng.normal(size=200))
    assert model.fields_.tolist() == [1] * 2 + [0] * 6 + [1] * 3
    assert bayesian_model._SMALL_FIELD == 5


def test_given_fields_need_not_be_blocks():
    X = ragged_matrix()
    model = BayesianFMRegressor(**SMALL, fields=["a"] * 5 + ["b"] * 4).fit(X, X[:, 0] * X[:, 1])
    assert model.fields_.tolist() == [0] * 5 + [1] * 4


def test_rows_with_too_many_features_are_an_error(monkeypatch):
    monkeypatch.setattr("skafm._sampling.blocks.MAX_BLOCKS", 5)
    with pytest.raises(ValueError, match="A row of X has 9 non-zero features"):
        BayesianFMRegressor(**SMALL).fit(ragged_matrix(), np.arange(60))


# --- storage ----------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("store", ["pickle", "skops"])
def test_stored_model_predicts_the_same_bits(Estimator, store, table):
    X, y = table
    model = Estimator(**SMALL).fit(X, targets(Estimator, y))
    if store == "pickle":
        loaded = pickle.loads(pickle.dumps(model))
    else:
        stored = skops.io.dumps(model)
        trusted = skops.io.get_untrusted_types(data=stored)
        assert {*trusted} <= {f"skafm.{name}" for name in skafm.__all__}
        loaded = skops.io.loads(stored, trusted=trusted)
    assert np.array_equal(outcome(loaded, X), outcome(model, X))


@both
def test_float32_stays_float32(Estimator, table):
    X, y = sparse.csr_array(table[0], dtype=np.float32), targets(Estimator, table[1])
    model = Estimator(**SMALL).fit(X, y)
    assert model.factors_.dtype == model.linear_coef_draws_.dtype == np.float32
    assert np.isfinite(outcome(model, X)).all()
