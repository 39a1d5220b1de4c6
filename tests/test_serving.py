"""A fitted model as a service has it: many threads, one model, rows one at a time."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import reference
from conftest import ragged_matrix

import skafm
from skafm import AFMRegressor, FMRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
EVERY = [getattr(skafm, name) for name in skafm.__all__ if name.endswith("Regressor")]
both = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
X = ragged_matrix()
Y = X[:, 0] - 2 * X[:, 1] * X[:, 2]
THREADS = 8


def fit(Estimator):
    return Estimator(3, max_iter=10, learning_rate=0.2, random_state=0).fit(X, Y)


@both
@pytest.mark.parametrize("writable", [True, False])
def test_eight_threads_predict_the_same(Estimator, writable):
    model = fit(Estimator)
    for name in ("factors_", "coef_"):
        getattr(model, name).setflags(write=writable)  # as of a model that is mapped from a file
    pieces = [X[start : start + size] for size in (1, 2, 60) for start in range(0, 60, size)]
    expected = [deepcopy(model).predict(piece) for piece in pieces]  # the model itself has predicted nothing yet

    def work(first):
        order = np.roll(np.arange(len(pieces)), first)
        return [(i, model.predict(pieces[i])) for i in order]

    with ThreadPoolExecutor(THREADS) as pool:
        results = [result for part in pool.map(work, range(0, len(pieces), 12)) for result in part]
    assert len(results) == THREADS * len(pieces)
    assert all(np.array_equal(found, expected[i]) for i, found in results)


@both
@pytest.mark.parametrize("target", [Y, np.column_stack([Y, -3 * Y])], ids=["one target", "two"])
def test_rows_one_at_a_time_predict_as_together(Estimator, target):
    model = fit(Estimator).fit(X, target)
    alone = np.concatenate([model.predict(X[row : row + 1]) for row in range(60)])
    np.testing.assert_allclose(alone, model.predict(X), rtol=1e-12, atol=1e-12)


@both
@pytest.mark.parametrize("n_rows", [1, 60])
def test_predict_follows_attributes_that_are_changed(Estimator, n_rows):
    model, rows = fit(Estimator), X[9 : 9 + n_rows]
    before = model.predict(rows)
    model.coef_ = model.coef_ + 1.0
    assigned = model.predict(rows)
    assert not np.allclose(assigned, before)
    np.testing.assert_allclose(assigned, reference.predict(model, rows), rtol=1e-10)
    model.factors_[:] *= 2.0
    assert not np.allclose(model.predict(rows), assigned)
    np.testing.assert_allclose(model.predict(rows), reference.predict(model, rows), rtol=1e-10)


@pytest.mark.parametrize("Estimator", EVERY)
def test_predict_follows_each_attribute_of_each_model(Estimator):
    model, rng = fit(Estimator), np.random.default_rng(0)
    for name in set(Estimator._parameter_attributes.values()) & vars(model).keys() - {"fields_"}:
        model.predict(X)
        learnt = getattr(model, name)
        layers = isinstance(learnt, list)
        changed = np.array(learnt[0] if layers else learnt)
        changed += rng.uniform(0.5, 1.0, changed.shape)
        if layers:
            learnt[0] = changed
        else:
            setattr(model, name, changed[()])
        np.testing.assert_array_equal(model.predict(X), deepcopy(model).predict(X))  # of a copy nothing is kept
        changed *= 1.1
        np.testing.assert_array_equal(model.predict(X), deepcopy(model).predict(X))


def test_predict_follows_a_second_fit():
    model = fit(AFMRegressor)
    model.predict(X)
    model.fit(X, -3 * Y).predict(X)
    np.testing.assert_array_equal(model.predict(X), deepcopy(model).predict(X))


@both
def test_module_is_built_once(Estimator, monkeypatch):
    model, built, rebuild = fit(Estimator), [], Estimator._rebuild_module
    monkeypatch.setattr(Estimator, "_rebuild_module", lambda *a, **k: (built.append(1), rebuild(*a, **k))[1])
    for row in range(5):
        model.predict(X[row : row + 1])
    assert built == [1]


def test_what_was_learnt_is_let_go_of():
    model = fit(FMRegressor)
    model.predict(X)
    before = weakref.ref(model.factors_)
    model.fit(X, Y)
    gc.collect()
    assert before() is None
    model.predict(X)
    before = weakref.ref(model.factors_)
    del model
    gc.collect()
    assert before() is None
