"""The parameters that training begins with: random, or those of a factorization machine."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from skafm import (
    AFMClassifier,
    AFMRegressor,
    DeepCrossRegressor,
    FMClassifier,
    FMRegressor,
    NFMRegressor,
    WideDeepRegressor,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NO_STEP = {"max_iter": 1, "learning_rate": 1e-12, "early_stopping": False, "random_state": 0, "n_factors": 3}


@pytest.fixture
def one_hot():
    """Rows of three entries, three pairs each."""
    rng = np.random.default_rng(0)
    X = np.hstack([np.eye(4)[rng.integers(0, 4, 200)] for _ in range(3)])
    y = 100 + 20 * ((X[:, 0] == X[:, 4]) + X[:, 8]) + rng.normal(size=200)
    return X, y


def test_initial_projection_is_the_number_of_pairs(one_hot):
    model = AFMRegressor(**NO_STEP).fit(*one_hot)
    np.testing.assert_allclose(model.projection_ / one_hot[1].std(), 3, rtol=1e-6)


def test_initial_projection_for_ragged_rows_is_the_weighted_harmonic_mean():
    X = np.tril(np.ones((4, 4)))  # rows of 0, 1, 3 and 6 pairs
    y = np.array([1.0, -1.0, 1.0, -1.0])
    weight = np.array([1.0, 3.0, 2.0, 1.0])
    model = AFMRegressor(**NO_STEP).fit(X, y, sample_weight=weight)
    sd = np.sqrt(np.average((y - np.average(y, weights=weight)) ** 2, weights=weight))
    np.testing.assert_allclose(model.projection_ / sd, 6 / (3 / 1 + 2 / 3 + 1 / 6), rtol=1e-6)


def test_initial_parameters_are_those_of_the_fitted_fm(one_hot):
    X, y = one_hot
    fm = FMRegressor(n_factors=3, random_state=0, max_iter=20).fit(X, y)
    model = AFMRegressor(init=fm, **NO_STEP).fit(X, y)
    assert model.intercept_ == pytest.approx(fm.intercept_, rel=1e-9)
    np.testing.assert_allclose(model.linear_coef_, fm.linear_coef_, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(model.factors_ * y.std() ** 0.5, fm.factors_, rtol=1e-8)
    np.testing.assert_allclose(model.projection_ / y.std(), 1, rtol=1e-8)


def test_pretrained_fm_lowers_the_first_loss(one_hot):
    X, y = one_hot
    trained = AFMRegressor(n_factors=3, init="fm", random_state=0, max_iter=10).fit(X, y)
    random = AFMRegressor(n_factors=3, random_state=0, max_iter=10).fit(X, y)
    assert trained.loss_curve_[0] < random.loss_curve_[0]


def test_frozen_estimator_survives_clone(one_hot):
    X, y = one_hot
    fm = FMRegressor(n_factors=3, random_state=0, max_iter=20).fit(X, y)
    model = clone(AFMRegressor(init=FrozenEstimator(fm), **NO_STEP)).fit(X, y)
    np.testing.assert_allclose(model.linear_coef_, fm.linear_coef_, rtol=1e-8, atol=1e-8)


def test_fm_of_another_size_is_refused(one_hot):
    X, y = one_hot
    fm = FMRegressor(n_factors=5, random_state=0, max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match=r"factors_ of shape \(n_features, n_factors\) = \(12, 3\)"):
        AFMRegressor(init=fm, **NO_STEP).fit(X, y)


def test_fm_that_is_not_fitted_is_refused(one_hot):
    with pytest.raises(NotFittedError):
        AFMRegressor(init=FMRegressor()).fit(*one_hot)


def test_frozen_fm_is_kept_and_the_attention_learns(one_hot):
    X, y = one_hot
    fm = FMRegressor(n_factors=3, random_state=0, max_iter=20).fit(X, y)
    initial = AFMRegressor(init=fm, **NO_STEP).fit(X, y)
    model = AFMRegressor(n_factors=3, init=fm, freeze_init=True, early_stopping=False, random_state=0, max_iter=20)
    model.fit(X, y)
    for name in ("intercept_", "linear_coef_", "factors_"):
        np.testing.assert_allclose(getattr(model, name), getattr(initial, name), rtol=1e-8, atol=1e-8)
    assert model.attention_projection_.any()
    assert model.score(X, y) > initial.score(X, y)


@pytest.mark.parametrize("freeze", [True, False])
def test_pretrained_fm_is_kept_only_if_frozen(freeze, one_hot, monkeypatch):
    pretrain, found = AFMRegressor._pretrain_fm, []

    def remembering(*args):
        fm = pretrain(*args)
        found.append(fm.factors.detach().numpy().copy())
        return fm

    monkeypatch.setattr(AFMRegressor, "_pretrain_fm", remembering)
    model = AFMRegressor(n_factors=3, init="fm", freeze_init=freeze, early_stopping=False, random_state=0, max_iter=5)
    model.fit(*one_hot)
    assert model.attention_projection_.any()
    assert np.array_equal(model.factors_, found[0]) is freeze


def test_freezing_random_parameters_is_refused(one_hot):
    with pytest.raises(ValueError, match="set init to 'fm' or to a fitted model"):
        AFMRegressor(freeze_init=True).fit(*one_hot)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_initial_parameters_are_those_of_the_fitted_classifier(n_classes, one_hot):
    X, y = one_hot
    y = np.digitize(y, np.quantile(y, np.arange(1, n_classes) / n_classes))
    fm = FMClassifier(n_factors=3, random_state=0, max_iter=20).fit(X, y)
    model = AFMClassifier(init=fm, **NO_STEP).fit(X, y)
    for name in ("intercept_", "linear_coef_", "factors_"):
        np.testing.assert_allclose(getattr(model, name), getattr(fm, name), rtol=1e-8, atol=1e-8)


def test_fm_of_other_targets_is_refused(one_hot):
    X, y = one_hot
    fm = FMRegressor(n_factors=3, random_state=0, max_iter=2).fit(X, np.c_[y, y])
    with pytest.raises(ValueError, match="fitted on the same targets"):
        AFMRegressor(init=fm, **NO_STEP).fit(X, y)


def test_grid_search_over_the_initialization(one_hot):
    X, y = one_hot
    fm = FrozenEstimator(FMRegressor(n_factors=3, random_state=0, max_iter=20).fit(X, y))
    grid = [{"init": ["random", "fm", fm]}, {"init": ["fm", fm], "freeze_init": [True]}]
    model = AFMRegressor(n_factors=3, max_iter=3, random_state=0, early_stopping=True)
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) == 5
    assert np.isfinite(search.predict(X)).all()


# --- deep models ------------------------------------------------------------------------------------------------------

DEEP = {
    "NFM": NFMRegressor(),
    "deep AFM": NFMRegressor(pooling="attention", attention_size=4),
    "WideDeep": WideDeepRegressor(),
    "DeepCross": DeepCrossRegressor(),
}
deep = pytest.mark.parametrize("name", DEEP)


def make_deep(name, **parameters):
    small = {"n_factors": 3, "hidden_layer_sizes": (6, 5), "early_stopping": False, "random_state": 0}
    return clone(DEEP[name]).set_params(**small | parameters)


@deep
def test_deep_model_keeps_the_parameters_of_a_frozen_fm(name, one_hot):
    X, y = one_hot
    fm = FMRegressor(n_factors=3, random_state=0, max_iter=20).fit(X, y)
    model = make_deep(name, init=FrozenEstimator(fm), freeze_init=True, max_iter=5).fit(X, y)
    np.testing.assert_allclose(model.factors_, fm.factors_ / y.std() ** 0.5, rtol=1e-9)
    if name != "DeepCross":  # which has no linear part
        np.testing.assert_allclose(model.linear_coef_, fm.linear_coef_, rtol=1e-9)


@deep
def test_deep_model_is_trained_after_its_fm(name, one_hot):
    assert make_deep(name, init="fm", max_iter=5).fit(*one_hot).n_iter_ == 5


@deep
def test_deep_model_does_not_freeze_random_parameters(name, one_hot):
    with pytest.raises(ValueError, match="freeze_init=True needs initial parameters"):
        make_deep(name, freeze_init=True).fit(*one_hot)
