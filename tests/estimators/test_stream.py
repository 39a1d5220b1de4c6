"""Learning from a stream: partial_fit finds the units of y as it goes, weighs rows alike, and resumes after fit."""

import pickle
import time

import numpy as np
import pytest
import torch
from scipy import sparse

from skafm import (
    AFMClassifier,
    AFMRegressor,
    DeepCrossRegressor,
    FFMRegressor,
    FMClassifier,
    FMRegressor,
    NFMRegressor,
)
from skafm._estimators.feature_subset import compact_columns
from skafm._training.collectives import SingleProcess
from skafm._training.optimizers import Adam

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])


def draw(n=2000, n_fields=3, n_levels=8, seed=0):
    """Return one-hot rows, and a target of main effects and interactions in a unit of its own."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(n_levels, size=(n, n_fields))
    indices = (levels + np.arange(n_fields) * n_levels).ravel()
    X = sparse.csr_array((np.ones(n * n_fields), indices, np.arange(0, n * n_fields + 1, n_fields)))
    main, V = rng.normal(size=(n_fields, n_levels)), 0.6 * rng.normal(size=(n_fields, n_levels, 3))
    y = sum(main[f, levels[:, f]] for f in range(n_fields))
    y += sum((V[f, levels[:, f]] * V[g, levels[:, g]]).sum(1) for f in range(n_fields) for g in range(f))
    return X, 500 + 30 * (y + 0.5 * rng.normal(size=n))


@pytest.fixture(scope="module")
def data():
    return draw()


def stream(model, X, y, size, **options):
    for start in range(0, X.shape[0], size):
        model.partial_fit(X[start : start + size], y[start : start + size], **options)
    return model


# --- units of y -------------------------------------------------------------------------------------------------------

FIRST = {
    "one row": lambda X, y: (X[:1], y[:1]),
    "equal targets": lambda X, y: (X[:40], np.full(40, y[0])),
    "zeros": lambda X, y: (X[:40], 0 * y[:40]),
    "another unit": lambda X, y: (X[:40], 1e-4 * y[:40]),
    "the lowest targets": lambda X, y: (X[np.argsort(y)[:40]], np.sort(y)[:40]),
}


@both
@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_first_part_does_not_spoil_the_stream(Estimator, first, data):
    X, y = data
    expected = Estimator(random_state=0)
    model = Estimator(random_state=0).partial_fit(*first(X, y))
    for _ in range(5):
        expected.partial_fit(X, y)
        model.partial_fit(X, y)
    assert expected.score(X, y) > 0.8
    assert model.score(X, y) > expected.score(X, y) - 0.02


@both
def test_single_rows_learn_at_least_what_one_call_does(Estimator, data):
    X, y = (each[:300] for each in data)
    whole = Estimator(random_state=0).partial_fit(X, y).score(X, y)
    assert stream(Estimator(random_state=0), X, y, 1).score(X, y) > whole - 0.02
    assert stream(Estimator(random_state=0), X, y, 50).score(X, y) > whole - 0.02


@both
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_predictions_do_not_change_with_the_units(Estimator, n_outputs, data):
    X, y = data
    y = y if n_outputs == 1 else np.column_stack([y, -1e-3 * y])
    model = Estimator(random_state=0, max_iter=3).fit(X, y)
    before = model.predict(X)
    spread = y.mean(axis=0) + 100 * (y - y.mean(axis=0))  # the same mean: the intercept stays, too
    model.set_params(learning_rate=1e-12).partial_fit(X, spread)
    assert np.all(model._target_scale[1] > 50 * y.std(axis=0))
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-6)


@both
def test_intercept_follows_the_mean_of_the_targets(Estimator, data):
    X, y = data
    model = Estimator(random_state=0, max_iter=3, early_stopping=False).fit(X, y)
    before = model.predict(X)
    model.set_params(learning_rate=1e-12).partial_fit(X, y + 100)  # half of the targets so far
    expected = before + ((y + 100) - before).mean() / 2
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6)


@both
def test_intercept_follows_the_weighted_mean_of_the_targets(Estimator, data):
    X, y = data
    model = Estimator(random_state=0, max_iter=3, early_stopping=False).fit(X, y)
    before, weight = model.predict(X), np.linspace(0, 4, len(y))
    after = y + 100 * (weight > 2)  # more than half of the weight
    model.set_params(learning_rate=1e-12).partial_fit(X, after, sample_weight=weight)
    expected = before + np.average(after - before, weights=weight) * 2 / 3  # of the weight so far
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6)


@both
def test_moments_of_a_stream_are_those_of_all_targets(Estimator, data):
    X, y = data
    weight = np.linspace(0, 2, len(y))
    model = Estimator(random_state=0)
    for part in np.split(np.arange(len(y)), [1, 2, 700]):
        if weight[part].sum():
            model.partial_fit(X[part], y[part], sample_weight=weight[part])
    total, mean, std = model._target_moments
    assert total == pytest.approx(weight.sum())
    assert mean == pytest.approx(np.average(y, weights=weight), rel=1e-12)
    assert std == pytest.approx(np.sqrt(np.average((y - mean) ** 2, weights=weight)), rel=1e-9)


@pytest.mark.parametrize("unit", [1e-250, 1e250])
def test_moments_of_extreme_targets_stay_in_range(unit, data):
    X, y = data
    model = stream(FMRegressor(random_state=0), X, unit * y, 1000)
    assert model._target_moments[2] / unit == pytest.approx(y.std(), rel=1e-9)


@both
def test_float32_rows_and_targets_far_from_zero(Estimator, data):
    X, y = data
    y = (y - y.mean()) / y.std()
    score = Estimator(random_state=0, max_iter=20).fit(X.astype(np.float32), y).score(X, y)
    for mean in (1e6, -1e9):
        model = Estimator(random_state=0, max_iter=20).fit(X.astype(np.float32), y + mean)
        assert model.score(X.astype(np.float32), y + mean) == pytest.approx(score, abs=2e-3)
        assert pickle.loads(pickle.dumps(model)).score(X, y + mean) == pytest.approx(score, abs=2e-3)
        model.partial_fit(X[:100].astype(np.float32), y[:100] + mean)
        assert model.score(X, y + mean) > score - 0.01


@both
def test_intercept_far_from_zero_keeps_its_digits_in_float32(Estimator, data):
    X, y = data[0].astype(np.float32), 1e9 + (data[1] - data[1].mean()) / data[1].std()
    model = Estimator(random_state=0, max_iter=3, early_stopping=False).fit(X, y)
    model.intercept_ = model.intercept_ + 3.0  # 64 is the distance of two numbers there
    before = model.predict(X)
    model.set_params(learning_rate=1e-12).partial_fit(X, y)
    np.testing.assert_allclose(model.predict(X) - before, 0, atol=0.01)


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("Estimator", [FMClassifier, AFMClassifier])
@pytest.mark.parametrize("size", [1, 2, 50])
def test_class_weights_count_however_the_stream_is_cut(Estimator, size, data):
    X, y = (each[:100] for each in data)
    y = (y > np.quantile(y, 0.8)).astype(int)
    options = {"random_state": 0, "solver": "sgd", "batch_size": size}
    plain = stream(Estimator(**options), X, y, size, classes=[0, 1])
    weighted = stream(Estimator(**options, class_weight={0: 1, 1: 4}), X, y, size, classes=[0, 1])
    assert weighted.decision_function(X).mean() > plain.decision_function(X).mean() + 0.1


@both
def test_one_call_and_many_take_the_same_steps(Estimator, data):
    X, y = (each[:400] for each in data)
    weight = np.random.default_rng(0).uniform(0, 5, len(y))
    y = np.tile([-1.0, 1.0], 200) * 30 + 500
    weight = np.repeat(weight[::2], 2)  # the same mean and spread in each part
    options = {"random_state": 0, "batch_size": 20, "solver": "sgd"}
    whole = Estimator(**options).partial_fit(X, y, sample_weight=weight)
    parts = Estimator(**options)
    for start in range(0, 400, 20):
        part = slice(start, start + 20)
        parts.partial_fit(X[part], y[part], sample_weight=weight[part])
    np.testing.assert_allclose(parts.factors_, whole.factors_, rtol=1e-9)
    np.testing.assert_allclose(parts.linear_coef_, whole.linear_coef_, rtol=1e-9, atol=1e-12)


# --- resuming ---------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(("solver", "learning_rate"), [("adagrad", 0.05), ("adam", 0.01), ("sgd", 0.05)])
def test_single_rows_after_fit_do_not_make_the_model_worse(Estimator, solver, learning_rate, data):
    X, y = data
    model = Estimator(random_state=0, solver=solver, learning_rate=learning_rate, max_iter=10).fit(X[:1500], y[:1500])
    model = pickle.loads(pickle.dumps(model))
    before = model.score(X[1500:], y[1500:])
    for row in range(50):
        model.partial_fit(X[row : row + 1], y[row : row + 1])
    assert model.score(X[1500:], y[1500:]) > before - 0.003


def test_frozen_embeddings_stay_as_they_are(data):
    X, y = data
    model = AFMRegressor(random_state=0, init="fm", freeze_init=True, max_iter=2).fit(X, y)
    factors, attention = model.factors_.copy(), model.attention_coef_.copy()
    model.partial_fit(X, y)
    np.testing.assert_allclose(model.factors_, factors, rtol=1e-12)
    assert not np.allclose(model.attention_coef_, attention)


def test_another_solver_begins_with_its_own_states(data):
    X, y = data
    model = FMRegressor(random_state=0, solver="adam", max_iter=2).fit(X, y)
    model.set_params(solver="adagrad").partial_fit(X[:1], y[:1])
    (state,) = model._training_state["states"]["factors"]
    is_in_row = np.isin(np.arange(X.shape[1]), X[:1].indices)
    np.testing.assert_array_equal(state[: X.shape[1]][~is_in_row], 1e-8)
    assert (state[: X.shape[1]][is_in_row] > 1e-8).all()


@pytest.mark.parametrize("Estimator", [FMClassifier, AFMClassifier])
def test_rows_after_the_first_call_are_taken_in_their_order(Estimator, data):
    X, y = (each[:400] for each in data)
    first = Estimator(random_state=0, batch_size=20, solver="sgd").partial_fit(X[:20], y[:20] > 500, classes=[0, 1])
    whole, parts = pickle.loads(pickle.dumps(first)), first
    whole.partial_fit(X[20:], y[20:] > 500)
    stream(parts, X[20:], y[20:] > 500, 20)
    np.testing.assert_allclose(parts.factors_, whole.factors_, rtol=1e-9)


@both
def test_float64_rows_are_taken_in_the_precision_of_the_model(Estimator, data):
    X, y = data
    model = Estimator(random_state=0, max_iter=2).fit(X.astype(np.float32), y)
    other = pickle.loads(pickle.dumps(model)).partial_fit(X.astype(np.float32), y)
    model.partial_fit(X, y)
    for name, value in vars(other).items():
        if isinstance(value, np.ndarray):
            assert getattr(model, name).dtype == value.dtype
            np.testing.assert_array_equal(getattr(model, name), value)


@both
@pytest.mark.parametrize(("solver", "learning_rate"), [("adagrad", 0.05), ("adam", 0.01)])
def test_warm_starts_of_one_epoch_equal_one_fit(Estimator, solver, learning_rate, data):
    X, y = data
    options = {"random_state": 0, "solver": solver, "learning_rate": learning_rate, "early_stopping": False, "tol": 0}
    whole = Estimator(**options, max_iter=5).fit(X, y)
    parts = Estimator(**options, max_iter=1, warm_start=True)
    for _ in range(5):
        parts.fit(X, y)
    assert parts.loss_curve_[-1] < whole.loss_curve_[-1] * 1.1 + 0.01


def test_stored_model_grows_by_one_number_for_each_feature():
    X = sparse.eye_array(2000).tocsr()
    model = FMRegressor(64, max_iter=1).fit(X, np.arange(2000.0))
    assert len(pickle.dumps(model)) < 1.1 * (model.factors_.nbytes + model.linear_coef_.nbytes)


def test_losses_of_a_long_stream_are_bounded(monkeypatch):
    monkeypatch.setattr("skafm._estimators.partial_fit._MAX_LOSSES", 3)
    model = FMRegressor(random_state=0)
    for _ in range(5):
        model.partial_fit(np.eye(3), [0.0, 1.0, 2.0])
    assert len(model.loss_curve_) == 3
    assert model.n_iter_ == model.best_iter_ == 5


def test_pretraining_is_not_counted():
    model = AFMRegressor(init="fm", random_state=0).partial_fit(np.eye(4)[[0, 1, 2, 3] * 5], np.arange(20.0))
    assert model.n_iter_ == len(model.loss_curve_) == 1


@pytest.mark.parametrize(
    ("Estimator", "changed"),
    [
        (NFMRegressor, {"hidden_layer_sizes": (6,)}),
        (NFMRegressor, {"pooling": "attention"}),
        (DeepCrossRegressor, {"hidden_layer_sizes": (6, 6, 6)}),
    ],
)
def test_warm_start_after_a_change_of_layers_is_refused(Estimator, changed):
    X, y = np.eye(4)[[0, 1, 2, 3] * 5], np.arange(20.0)
    model = Estimator(hidden_layer_sizes=(6, 6), max_iter=1, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"Shape mismatch for .*use warm_start=False"):
        model.set_params(**changed).fit(X, y)


def test_row_first_touched_late_moves_by_one_learning_rate():
    table = torch.zeros(2, 3, dtype=torch.float64)
    adam, gradient = Adam({"t": table}, 0.1), torch.ones(1, 3, dtype=torch.float64)
    for _ in range(5000):
        adam.step({"t": table[:1].clone()}, {"t": gradient.clone()}, {"t": torch.tensor([0])})
    adam.step({"t": table[1:].clone()}, {"t": gradient.clone()}, {"t": torch.tensor([1])})
    torch.testing.assert_close(table[1], torch.full((3,), -0.1, dtype=torch.float64))


# --- many columns -----------------------------------------------------------------------------------------------------


def fastest(call, times=30):
    """Return the CPU seconds of the fastest of several calls."""
    seconds = []
    for _ in range(times):
        start = time.thread_time()
        call()
        seconds.append(time.thread_time() - start)
    return min(seconds)


@pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor, FFMRegressor, DeepCrossRegressor])
def test_one_row_takes_no_longer_with_more_columns(Estimator):
    """A sixty-fourth of the columns takes as long; copies of the tables took 10 to 60 times as long."""
    options = {"hidden_layer_sizes": (4,)} if Estimator is DeepCrossRegressor else {}
    seconds = []
    for n_columns in (2**13, 2**19):
        indices = np.random.default_rng(0).integers(n_columns // 4, size=(50, 4)) + np.arange(4) * (n_columns // 4)
        X = sparse.csr_array((np.ones(200), indices.ravel(), np.arange(0, 201, 4)), shape=(50, n_columns))
        model = Estimator(2, random_state=0, max_iter=1, **options).fit(X, np.sin(np.arange(50.0)))
        model.partial_fit(X[:1], [1.0])  # makes room for the optimizer's state
        calls = [
            lambda model=model, X=X: model.partial_fit(X[:1], [1.0]),
            lambda model=model, X=X: model.predict(X[:1]),
        ]
        if hasattr(model, "explain"):
            calls.append(lambda model=model, X=X: model.explain(X[:1]))
        seconds.append([fastest(call) for call in calls])
    assert (np.array(seconds[1]) < 2 * np.array(seconds[0])).all(), seconds


def test_read_only_arrays_are_copied_once(data):
    """Those of a memory-mapped model."""
    X, y = data
    model = AFMRegressor(random_state=0, max_iter=2).fit(X, y)
    expected = pickle.loads(pickle.dumps(model)).partial_fit(X[:5], y[:5]).predict(X)
    for array in (model.factors_, model.linear_coef_, *model._missing_rows.values()):
        array.flags.writeable = False
    factors, before = model.factors_, model.factors_.copy()
    model.partial_fit(X[:5], y[:5])
    np.testing.assert_array_equal(factors, before)
    np.testing.assert_array_equal(model.predict(X), expected)
    assert model.factors_.flags.writeable


@both
def test_arrays_are_changed_in_place(Estimator, data):
    X, y = data
    model = Estimator(random_state=0, max_iter=2).fit(X, y).partial_fit(X[:5], y[:5])  # makes room for the states
    arrays = lambda: [model.factors_, model.linear_coef_, *model._training_state["states"]["factors"]]  # noqa: E731
    before, copies = arrays(), [array.copy() for array in arrays()]
    model.partial_fit(X[:5], y[:5])
    assert all(new is old for new, old in zip(arrays(), before, strict=True))
    assert not any(np.array_equal(old, copy) for old, copy in zip(before, copies, strict=True))


def test_columns_of_a_call_are_those_of_all_ranks():
    class Two(SingleProcess):
        def all_gather(self, value):
            return [value, np.array([1, 5])]

    columns, rows = compact_columns(sparse.csr_array([[0.0, 0.0, 2.0, 0.0, 0.0, 3.0]]), Two())
    assert columns.tolist() == [1, 2, 5]
    assert rows.toarray().tolist() == [[0.0, 2.0, 3.0]]


@pytest.mark.parametrize("solver", ["adagrad", "adam", "sgd"])
@pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
def test_call_of_some_features_is_the_call_of_all(Estimator, solver, data):
    """As if all rows of the tables had taken part: those that the rows lack have no gradient."""
    X, y = data
    part = X[:7], y[:7]
    whole, some = (Estimator(random_state=0, solver=solver, max_iter=2).fit(X, y) for _ in range(2))
    every = np.arange(X.shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skafm._estimators.partial_fit.compact_columns", lambda rows, _: (every, rows))
        whole.partial_fit(*part).partial_fit(*part)
    some.partial_fit(*part).partial_fit(*part)
    assert set(vars(whole)) == set(vars(some))
    for name in ("factors_", "linear_coef_", "intercept_"):
        np.testing.assert_allclose(getattr(some, name), getattr(whole, name), rtol=1e-9, atol=1e-12)
    untouched = np.setdiff1d(every, part[0].indices)
    assert len(untouched)
    for states_some, states_whole in zip(
        some._training_state["states"]["factors"], whole._training_state["states"]["factors"], strict=True
    ):
        np.testing.assert_allclose(states_some, states_whole, rtol=1e-9, atol=1e-15)


def test_first_call_after_fit_draws_with_the_random_state(data):
    """Its dropout: ``fit`` keeps no generator."""
    X, y = data
    model = FMRegressor(dropout=0.5, random_state=0, max_iter=2).fit(X, y)
    one, same, other = (pickle.loads(pickle.dumps(model)).set_params(random_state=seed) for seed in (1, 1, 2))
    factors = [each.partial_fit(X[:50], y[:50]).factors_ for each in (one, same, other)]
    np.testing.assert_array_equal(factors[0], factors[1])
    assert np.abs(factors[0] - factors[2]).max() > 1e-6
