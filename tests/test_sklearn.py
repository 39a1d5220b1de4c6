"""scikit-learn's word: the estimators behave as its own do."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

import skafm
from skafm import AFMRegressor, FMRegressor

quick = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])


def every_estimator():
    """Yield each with its default parameters, but small and short hidden ones: the checks fit it hundreds of times."""
    for name in skafm.__all__:
        Estimator = getattr(skafm, name)
        deep = "hidden_layer_sizes" in Estimator().get_params()
        yield Estimator(**{"hidden_layer_sizes": (16, 8), "max_iter": 40} if deep else {})
    yield skafm.NFMRegressor(pooling="attention", hidden_layer_sizes=(16, 8), max_iter=40)


@parametrize_with_checks(list(every_estimator()))
@quick
def test_estimator_check(estimator, check):
    check(estimator)


@pytest.fixture
def table():
    """A DataFrame of two categorical columns whose product is the target."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"colour": rng.choice(["red", "green", "blue"], 300), "size": rng.choice(["s", "m", "l"], 300)})
    y = np.where((X["colour"] == "red") == (X["size"] == "s"), 1.0, -1.0) + rng.normal(scale=0.1, size=300)
    return X, y


@both
@pytest.mark.parametrize("n_jobs", [1, 2])
@quick
def test_grid_search_in_a_pipeline(Estimator, n_jobs, table):
    X, y = table
    model = Estimator(n_factors=4, random_state=0, max_iter=20)
    grid = {"model__dropout": [0.0, 0.2]}
    if Estimator is AFMRegressor:
        grid["model__l2_attention"] = [0.0, 0.01]
    pipeline = sklearn.pipeline.Pipeline([("encode", OneHotEncoder()), ("model", model)])
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == (300,)


@both
@quick
def test_grid_search_does_not_depend_on_n_jobs(Estimator, table):
    X, y = table
    pipeline = make_pipeline(OneHotEncoder(), Estimator(n_factors=4, random_state=0, max_iter=5))
    one, two = (cross_val_score(pipeline, X, y, cv=2, n_jobs=n_jobs) for n_jobs in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-6)


@both
@quick
def test_learns_an_interaction_that_ridge_cannot_see(Estimator, xor):
    X, y = xor
    assert sklearn.linear_model.Ridge().fit(X, y).score(X, y) < 0.1
    assert Estimator(random_state=0).fit(X, y).score(X, y) > 0.95


@both
@quick
@pytest.mark.parametrize("copy", [clone, lambda model: model], ids=["clone", "itself"])
def test_same_seed_same_bits(Estimator, copy, ragged):
    X, y = ragged
    model = Estimator(random_state=0, dropout=0.3, batch_size=16, max_iter=5)
    first = model.fit(X, y).predict(X)
    assert np.array_equal(first, copy(model).fit(X, y).predict(X))


@both
@quick
@pytest.mark.parametrize("store", ["pickle", "joblib"])
def test_saved_model_predicts_the_same(Estimator, store, ragged, tmp_path):
    X, y = ragged
    model = Estimator(random_state=0, max_iter=3).fit(X, y)
    if store == "pickle":
        loaded = pickle.loads(pickle.dumps(model))
    else:
        joblib.dump(model, tmp_path / "model.joblib")
        loaded = joblib.load(tmp_path / "model.joblib")
    assert np.array_equal(loaded.predict(X), model.predict(X))


@both
@quick
def test_fitted_attributes_are_numpy(Estimator, ragged):
    X, y = ragged
    model = Estimator(n_factors=3, random_state=0, max_iter=3).fit(X, y)
    shapes = {"intercept_": (), "coef_": (9,), "factors_": (9, 3)}
    if Estimator is AFMRegressor:
        t = model.attention_size
        shapes |= {"attention_coef_": (t, 3), "attention_intercept_": (t,), "attention_projection_": (t,)}
        shapes["projection_"] = (3,)
    assert {name: getattr(model, name).shape for name in shapes} == shapes
    assert all(isinstance(getattr(model, name), (np.ndarray, np.floating)) for name in shapes)
    assert len(model.loss_curve_) == model.n_iter_ == 3


@both
@quick
def test_feature_names_are_kept_and_checked(Estimator, ragged):
    X, y = ragged
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(9)])
    model = Estimator(random_state=0, max_iter=2).fit(frame, y)
    assert list(model.feature_names_in_) == list(frame.columns)
    assert np.array_equal(model.predict(frame), Estimator(random_state=0, max_iter=2).fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"f0": "other"}))


@both
def test_html_repr(Estimator):
    assert Estimator.__name__ in Estimator()._repr_html_()


@both
@quick
def test_sample_weight_is_routed_through_a_pipeline(Estimator, ragged):
    X, y = ragged
    weight = np.arange(60.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = Estimator(random_state=0, max_iter=2).set_fit_request(sample_weight=True)
        routed = make_pipeline(model).fit(X, y, sample_weight=weight).predict(X)
    direct = Estimator(random_state=0, max_iter=2)
    assert np.array_equal(routed, direct.fit(X, y, sample_weight=weight).predict(X))
    assert not np.array_equal(routed, direct.fit(X, y).predict(X))


@both
@quick
def test_integer_weights_repeat_rows_on_sparse_input(Estimator, ragged):
    X, y = ragged
    weight = np.arange(60) % 3
    repeated = Estimator(random_state=0, max_iter=10).fit(sparse.csr_array(X.repeat(weight, axis=0)), y.repeat(weight))
    weighted = Estimator(random_state=0, max_iter=10).fit(sparse.csr_array(X), y, sample_weight=weight)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-7, atol=1e-9)
