"""What y is to the raw score: units and range of a regressor's targets, classes and probabilities of a classifier."""

import numpy as np
import pytest
import sklearn
from scipy.special import expit, softmax
from sklearn.datasets import make_regression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
regressors = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
classifiers = pytest.mark.parametrize("Estimator", [FMClassifier, AFMClassifier])


def fit(Estimator, X, y, **parameters):
    return Estimator(**{"n_factors": 3, "random_state": 0, "max_iter": 15, "learning_rate": 0.2} | parameters).fit(X, y)


@pytest.fixture
def classes(ragged):
    """Ragged rows in three classes, and in two."""
    X, y = ragged
    rank = y.argsort(kind="stable").argsort()
    return X, rank * 3 // 60, (rank >= 20).astype(int)


# --- regression: the unit of y ----------------------------------------------------------------------------------------


@regressors
@pytest.mark.parametrize(("mean", "sd"), [(1000.0, 300.0), (1e-6, 1e-6), (100.0, 1.0), (-5e8, 1e3)])
def test_unit_of_y_does_not_matter(Estimator, mean, sd, ragged):
    X, y = ragged
    y = (y - y.mean()) / y.std()
    settings = {"max_iter": 30, "batch_size": 16, "l2_factors": 0.003}
    standard = fit(Estimator, X, y, **settings)
    score = standard.score(X, y)
    assert score > 0.8
    moved = fit(Estimator, X, mean + sd * y, **settings)
    assert moved.score(X, mean + sd * y) == pytest.approx(score, abs=1e-4)
    np.testing.assert_allclose((moved.predict(X) - mean) / sd, standard.predict(X), rtol=1e-3, atol=1e-3)


@regressors
def test_constant_y_is_predicted(Estimator, ragged):
    X, _ = ragged
    np.testing.assert_allclose(fit(Estimator, X, np.full(60, 7.3)).predict(X), 7.3, rtol=1e-6)


@regressors
def test_initial_intercept_is_the_weighted_mean(Estimator, ragged):
    X, y = ragged
    weight = np.arange(1.0, 61.0)
    no_step = {"max_iter": 1, "learning_rate": 1e-12, "l2_linear": 0.0, "random_state": 0}
    model = Estimator(**no_step).fit(X, y, sample_weight=weight)
    assert model.intercept_ == pytest.approx(np.average(y, weights=weight), rel=1e-9)


@regressors
def test_scale_of_weights_does_not_matter(Estimator, ragged):
    X, y = ragged
    weight = np.arange(1.0, 61.0)
    models = [Estimator(random_state=0, max_iter=5).fit(X, y, sample_weight=scale * weight) for scale in (1, 1e6)]
    np.testing.assert_allclose(models[0].factors_, models[1].factors_, rtol=1e-6, atol=1e-9)


@regressors
def test_dense_real_valued_rows_are_learned(Estimator):
    X, y = make_regression(500, 20, n_informative=5, noise=1.0, random_state=0)
    assert Estimator(random_state=0).fit(X, y).score(X, y) > 0.9


# --- regression: range and number of targets --------------------------------------------------------------------------


@regressors
def test_clip_keeps_predictions_within_the_range_of_y(Estimator, data):
    X, y = data(Estimator)
    X_far = 5 * X
    free = Estimator(random_state=0, max_iter=10).fit(X, y)
    clipped = Estimator(random_state=0, max_iter=10, clip=True).fit(X, y)
    assert free.predict(X_far).max() > y.max()
    np.testing.assert_array_equal(clipped.predict(X_far), free.predict(X_far).clip(y.min(), y.max()))


@regressors
def test_clip_knows_the_range_of_all_calls_of_partial_fit(Estimator):
    X = np.eye(2).repeat(4, axis=0)
    model = Estimator(random_state=0, clip=True).partial_fit(X, np.tile([0.0, 1.0], 4))
    model.partial_fit(X, np.tile([-3.0, 0.5], 4))
    assert model._target_range[0] == -3
    assert model._target_range[1] == 1


@regressors
def test_several_targets_are_learned_in_their_units(Estimator, data):
    X, y = data(Estimator)
    Y = np.c_[100 + 20 * y, -1e-3 * y, y * X[:, 0]]
    settings = {"random_state": 0, "max_iter": 60, "early_stopping": False, "l2_linear": 0.0, "l2_factors": 0.003}
    model = Estimator(**settings).fit(X, Y)
    assert model.predict(X).shape == (400, 3)
    assert model.linear_coef_.shape == (3, 15)
    single = Estimator(**settings).fit(X, y)
    scores = [sklearn.metrics.r2_score(Y[:, c], model.predict(X)[:, c]) for c in range(3)]
    assert min(scores) > single.score(X, y) - 0.15


@regressors
def test_another_number_of_targets_in_partial_fit_is_refused(Estimator, data):
    X, y = data(Estimator)
    with pytest.raises(ValueError, match=r"targets of shape \(\) per sample as before, got \(2,\)"):
        Estimator(random_state=0).partial_fit(X, y).partial_fit(X, np.c_[y, -y])


@regressors
def test_another_number_of_targets_in_y_val_is_refused(Estimator, data):
    X, y = data(Estimator)
    with pytest.raises(ValueError, match=r"targets of shape \(2,\) per sample as before, got \(\)"):
        Estimator(early_stopping=True).fit(X, np.c_[y, -y], X_val=X, y_val=y)


@regressors
def test_column_of_targets_is_one_target(Estimator, data):
    X, y = data(Estimator)
    with pytest.warns(sklearn.exceptions.DataConversionWarning, match=r"use y.ravel\(\)"):
        model = Estimator(random_state=0, max_iter=2).fit(X, y[:, None])
    assert np.array_equal(model.predict(X), Estimator(random_state=0, max_iter=2).fit(X, y).predict(X))


# --- classification ---------------------------------------------------------------------------------------------------


@classifiers
def test_probabilities_of_two_classes_are_the_sigmoid(Estimator, classes):
    X, _, y = classes
    model = fit(Estimator, X, y)
    raw, proba = model.decision_function(X), model.predict_proba(X)
    np.testing.assert_allclose(proba, np.c_[1 - expit(raw), expit(raw)], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(proba), rtol=1e-8, atol=1e-12)
    assert np.array_equal(model.predict(X), (raw > 0).astype(int))


@classifiers
def test_probabilities_of_three_classes_are_the_softmax(Estimator, classes):
    X, y, _ = classes
    model = fit(Estimator, X, y)
    raw, proba = model.decision_function(X), model.predict_proba(X)
    np.testing.assert_allclose(proba, softmax(raw, axis=1), rtol=1e-10)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(proba), rtol=1e-8, atol=1e-12)
    assert np.array_equal(model.predict(X), raw.argmax(1))


@classifiers
@pytest.mark.parametrize("names", [["no", "yes"], [False, True], [7, -3], [2.0, 1.0]], ids=str)
def test_labels_of_any_type(Estimator, names, classes):
    X, _, y = classes
    labels = np.array(names)[y]
    model = fit(Estimator, X, labels, l2_linear=0.0, l2_factors=0.003)
    assert np.array_equal(model.classes_, np.unique(labels))
    assert model.predict(X).dtype == labels.dtype
    assert model.score(X, labels) > 0.8


@classifiers
def test_initial_intercept_is_the_log_odds_of_the_weighted_shares(Estimator, classes):
    X, three, two = classes
    weight = np.arange(1.0, 61.0)
    no_step = {"max_iter": 1, "learning_rate": 1e-12, "l2_linear": 0.0, "random_state": 0}
    share = weight[two == 1].sum() / weight.sum()
    model = Estimator(**no_step).fit(X, two, sample_weight=weight)
    assert model.intercept_ == pytest.approx(np.log(share / (1 - share)), rel=1e-6)
    shares = np.bincount(three, weight) / weight.sum()
    np.testing.assert_allclose(Estimator(**no_step).fit(X, three, weight).intercept_, np.log(shares), rtol=1e-6)


@classifiers
@pytest.mark.parametrize("several", [False, True], ids=["two classes", "three classes"])
def test_class_weight_is_a_sample_weight(Estimator, several, classes):
    X, three, two = classes
    y = three if several else two
    balanced = len(y) / (len(np.unique(y)) * np.bincount(y))
    for given, weight in (("balanced", balanced), ({0: 3.0, 1: 0.5}, np.array([3.0, 0.5, 1.0]))):
        model = Estimator(class_weight=given, random_state=0, max_iter=5).fit(X, y)
        expected = Estimator(random_state=0, max_iter=5).fit(X, y, sample_weight=weight[y])
        np.testing.assert_allclose(model.decision_function(X), expected.decision_function(X), rtol=1e-8)


@classifiers
def test_three_classes_that_are_not_linear_are_learned(Estimator):
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 3, size=(600, 2))
    X, y = OneHotEncoder().fit_transform(pairs), pairs.sum(1) % 3
    assert LogisticRegression().fit(X, y).score(X, y) < 0.6
    assert Estimator(random_state=0, max_iter=200).fit(X, y).score(X, y) > 0.99


@classifiers
def test_probabilities_are_calibrated_on_unseen_rows(Estimator):
    rng = np.random.default_rng(0)
    fields = rng.integers(0, 5, size=(20_000, 3))
    effect = rng.normal(size=(5, 5))
    truth = expit(-1 + 1.5 * effect[fields[:, 0], fields[:, 1]])
    X, y = OneHotEncoder().fit_transform(fields), (rng.random(20_000) < truth).astype(int)
    model = Estimator(random_state=0, max_iter=20).fit(X[:10_000], y[:10_000])
    proba = model.predict_proba(X[10_000:])
    assert log_loss(y[10_000:], proba) < log_loss(y[10_000:], truth[10_000:]) + 0.02
    assert np.abs(proba[:, 1] - truth[10_000:]).mean() < 0.05
