"""The linear model that training begins with: the optimum, whatever the data, and the scale that predicts best."""

import numpy as np
import pytest
import torch
from conftest import ragged_matrix
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge

from skafm._training import linear_start
from skafm._training.batching import CSRRows, Dataset
from skafm._training.collectives import SINGLE_PROCESS, SingleProcess
from skafm._training.feature_statistics import feature_statistics
from skafm._training.losses import make_loss
from skafm.nn import FM

X = ragged_matrix(90)
WEIGHT = np.random.default_rng(1).uniform(0.5, 1.5, 90)
WEIGHT /= WEIGHT.mean()
Y = X[:, 0] - 2 * X[:, 1] + np.random.default_rng(2).normal(size=90)
SCALES = (16.0, 4.0, 1.0, 0.25, 0.0625)


class Twins(SingleProcess):
    """Two ranks with the same rows."""

    def all_gather(self, value):
        return [value, value]


def dataset(X=X, y=Y, weight=None, group=SINGLE_PROCESS, dtype=np.float64):
    weight = None if weight is None else torch.tensor(weight)
    rows = CSRRows.from_scipy(sparse.csr_array(X, dtype=dtype), torch.device("cpu"))
    return Dataset(rows, torch.tensor(np.asarray(y, dtype=dtype)), weight, group)


def fit(data, loss, prior, n_outputs=None, precision=0.0):
    """Return w0 and w of the linear model."""
    model = FM(data.rows.n_features, 2, n_outputs, dtype=data.rows.dtype)
    linear_start.fit_linear(model, data, make_loss(loss), torch.as_tensor(prior, dtype=data.rows.dtype), precision)
    return model.linear.intercept.detach().numpy(), model.linear.weight.detach().numpy()


exact = pytest.mark.usefixtures("exact_optimum")


@pytest.fixture
def exact_optimum(monkeypatch):
    """Stop L-BFGS at the optimum only."""
    monkeypatch.setattr(linear_start, "_OPTIONS", {"maxiter": 10_000, "gtol": 1e-9})


# --- the optimum ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weighted"])
@exact
def test_squared_error_equals_ridge_with_a_penalty_of_each_feature(weight):
    prior = np.linspace(0.5, 5, 9)
    w0, w = fit(dataset(weight=weight), "squared_error", prior)
    expected = Ridge(alpha=1.0).fit(X / np.sqrt(prior), Y, weight)  # a column divided by s is penalized s^2 times
    np.testing.assert_allclose(w * np.sqrt(prior), expected.coef_, rtol=1e-5, atol=1e-6)
    assert w0 == pytest.approx(expected.intercept_, rel=1e-5)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weighted"])
@exact
def test_log_loss_equals_logistic_regression(weight):
    """Its penalty has a factor of one half."""
    w0, w = fit(dataset(y=Y > 0, weight=weight), "log_loss", np.full(9, 0.5))
    expected = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(X, Y > 0, weight)
    np.testing.assert_allclose(w, expected.coef_[0], rtol=1e-5, atol=1e-6)
    assert w0 == pytest.approx(expected.intercept_[0], rel=1e-5)


@exact
def test_log_loss_of_three_classes_equals_logistic_regression():
    y = np.digitize(Y, [-0.5, 0.5])
    _, w = fit(dataset(y=y), "log_loss", np.full(9, 0.5), n_outputs=3)
    expected = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(w.T, expected.coef_, rtol=1e-5, atol=1e-5)


def test_default_precision_comes_close_to_the_optimum():
    y = Y > 0
    w0, w = fit(dataset(y=y, dtype=np.float32), "log_loss", np.full(9, 0.5), precision=linear_start._PRECISION)
    expected = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(w0 + X @ w, expected.decision_function(X), atol=0.02)


def test_features_without_rows_keep_their_weights():
    model = FM(12, 2, dtype=torch.float64)
    with torch.no_grad():
        model.linear.weight.fill_(7.0)
    rows = np.hstack([X, np.zeros((90, 3))])
    linear_start.fit_linear(model, dataset(rows), make_loss("squared_error"), torch.ones(12, dtype=torch.float64))
    w = model.linear.weight.detach().numpy()
    assert (w[9:] == 7.0).all()
    assert (np.abs(w[:9]) < 5).all()


@exact
def test_ranks_fit_the_rows_of_all():
    """Twice the rows with twice the prior have the same optimum."""
    expected = fit(dataset(weight=WEIGHT), "squared_error", np.full(9, 2.0))
    found = fit(dataset(weight=WEIGHT, group=Twins()), "squared_error", np.full(9, 4.0))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


@exact
def test_ranks_may_have_different_features():
    class Other(SingleProcess):
        """Another rank, with the rows of feature 3 and of feature 5."""

        def all_gather(self, value):
            if isinstance(value, torch.Tensor):
                return [value, torch.tensor([3, 5])]
            return [value, np.zeros_like(value)]

    rows = np.eye(9)[[1, 1, 5, 5]]
    y = [1.0, 1.0, -1.0, -1.0]
    expected = fit(dataset(rows, y), "squared_error", np.ones(9))[1]
    found = fit(dataset(rows, y, group=Other()), "squared_error", np.ones(9))[1]
    np.testing.assert_allclose(found, expected, atol=1e-6)


# --- the scale --------------------------------------------------------------------------------------------------------


def choose(data, validation=None, loss="squared_error"):
    model = FM(data.rows.n_features, 2, dtype=torch.float64)
    prior = torch.full((data.rows.n_features,), 5.0, dtype=torch.float64)
    scale = linear_start.choose_linear(model, data, validation, make_loss(loss), prior, SCALES)
    return scale, model


def one_hot(n_rows, n_levels, noise, seed=0):
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, n_levels, n_rows)
    effects = rng.normal(size=n_levels)
    y = effects[levels] + noise * rng.normal(size=n_rows)
    return np.eye(n_levels)[levels], y / y.std()


def test_noise_has_the_largest_scale_and_a_clear_signal_the_smallest():
    assert choose(dataset(*one_hot(300, 60, noise=30.0)), dataset())[0] == max(SCALES)
    assert choose(dataset(*one_hot(300, 30, noise=0.01)), dataset())[0] == min(SCALES)


@pytest.mark.parametrize(("n_rows", "best"), [(199, min(SCALES)), (200, max(SCALES))])
def test_validation_set_of_few_rows_is_not_used(n_rows, best):
    """Its targets are the opposite of what the training rows say, which are cross-validated if it is small."""
    rows, y = one_hot(300, 30, noise=0.01)
    assert choose(dataset(rows, y), dataset(rows[:n_rows], -y[:n_rows]))[0] == best


def test_largest_scale_within_one_standard_error_is_chosen_if_validation_rows_are_few():
    """The folds' losses by Ridge, and the rule of Breiman et al. (1984) on their differences from the lowest."""
    for seed in range(5):
        (rows, y), losses = one_hot(150, 30, noise=1.0, seed=seed), {}
        folds = np.arange(150) % 5
        for scale in SCALES:
            losses[scale] = np.empty(150)
            for fold in range(5):
                train, test = folds != fold, folds == fold
                ridge = Ridge(5.0 * scale).fit(rows[train], y[train])
                losses[scale][test] = (ridge.predict(rows[test]) - y[test]) ** 2
        lowest = losses[min(SCALES, key=lambda scale: losses[scale].mean())]
        worse = {scale: loss - lowest for scale, loss in losses.items()}
        expected = max(s for s, each in worse.items() if each.mean() <= each.std(ddof=1) / 150**0.5)
        assert choose(dataset(rows, y), dataset(rows[:199], y[:199]))[0] == expected


@pytest.mark.parametrize("losses", [[5.0, 2.0, 1.5, 3.0], [5.0, 3.0, 3.0], [9.0, 4.0, 3.9, 4.0], [2.0, 1.0, 8.0]])
def test_scale_is_at_the_vertex_of_the_parabola(losses):
    lowest = int(np.argmin(losses))
    at = np.log(SCALES[lowest - 1 : lowest + 2])
    square, slope, _ = np.polyfit(at, losses[lowest - 1 : lowest + 2], 2)
    assert linear_start._interpolate_minimum(SCALES, losses) == pytest.approx(np.exp(-slope / square / 2), rel=1e-9)


@pytest.mark.parametrize(("losses", "scale"), [([1.0, 2.0], 16.0), ([5.0, 4.0, 3.0, 2.0, 1.0], 1 / 16), ([1.0], 16.0)])
def test_lowest_loss_at_an_end_is_taken_as_it_is(losses, scale):
    assert linear_start._interpolate_minimum(SCALES, losses) == scale


def test_without_a_validation_set_the_scale_is_one():
    scale, model = choose(dataset(*one_hot(300, 30, noise=0.01)))
    assert scale == 1.0
    assert model.linear.weight.detach().std() > 0.1


@pytest.mark.parametrize("n_rows", [1, 2, 4])
def test_fewer_rows_than_folds(n_rows):
    scale, model = choose(dataset(np.eye(9)[:n_rows], np.arange(n_rows)), dataset())
    assert scale in SCALES
    assert bool(model.linear.weight.isfinite().all())


def test_linear_part_is_that_of_the_best_scale_on_all_rows():
    data = dataset(*one_hot(300, 30, noise=1.0))
    scale, model = choose(data, dataset())
    assert min(SCALES) < scale < max(SCALES)
    _, expected = fit(data, "squared_error", np.full(30, 5.0 * scale))
    np.testing.assert_allclose(model.linear.weight.detach(), expected, atol=0.01)


# --- what the prior depends on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weighted"])
def test_statistics_equal_those_of_loops(weight):
    count, scale = feature_statistics(dataset(weight=weight))
    weights = np.ones(90) if weight is None else weight
    for feature in range(9):
        rows = [row for row in range(90) if X[row, feature] != 0]
        total = sum(weights[row] for row in rows)
        assert count[feature] == pytest.approx(total)
        assert scale[feature] == pytest.approx(
            np.sqrt(sum(weights[row] * X[row, feature] ** 2 for row in rows) / total)
        )


def test_statistics_are_those_of_all_ranks():
    alone, ranks = feature_statistics(dataset()), feature_statistics(dataset(group=Twins()))
    np.testing.assert_allclose(ranks.weight, 2 * alone.weight)
    np.testing.assert_allclose(ranks.scale, alone.scale)


def test_feature_without_rows_has_no_scale():
    count, scale = feature_statistics(dataset(np.hstack([X, np.zeros((90, 1))])))
    assert count[9] == scale[9] == 0
