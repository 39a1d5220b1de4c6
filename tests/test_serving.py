"""A fitted model as a service has it: many threads, one model, rows one at a time."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import reference
from conftest import ragged_matrix

from skafm import AFMRegressor, FMRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
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
    for name in ("factors_", "linear_coef_"):
        getattr(model, name).setflags(write=writable)  # as of a model that is mapped from a file
    parts = [X[start : start + size] for size in (1, 2, 60) for start in range(0, 60, size)]
    expected = [deepcopy(model).predict(part) for part in parts]  # the model itself has predicted nothing yet

    def work(first):
        order = np.roll(np.arange(len(parts)), first)
        return [(i, model.predict(parts[i])) for i in order]

    with ThreadPoolExecutor(THREADS) as pool:
        results = [result for each in pool.map(work, range(0, len(parts), 12)) for result in each]
    assert len(results) == THREADS * len(parts)
    assert all(np.array_equal(found, expected[i]) for i, found in results)


@both
@pytest.mark.parametrize("n_rows", [1, 60])
def test_predict_follows_attributes_that_are_changed(Estimator, n_rows):
    model, rows = fit(Estimator), X[9 : 9 + n_rows]
    before = model.predict(rows)
    model.linear_coef_ = model.linear_coef_ + 1.0
    assigned = model.predict(rows)
    assert not np.allclose(assigned, before)
    np.testing.assert_allclose(assigned, reference.predict(model, rows), rtol=1e-10)
    model.factors_[:] *= 2.0
    assert not np.allclose(model.predict(rows), assigned)
    np.testing.assert_allclose(model.predict(rows), reference.predict(model, rows), rtol=1e-10)


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


def test_arrays_of_a_former_fit_are_freed():
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
