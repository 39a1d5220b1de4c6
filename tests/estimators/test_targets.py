"""Classifiers: from the raw score to classes and probabilities."""

import numpy as np
import pytest
import reference
import torch
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMClassifier, FMClassifier
from skafm._training.losses import log_loss as pointwise

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("Estimator", [FMClassifier, AFMClassifier])


def fit(Estimator, X, y, **parameters):
    return Estimator(**{"n_factors": 3, "random_state": 0, "max_iter": 15, "learning_rate": 0.2} | parameters).fit(X, y)


@pytest.fixture
def classes(ragged):
    """Ragged rows in three classes, and in two."""
    X, y = ragged
    rank = y.argsort(kind="stable").argsort()
    return X, rank * 3 // 60, (rank >= 20).astype(int)


@both
def test_decision_function_equals_the_equation(Estimator, classes):
    X, _, y = classes
    model = fit(Estimator, X, y)
    np.testing.assert_allclose(model.decision_function(X), reference.predict(model, X), rtol=1e-10)


@both
def test_decision_function_of_three_classes_equals_the_equation_of_each(Estimator, classes):
    X, y, _ = classes
    model = fit(Estimator, X, y)
    raw = model.decision_function(X)
    for c in range(3):
        linear = model.intercept_[c], model.coef_[c]
        if Estimator is FMClassifier:
            expected = [reference.fm(x, *linear, model.factors_, model.projection_[c]) for x in X]
        else:
            network = model.attention_coef_, model.attention_intercept_, model.attention_projection_
            expected = [reference.afm(x, *linear, model.factors_, *network, model.projection_[c]) for x in X]
        np.testing.assert_allclose(raw[:, c], expected, rtol=1e-9, atol=1e-12)


@both
def test_probabilities_of_two_classes_are_the_sigmoid(Estimator, classes):
    X, _, y = classes
    model = fit(Estimator, X, y)
    raw, proba = model.decision_function(X), model.predict_proba(X)
    np.testing.assert_allclose(proba, np.c_[1 - expit(raw), expit(raw)], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(proba), rtol=1e-8, atol=1e-12)
    assert np.array_equal(model.predict(X), (raw > 0).astype(int))


@both
def test_probabilities_of_three_classes_are_the_softmax(Estimator, classes):
    X, y, _ = classes
    model = fit(Estimator, X, y)
    raw, proba = model.decision_function(X), model.predict_proba(X)
    np.testing.assert_allclose(proba, softmax(raw, axis=1), rtol=1e-10)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(proba), rtol=1e-8, atol=1e-12)
    assert np.array_equal(model.predict(X), raw.argmax(1))


@both
@pytest.mark.parametrize("names", [["no", "yes"], [False, True], [7, -3], [2.0, 1.0]], ids=str)
def test_labels_of_any_type(Estimator, names, classes):
    X, _, y = classes
    labels = np.array(names)[y]
    model = fit(Estimator, X, labels)
    assert np.array_equal(model.classes_, np.unique(labels))
    assert model.predict(X).dtype == labels.dtype
    assert model.score(X, labels) > 0.8


@pytest.mark.parametrize("raw", [[-800.0, -1.0, 0.0, 3.0, 800.0]])
def test_log_loss_of_two_classes_by_hand(raw):
    for target in (0.0, 1.0):
        expected = [np.logaddexp(0, -r if target else r) for r in raw]
        actual = pointwise(torch.tensor(raw).double(), torch.full((5,), target).double())
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_log_loss_of_three_classes_by_hand():
    raw, target = np.random.default_rng(0).normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    expected = [-np.log(np.exp(row[c]) / np.exp(row).sum()) for row, c in zip(raw, target, strict=True)]
    np.testing.assert_allclose(pointwise(torch.tensor(raw), torch.tensor(target).double()), expected, rtol=1e-12)


@both
def test_intercept_starts_at_the_log_odds_of_the_weighted_shares(Estimator, classes):
    X, three, two = classes
    weight = np.arange(1.0, 61.0)
    no_step = {"max_iter": 1, "learning_rate": 1e-12, "random_state": 0}
    share = weight[two == 1].sum() / weight.sum()
    model = Estimator(**no_step).fit(X, two, sample_weight=weight)
    assert model.intercept_ == pytest.approx(np.log(share / (1 - share)), rel=1e-6)
    shares = np.bincount(three, weight) / weight.sum()
    np.testing.assert_allclose(Estimator(**no_step).fit(X, three, weight).intercept_, np.log(shares), rtol=1e-6)


@both
@pytest.mark.parametrize("several", [False, True], ids=["two classes", "three classes"])
def test_class_weight_is_a_sample_weight(Estimator, several, classes):
    X, three, two = classes
    y = three if several else two
    balanced = len(y) / (len(np.unique(y)) * np.bincount(y))
    for given, weight in (("balanced", balanced), ({0: 3.0, 1: 0.5}, np.array([3.0, 0.5, 1.0]))):
        model = Estimator(class_weight=given, random_state=0, max_iter=5).fit(X, y)
        expected = Estimator(random_state=0, max_iter=5).fit(X, y, sample_weight=weight[y])
        np.testing.assert_allclose(model.decision_function(X), expected.decision_function(X), rtol=1e-8)


@both
def test_one_class_is_refused(Estimator, ragged):
    with pytest.raises(ValueError, match="at least 2 classes, but has only one class: 'only'"):
        Estimator().fit(ragged[0], ["only"] * 60)


@both
def test_continuous_targets_are_refused(Estimator, ragged):
    with pytest.raises(ValueError, match="Unknown label type"):
        Estimator().fit(*ragged)


@both
def test_learns_three_classes_that_a_linear_model_cannot_tell_apart(Estimator):
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 3, size=(600, 2))
    X, y = OneHotEncoder().fit_transform(pairs), pairs.sum(1) % 3
    assert LogisticRegression().fit(X, y).score(X, y) < 0.6
    assert Estimator(random_state=0, max_iter=200).fit(X, y).score(X, y) > 0.99


@both
def test_probabilities_are_calibrated_on_rows_not_seen(Estimator):
    rng = np.random.default_rng(0)
    fields = rng.integers(0, 5, size=(20_000, 3))
    effect = rng.normal(size=(5, 5))
    truth = expit(-1 + 1.5 * effect[fields[:, 0], fields[:, 1]])
    X, y = OneHotEncoder().fit_transform(fields), (rng.random(20_000) < truth).astype(int)
    model = Estimator(random_state=0, max_iter=20).fit(X[:10_000], y[:10_000])
    proba = model.predict_proba(X[10_000:])
    assert log_loss(y[10_000:], proba) < log_loss(y[10_000:], truth[10_000:]) + 0.02
    assert np.abs(proba[:, 1] - truth[10_000:]).mean() < 0.05
