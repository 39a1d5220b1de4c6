"""Selectors that ask for feature importances keep the columns that only interact."""

import numpy as np
import pytest
from sklearn.feature_selection import RFE, SelectFromModel

import skafm
from skafm import AFMRegressor, FFMRegressor, FMClassifier, FMRegressor, HOFMRegressor
from skafm._training import importance

quick = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
pair_models = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor, FFMRegressor, HOFMRegressor])


@pytest.fixture(scope="module")
def product():
    """Ten columns of noise, of which y = 3 x0 x1 + 0.2 x4 needs three, the strongest only in a product."""
    X = np.random.default_rng(0).normal(size=(800, 10))
    return X, 3 * X[:, 0] * X[:, 1] + 0.2 * X[:, 4]


@quick
@pair_models
def test_select_from_model_keeps_the_columns_of_a_product(Estimator, product):
    selector = SelectFromModel(Estimator(random_state=0), max_features=2, threshold=-np.inf).fit(*product)
    assert selector.get_support(indices=True).tolist() == [0, 1]


@quick
@pair_models
def test_recursive_elimination_keeps_the_columns_of_a_product(Estimator, product):
    selector = RFE(Estimator(random_state=0), n_features_to_select=2, step=4).fit(*product)
    assert selector.get_support(indices=True).tolist() == [0, 1]


@quick
def test_linear_weights_alone_keep_others(product):
    selector = SelectFromModel(FMRegressor(random_state=0), importance_getter="linear_coef_", max_features=2)
    assert 4 in selector.set_params(threshold=-np.inf).fit(*product).get_support(indices=True)


@quick
def test_class_weights_weigh_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    y = (X[:, 0] * X[:, 1] > 0.3).astype(int)
    model = FMClassifier(random_state=0, max_iter=5, class_weight={0: 1.0, 1: 5.0}).fit(X, y)
    sizes = [abs(model.decision_function(X) - model.decision_function(X * (np.arange(5) != i))) for i in range(5)]
    expected = np.average(sizes, axis=1, weights=np.where(y == 1, 5.0, 1.0))
    np.testing.assert_allclose(model.feature_importances_, expected, rtol=1e-10)


@quick
def test_validation_set_has_no_part_in_the_importances():
    X = np.random.default_rng(0).normal(size=(60, 5))
    y, validation = X[:, 0] * X[:, 1], np.eye(5)[[4, 4]] * 1000.0
    model = FMRegressor(random_state=0, max_iter=3).fit(X, y, X_val=validation, y_val=[0.0, 1.0])
    sizes = [abs(model.predict(X) - model.predict(X * (np.arange(5) != i))).mean() for i in range(5)]
    np.testing.assert_allclose(model.feature_importances_, sizes, rtol=1e-10)


@quick
def test_dropout_has_no_part_in_the_importances():
    X = np.random.default_rng(0).normal(size=(60, 5))
    model = FMRegressor(random_state=0, max_iter=3, dropout=0.5).fit(X, X[:, 0] * X[:, 1])
    sizes = [abs(model.predict(X) - model.predict(X * (np.arange(5) != i))).mean() for i in range(5)]
    np.testing.assert_allclose(model.feature_importances_, sizes, rtol=1e-10)


@quick
@pytest.mark.parametrize("name", ["FMRegressor", "DeepCrossClassifier"])
def test_sample_is_that_of_the_seed_and_does_not_change_the_model(name, monkeypatch):
    X = np.random.default_rng(0).normal(size=(60, 5))
    fit = lambda: getattr(skafm, name)(n_factors=4, random_state=0, max_iter=2).fit(X, X[:, 0] > 0)  # noqa: E731
    whole = fit()
    monkeypatch.setattr(importance, "_MAX_ENTRIES", 50)
    first, second = fit(), fit()
    assert np.array_equal(first.feature_importances_, second.feature_importances_)
    assert not np.allclose(first.feature_importances_, whole.feature_importances_)
    assert np.array_equal(first.factors_, whole.factors_)
