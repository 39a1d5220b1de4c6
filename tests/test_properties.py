"""What holds of any rows, drawn by hypothesis."""

import contextlib

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from strategies import corrupted, csr

from skafm import AFMRegressor, FMRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
few = settings(derandomize=True, deadline=None, max_examples=25, database=None)
doubles = csr(dtypes=[np.float64])


def fit(Estimator, X):
    """Fit a model for which every attribute matters."""
    y = np.random.default_rng(0).normal(size=X.shape[0])
    return Estimator(2, max_iter=3, learning_rate=0.1, random_state=0).fit(X, y)


def assert_equal_but_for_rounding(model, X, raw, expected):
    assert (np.abs(raw - expected) < reference.rounding(model, X)).all()


@both
@few
@given(csr())
def test_predictions_are_finite_and_equal_the_equation(Estimator, X):
    model = fit(Estimator, X)
    raw = model.predict(X)
    assert raw.dtype == X.dtype
    assert np.isfinite(raw).all()
    dense = X.toarray().astype(np.float64)
    assert_equal_but_for_rounding(model, X, raw, reference.predict(model, dense))


@both
@few
@given(csr())
def test_fit_twice_gives_the_same_bits(Estimator, X):
    one, two = fit(Estimator, X), fit(Estimator, X)
    names = ("intercept_", "linear_coef_", "factors_")
    assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in names)


@both
@few
@given(doubles, st.data())
def test_order_of_rows_does_not_matter_to_predict(Estimator, X, data):
    order = data.draw(st.permutations(range(X.shape[0])))
    model = fit(Estimator, X)
    assert_equal_but_for_rounding(model, X[order], model.predict(X[order]), model.predict(X)[order])


@both
@few
@given(doubles, st.data())
def test_order_of_columns_does_not_matter_to_predict(Estimator, X, data):
    order = data.draw(st.permutations(range(X.shape[1])))
    model = fit(Estimator, X)
    expected = model.predict(X)
    model.linear_coef_, model.factors_ = model.linear_coef_[order], model.factors_[order]
    turned = sparse.csr_array(X.toarray()[:, order])
    assert_equal_but_for_rounding(model, turned, model.predict(turned), expected)


@both
@few
@given(doubles, st.data())
def test_order_of_entries_zeros_and_formats_do_not_matter(Estimator, X, data):
    model = fit(Estimator, X)
    expected = model.predict(X)
    clean = X.copy()
    clean.sum_duplicates()
    clean.eliminate_zeros()
    turned = X.copy()
    for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        order = np.array(data.draw(st.permutations(range(start, stop))), int)
        turned.indices[start:stop], turned.data[start:stop] = X.indices[order], X.data[order]
    for same in (clean, turned, clean.tocsc(), clean.tocoo(), clean.toarray()):
        assert_equal_but_for_rounding(model, clean, model.predict(same), expected)


@both
@few
@given(corrupted())
def test_corrupt_rows_are_refused_or_harmless_and_never_changed(Estimator, X):
    before = [array.tobytes() for array in (X.data, X.indices, X.indptr)]
    with contextlib.suppress(ValueError):
        assert np.isfinite(fit(Estimator, X).predict(X)).all()
    assert [array.tobytes() for array in (X.data, X.indices, X.indptr)] == before
