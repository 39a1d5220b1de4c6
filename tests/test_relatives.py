"""The relatives of the factorization machine: what is theirs, and what all estimators must keep."""

import pickle

import numpy as np
import pytest
import reference
import sklearn
from scipy import sparse
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import skafm

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
LAYERS = {"hidden_layer_sizes": (6, 5)}
OWN = {
    "HOFM": {"order": 4},
    "FFM": {"fields": [0, 0, 1, 2, 1, 2, 0, 3, 3]},
    "WideDeep": LAYERS,
    "DeepCross": LAYERS,
    "NFM": LAYERS,
    "deep AFM": LAYERS | {"pooling": "attention", "attention_size": 4},
}
every = pytest.mark.parametrize("name", OWN)
deep = pytest.mark.parametrize("name", ["WideDeep", "DeepCross", "NFM", "deep AFM"])
QUICK = {"n_factors": 3, "random_state": 0, "max_iter": 10, "batch_size": 16}


def make(name, task="Regressor", **parameters):
    Estimator = getattr(skafm, ("NFM" if name == "deep AFM" else name) + task)
    return Estimator(**QUICK | OWN[name] | parameters)


@every
@pytest.mark.parametrize("unit", [(0.0, 1.0), (1000.0, 300.0), (1e-6, 1e-7)], ids=["standard", "large", "small"])
def test_predict_equals_the_equation_from_public_attributes(name, unit, ragged):
    X, y = ragged
    y = unit[0] + unit[1] * (y - y.mean()) / y.std()
    model = make(name).fit(X, y)
    np.testing.assert_allclose(model.predict(X), reference.predict(model, X), rtol=1e-9)


@every
def test_float32_predictions_equal_the_equation(name, ragged):
    X, y = ragged
    model = make(name).fit(X.astype(np.float32), y.astype(np.float32))
    assert model.factors_.dtype == np.float32
    np.testing.assert_allclose(model.predict(X), reference.predict(model, X), rtol=1e-3, atol=1e-4)


@every
def test_classifier_gives_the_log_odds_of_the_equation(name, ragged):
    X, y = ragged
    model = make(name, "Classifier").fit(X, np.where(y > 0, "yes", "no"))
    np.testing.assert_allclose(model.decision_function(X), reference.predict(model, X), rtol=1e-9, atol=1e-12)


@every
def test_learns_three_classes(name, ragged):
    X, _ = ragged
    y = np.digitize(X[:, 0], [-0.3, 0.3])
    model = make(name, "Classifier", max_iter=300, batch_size="auto").fit(X, y)
    probability = model.predict_proba(X)
    assert probability.shape == (60, 3)
    np.testing.assert_allclose(probability.sum(1), 1)
    assert model.score(X, y) > 0.8 > np.bincount(y).max() / 60 + 0.15


@every
def test_learns_two_targets(name, ragged):
    X, y = ragged
    y = np.column_stack([1000 + 50 * y, X[:, 5]])
    model = make(name, max_iter=200, batch_size="auto", learning_rate=0.05).fit(X, y)
    assert model.predict(X).shape == (60, 2)
    assert model.score(X, y) > 0.8


@every
def test_sparse_equals_dense(name, ragged):
    X, y = ragged
    expected = make(name).fit(X, y)
    model = make(name).fit(sparse.csc_matrix(X), y)
    np.testing.assert_allclose(model.factors_, expected.factors_, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(expected.predict(sparse.coo_array(X)), expected.predict(X), rtol=1e-12)


@every
def test_same_seed_same_bits_and_no_global_chance(name, ragged):
    X, y = ragged
    state = np.random.get_state()[1].copy()  # noqa: NPY002 that it stays as it is
    first, second = (make(name, dropout=0.3).fit(X, y).predict(X) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@every
def test_copies_predict_the_same(name, ragged):
    X, y = ragged
    model = make(name).fit(X, y)
    loaded = pickle.loads(pickle.dumps(model))
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert sklearn.base.clone(model).get_params() == model.get_params()


@every
def test_early_stopping_keeps_the_best_epoch(name, ragged):
    X, y = ragged
    settings = {"early_stopping": True, "max_iter": 40, "n_iter_no_change": 3}
    model = make(name, **settings).fit(X, y, X_val=X[:20], y_val=y[:20] + 1)
    assert model.best_iter_ == 1 + np.argmax(model.validation_scores_)
    error = np.mean((model.predict(X[:20]) - y[:20] - 1) ** 2) / y.var()
    assert -error == pytest.approx(model.validation_scores_[model.best_iter_ - 1], rel=1e-6)


@every
def test_parts_equal_one_epoch(name, ragged):
    X, y = ragged[0], np.arange(60) % 2  # in each half as many of each class, and rows of the same lengths
    settings = {"batch_size": 30, "learning_rate": 0.1}
    whole = make(name, "Classifier", shuffle=False, max_iter=1, **settings).fit(X, y)
    parts = make(name, "Classifier", **settings)
    parts.partial_fit(X[:30], y[:30], classes=[0, 1]).partial_fit(X[30:], y[30:])
    np.testing.assert_allclose(parts.decision_function(X), whole.decision_function(X), rtol=1e-9)


@every
def test_warm_start_goes_on(name, ragged):
    X, y = ragged
    model = make(name, warm_start=True, max_iter=5, tol=0).fit(X, y)
    before = model.loss_curve_[0]
    model.fit(X, y)
    assert model.loss_curve_[0] < before
    with pytest.raises(ValueError, match="model sizes, columns and targets must not change"):
        model.set_params(n_factors=7).fit(X, y)


@every
def test_predicts_after_a_change_of_parameters(name, ragged):
    X, y = ragged
    model = make(name).fit(X, y)
    expected = model.predict(X)
    assert np.array_equal(model.set_params(n_factors=7, max_iter=1).predict(X), expected)


@pytest.mark.parametrize(
    "name", ["HOFM", "FFM", "WideDeep", "NFM", "deep AFM"]
)  # DeepCross norms what it works at once
def test_a_batch_in_pieces_trains_the_same(name, ragged):
    X, y = ragged
    whole = make(name).fit(X, y)
    with sklearn.config_context(working_memory=0.001):
        pieces = make(name).fit(X, y)
        np.testing.assert_allclose(pieces.predict(X), whole.predict(X), rtol=1e-6, atol=1e-9)


@every
def test_grid_search_in_a_pipeline(name):
    rng = np.random.default_rng(0)
    X = rng.choice(["a", "b", "c"], size=(200, 3))
    y = (X[:, 0] == X[:, 1]) + rng.normal(scale=0.1, size=200)
    model = make(name, **{"fields": "auto"} if "fields" in OWN[name] else {})
    key = type(model).__name__.lower()
    search = GridSearchCV(
        make_pipeline(OneHotEncoder(), model), {f"{key}__dropout": [0.0, 0.1]}, cv=2, error_score="raise"
    )
    assert np.isfinite(search.fit(X, y).cv_results_["mean_test_score"]).all()


@deep
def test_starts_from_a_machine(name, ragged):
    X, y = ragged
    fm = skafm.FMRegressor(n_factors=3, random_state=0).fit(X, y)
    frozen = make(name, init=FrozenEstimator(fm), freeze_init=True).fit(X, y)
    np.testing.assert_allclose(frozen.factors_, fm.factors_ / y.std() ** 0.5, rtol=1e-9)
    if name != "DeepCross":  # which has no linear part
        np.testing.assert_allclose(frozen.coef_, fm.coef_, rtol=1e-9)
    trained = make(name, init="fm", max_iter=5).fit(X, y)
    assert trained.n_iter_ == 5
    with pytest.raises(ValueError, match="freeze_init=True needs initial parameters"):
        make(name, freeze_init=True).fit(X, y)


@deep
@pytest.mark.parametrize("sizes", [(), (3, 0), (2.5,), ("a",)])
def test_hidden_layers_that_are_none_are_refused(name, sizes, ragged):
    with pytest.raises(ValueError, match="must be one or more positive integers"):
        make(name, hidden_layer_sizes=sizes).fit(*ragged)


def test_hofm_learns_what_takes_three_features():
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], size=(600, 3))
    y = X.prod(1)
    settings = {"n_factors": 8, "random_state": 0, "max_iter": 200, "l2_factors": 0.0}
    assert skafm.FMRegressor(**settings).fit(X, y).score(X, y) < 0.1
    assert skafm.HOFMRegressor(**settings).fit(X, y).score(X, y) > 0.95


def test_docstrings_are_filled_in():
    for name in skafm.__all__:
        assert "random_state : int" in getattr(skafm, name).__doc__
        assert "    {" not in getattr(skafm, name).__doc__
