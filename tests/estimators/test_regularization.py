"""What "auto" makes of the L2 penalties: a prior, whose scale suits the data, and a linear model to begin with."""

import numpy as np
import pytest
import torch
from conftest import ragged_matrix
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, root_mean_squared_error

import skafm
from skafm import (
    AFMClassifier,
    AFMRegressor,
    DeepCrossRegressor,
    DeepFMRegressor,
    FMClassifier,
    FMRegressor,
    HOFMClassifier,
    NFMRegressor,
)
from skafm._estimators import regularization
from skafm._training import conversion
from skafm._training.collectives import SINGLE_PROCESS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
PAIRS = [FMRegressor, AFMRegressor, FMClassifier, AFMClassifier]
every = pytest.mark.parametrize("Estimator", PAIRS)


def table(n_rows, seed=0, n_levels=(20, 10, 5)):
    """Return one-hot rows, the raw score of main effects, and noise."""
    rng = np.random.default_rng(seed)
    levels = [rng.integers(0, n, n_rows) for n in n_levels]
    effects = [np.random.default_rng(field).normal(size=n) for field, n in enumerate(n_levels)]
    raw = sum(effect[level] for effect, level in zip(effects, levels, strict=True))
    X = sparse.csr_array(np.hstack([np.eye(n)[level] for n, level in zip(n_levels, levels, strict=True)]))
    return X, raw, rng.logistic(size=n_rows)


def target(Estimator, raw, noise):
    return (raw + noise > 0).astype(int) if is_classifier(Estimator()) else raw + noise


def loss(model, X, y):
    return log_loss(y, model.predict_proba(X)) if is_classifier(model) else root_mean_squared_error(y, model.predict(X))


def penalties_of(model, X, weight=None, *, stream=False):
    """Return the penalties of a training on the rows X."""
    weight = np.ones(X.shape[0]) if weight is None else weight
    dataset = conversion.to_dataset(X, np.zeros(X.shape[0]), weight, SINGLE_PROCESS, torch.device("cpu"))
    return regularization.penalties(model, dataset, stream=stream)


# --- the prior --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("Estimator", "base", "prior", "linear"), [(FMRegressor, 0.01, 4.0, 5.0), (HOFMClassifier, 0.003, 2.0, 0.5)]
)
@pytest.mark.parametrize(("c", "rounded"), [(3.0, 4.0), (0.25, 0.25), (0.6, 1.0), (0.45, 0.25)])
def test_penalty_of_a_feature_equals_the_documented_formula(c, rounded, Estimator, base, prior, linear):
    X, model = ragged_matrix(), Estimator()
    model.l2_scale_ = c
    found = penalties_of(model, X)
    for feature, column in enumerate(X.T):
        values = column[column != 0]
        share = np.sqrt(np.mean(values**2)) / len(values)
        assert found["factors"][feature] == pytest.approx(base + prior * min(rounded, 1) * share)
        assert found["linear.weight"][feature] == pytest.approx(linear * c * share)


def test_row_of_weight_two_counts_as_two_rows():
    X, weight = ragged_matrix(), np.arange(60) % 3 + 1.0
    weighted = penalties_of(FMRegressor(), X, weight)
    repeated = penalties_of(FMRegressor(), X.repeat(weight.astype(int), axis=0))
    for name in ("factors", "linear.weight"):
        np.testing.assert_allclose(weighted[name], repeated[name])


def test_prior_does_not_fade_with_rows_and_the_base_does_not_either():
    X = ragged_matrix()
    once, twice = (np.asarray(penalties_of(FMClassifier(), rows)["factors"]) for rows in (X, np.vstack([X, X])))
    np.testing.assert_allclose(2 * (twice - 0.003), once - 0.003)  # in each of twice the rows half


def test_prior_of_linear_weights_is_averaged_over_targets_as_the_loss_is():
    X, y = ragged_matrix(), np.zeros((60, 3))
    dataset = conversion.to_dataset(X, y, np.ones(60), SINGLE_PROCESS, torch.device("cpu"))
    several = regularization.penalties(FMRegressor(), dataset, stream=False)
    one = penalties_of(FMRegressor(), X)
    np.testing.assert_allclose(several["linear.weight"], one["linear.weight"] / 3)
    np.testing.assert_allclose(several["factors"], one["factors"])


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_penalty_beside_batch_normalization_is_of_the_whole_tables(weight):
    X = ragged_matrix()
    found = penalties_of(DeepFMRegressor(), X, np.full(60, weight))
    for name in ("factors", "linear.weight"):
        for feature, column in enumerate(X.T):
            values = column[column != 0]
            share = np.sqrt(np.mean(values**2)) / len(values)
            assert found[name][feature] == pytest.approx(0.025 * 60 * share)


def test_penalty_without_batch_normalization_is_a_prior():
    found, expected = (
        penalties_of(model, ragged_matrix()) for model in (DeepFMRegressor(batch_norm=False), FMRegressor())
    )
    np.testing.assert_array_equal(found["factors"], expected["factors"])


def test_numbers_are_penalties_as_they_are():
    assert penalties_of(FMRegressor(l2_linear=0.1, l2_factors=0.2), ragged_matrix()) == {
        "linear.weight": 0.1,
        "factors": 0.2,
    }


def test_stream_has_the_base_alone():
    assert penalties_of(FMRegressor(), ragged_matrix(), stream=True) == {"linear.weight": 0.0, "factors": 0.01}


def test_feature_without_rows_has_the_base():
    X = np.hstack([ragged_matrix(), np.zeros((60, 1))])
    assert float(penalties_of(FMRegressor(), X)["factors"][9]) == pytest.approx(0.01)


@every
def test_partial_fit_with_auto_equals_that_with_its_numbers(Estimator):
    X, raw, noise = table(300)
    y, classes = target(Estimator, raw, noise), {"classes": [0, 1]} if is_classifier(Estimator()) else {}
    numbers = {"l2_linear": 0.0, "l2_factors": 0.003 if classes else 0.01}
    auto, explicit = (
        Estimator(random_state=0, **own).partial_fit(X, y, **classes).partial_fit(X, y) for own in ({}, numbers)
    )
    np.testing.assert_array_equal(auto.factors_, explicit.factors_)
    assert not hasattr(auto, "l2_scale_")


def test_deep_cross_has_a_prior_without_a_linear_model():
    X, raw, noise = table(300)
    model = DeepCrossRegressor(4, max_iter=2, early_stopping=False, random_state=0).fit(X, raw + noise)
    assert model.l2_scale_ == 1.0
    without = clone(model).set_params(l2_factors=0.01).fit(X, raw + noise)
    assert np.linalg.norm(model.factors_) < np.linalg.norm(without.factors_)


# --- the linear model -------------------------------------------------------------------------------------------------


@every
def test_linear_model_is_the_result_if_no_epoch_is_better(Estimator):
    X, raw, noise = table(600)
    y = target(Estimator, raw, noise)
    rates = {"solver": "sgd", "learning_rate": 1e-9}
    model = Estimator(random_state=0, max_iter=2, **rates).fit(X, y)
    assert model.best_iter_ == 0
    if is_classifier(model):  # scikit-learn's penalty has a factor 1/2
        linear = LogisticRegression(C=1 / model.l2_scale_, max_iter=1000).fit(X, y).decision_function(X)
        np.testing.assert_allclose(model.decision_function(X), linear, atol=0.02)
    else:
        linear = Ridge(alpha=5 * model.l2_scale_).fit(X, y).predict(X)
        np.testing.assert_allclose(model.predict(X), linear, atol=0.02 * y.std())


@every
def test_training_begins_halfway(Estimator, monkeypatch):
    monkeypatch.setattr(regularization, "_SCALES", (1.0,))  # the same with and without a validation set
    X, raw, noise = table(600)
    y = target(Estimator, raw, noise)
    rates = {"solver": "sgd", "learning_rate": 1e-9, "early_stopping": False, "max_iter": 1, "random_state": 0}
    half = Estimator(**rates).fit(X, y)
    full = Estimator(**rates | {"early_stopping": True}).fit(X, y)
    w, expected = half.linear_coef_, full.linear_coef_
    np.testing.assert_allclose(np.std(w) / np.std(expected), 0.5, rtol=0.1)
    assert np.corrcoef(w, expected)[0, 1] > 0.97
    raw_half, raw_full = (getattr(m, "decision_function", m.predict)(X) for m in (half, full))
    assert np.mean(raw_half) == pytest.approx(np.mean(raw_full), abs=0.1 * np.std(raw_full))


@every
def test_number_for_l2_linear_begins_with_zeros(Estimator):
    X, raw, noise = table(300)
    rates = {"solver": "sgd", "learning_rate": 1e-9, "early_stopping": False, "max_iter": 1}
    model = Estimator(l2_linear=0.1, random_state=0, **rates).fit(X, target(Estimator, raw, noise))
    assert np.abs(model.linear_coef_).max() < 0.02  # not 0: the average of a field is moved to the intercept
    assert model.l2_scale_ == 1.0


def test_too_many_weights_are_not_fitted(monkeypatch):
    X, raw, noise = table(300)
    monkeypatch.setattr(regularization, "_MAX_WEIGHTS", 34)  # of 35 columns
    model = FMRegressor(solver="sgd", learning_rate=1e-9, max_iter=1, random_state=0).fit(X, raw + noise)
    assert model.l2_scale_ == 1.0
    assert np.abs(model.linear_coef_).max() < 0.02


def test_given_initial_parameters_are_not_halved():
    X, raw, noise = table(400)
    y = raw + noise
    fm = FMRegressor(random_state=0).fit(X, y)
    rates = {"solver": "sgd", "learning_rate": 1e-9, "max_iter": 1, "early_stopping": False}
    model = NFMRegressor(init=fm, **rates).fit(X, y)
    np.testing.assert_allclose(np.ptp(model.linear_coef_), np.ptp(fm.linear_coef_), rtol=0.05)


def test_warm_start_keeps_scale_and_parameters():
    X, raw, noise = table(400)
    y = raw + noise
    model = FMRegressor(random_state=0, warm_start=True, max_iter=3).fit(X, y)
    scale, coef = model.l2_scale_, model.linear_coef_.copy()
    model.set_params(solver="sgd", learning_rate=1e-9).fit(X, y)
    assert model.l2_scale_ == scale
    np.testing.assert_allclose(model.linear_coef_, coef, atol=1e-4)


def test_new_fit_chooses_a_new_scale():
    X, raw, noise = table(400)
    model = FMRegressor(random_state=0).fit(X, raw + 0.01 * noise)
    small = model.l2_scale_
    assert model.fit(X, 0.01 * raw + noise).l2_scale_ > small


# --- rows that are held out -------------------------------------------------------------------------------------------


def rows_with_ids(n_rows):
    """Return the table with a further column for each row."""
    X, raw, noise = table(n_rows)
    return sparse.hstack([X, sparse.eye_array(n_rows)], format="csr"), raw + 0.3 * noise


def test_held_out_rows_are_trained_on_at_last():
    X, y = rows_with_ids(200)
    model = AFMRegressor(random_state=0, max_iter=30, l2_linear=0.0).fit(X, y)
    assert model.best_iter_ > 0
    assert len(np.unique(model.linear_coef_[35:])) == 200  # each row has moved its own weight


def test_rows_of_a_given_validation_set_are_not_trained_on():
    X, y = rows_with_ids(200)
    model = AFMRegressor(random_state=0, max_iter=30, l2_linear=0.0)
    model.fit(X[:180], y[:180], X_val=X[180:], y_val=y[180:])
    assert model.best_iter_ > 0
    assert (model.linear_coef_[35 + 180 :] == 0).all()


@pytest.mark.parametrize("given", [False, True])
def test_linear_model_is_fitted_on_held_out_rows_too_unless_they_are_given(given):
    X, y = rows_with_ids(200)
    model = AFMRegressor(random_state=0, max_iter=1, solver="sgd", learning_rate=1e-9)
    if given:
        model.fit(X[:180], y[:180], X_val=X[180:], y_val=y[180:])
    else:
        model.fit(X, y)
    assert model.best_iter_ == 0
    assert np.count_nonzero(model.linear_coef_[35:]) == (180 if given else 200)


# --- what it is for ---------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("n_rows", [100, 1000])
def test_default_is_as_good_as_a_linear_model_where_main_effects_are_all(Estimator, n_rows):
    """Five draws; the bar of a single one would be noise."""
    ratios = []
    for seed in range(5):
        X, raw, noise = table(n_rows + 3000, seed)
        y = target(Estimator, raw, noise)
        train, test = slice(n_rows), slice(n_rows, None)
        model = Estimator(random_state=seed).fit(X[train], y[train])
        linear = LogisticRegression(C=1.0) if is_classifier(model) else Ridge(5.0)
        ratios.append(loss(model, X[test], y[test]) / loss(linear.fit(X[train], y[train]), X[test], y[test]))
    assert np.mean(ratios) < 1.05


@every
def test_default_is_no_worse_than_a_constant_on_noise(Estimator):
    ratios = []
    for seed in range(5):
        X, raw, noise = table(1300, seed)
        y = target(Estimator, 0 * raw, noise)
        model = Estimator(random_state=seed).fit(X[:300], y[:300])
        constant = np.log(2) if is_classifier(model) else np.std(y[300:])
        ratios.append(loss(model, X[300:], y[300:]) / constant)
    assert np.mean(ratios) < 1.03


def test_all_estimators_have_auto_penalties():
    for name in skafm.__all__:
        if name.endswith(("Regressor", "Classifier")) and not name.startswith("Bayesian"):
            model = getattr(skafm, name)()
            assert model.l2_factors == "auto"
            assert getattr(model, "l2_linear", "auto") == "auto"
