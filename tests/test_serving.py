"""A fitted model as a service has it: many threads, one model, rows one at a time."""

from concurrent.futures import ThreadPoolExecutor

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
    for name in ("factors_", "coef_"):
        getattr(model, name).setflags(write=writable)  # as of a model that is mapped from a file
    pieces = [X[start : start + size] for size in (1, 2, 60) for start in range(0, 60, size)]
    expected = [model.predict(piece) for piece in pieces]

    def work(first):
        order = np.roll(np.arange(len(pieces)), first)
        return [(i, model.predict(pieces[i])) for i in order]

    with ThreadPoolExecutor(THREADS) as pool:
        results = [result for part in pool.map(work, range(0, len(pieces), 12)) for result in part]
    assert len(results) == THREADS * len(pieces)
    assert all(np.array_equal(found, expected[i]) for i, found in results)


@both
def test_rows_one_at_a_time_predict_as_together(Estimator):
    model = fit(Estimator)
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
