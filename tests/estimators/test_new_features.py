"""Columns that are added to a fitted model: the known ones stay as they are, and new ones learn."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skafm import (
    AFMClassifier,
    AFMRegressor,
    DeepCrossRegressor,
    DeepFMRegressor,
    FFMRegressor,
    FMClassifier,
    FMRegressor,
    FwFMRegressor,
    HOFMRegressor,
    NFMRegressor,
    WideDeepRegressor,
)
from skafm._training.collectives import SingleProcess

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (8,)}
MODELS = {
    "FM": FMRegressor(),
    "AFM": AFMRegressor(),
    "HOFM": HOFMRegressor(),
    "FFM": FFMRegressor(),
    "FwFM": FwFMRegressor(),
    "DeepFM": DeepFMRegressor(**SMALL),
    "NFM": NFMRegressor(**SMALL),
    "WideDeep": WideDeepRegressor(**SMALL),
    "DeepCross": DeepCrossRegressor(**SMALL),
}
every = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def draw(n=600, n_new=2):
    """Return rows of 12 users and 10 items and their targets; new users, in the last columns, have only later rows."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(12 + n_new, size=n), rng.integers(10, size=n)
    columns = np.column_stack([np.where(users < 12, users, users + 10), 12 + items])
    X = np.zeros((n, 22 + n_new))
    np.put_along_axis(X, columns, 1, axis=1)
    taste, effects = rng.normal(size=12 + n_new), rng.normal(size=10)
    y = 5 + 2 * effects[items] + 3 * taste[users] + 0.2 * rng.normal(size=n)
    return sparse.csr_array(X), y, users >= 12


def fields_of(model, n_new):
    return {"fields": np.zeros(n_new, int)} if hasattr(model, "fields_") else {}


@every
@pytest.mark.parametrize("first", ["fit", "partial_fit"])
def test_known_columns_keep_their_parameters_and_rows_their_predictions(model, first):
    X, y, new = draw()
    X, y = X[~new], y[~new]
    model = getattr(clone(model).set_params(random_state=0, max_iter=3), first)(X[:, :22], y)
    before, factors = model.predict(X[:, :22]), model.factors_.copy()
    assert model.add_features(2, **fields_of(model, 2)) is model
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-12)
    np.testing.assert_array_equal(model.factors_[:22], factors)
    assert (model.n_features_in_, len(model.factors_)) == (24, 24)
    assert len(getattr(model, "feature_importances_", range(24))) == 24


@every
@pytest.mark.parametrize("restore", [False, True])
def test_new_users_are_learned(model, restore):
    X, y, new = draw()
    old = ~new
    model = clone(model).set_params(random_state=0).fit(X[old][:, :22], y[old])
    model.add_features(2, **fields_of(model, 2))
    if restore:
        model = pickle.loads(pickle.dumps(model))
    before = model.score(X[new], y[new])
    for _ in range(30):
        model.partial_fit(X[new], y[new])
    assert model.score(X[new], y[new]) > max(0.8, before)


@pytest.mark.parametrize("Classifier", [FMClassifier, AFMClassifier])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_learn_new_users(Classifier, n_classes):
    X, y, new = draw()
    labels = np.digitize(y, np.quantile(y, np.arange(1, n_classes) / n_classes))
    model = Classifier(random_state=0, max_iter=20).fit(X[~new][:, :22], labels[~new]).add_features(2)
    before = model.predict_proba(X)
    for _ in range(30):
        model.partial_fit(X[new], labels[new])
    assert model.score(X[new], labels[new]) > 0.75
    assert before.shape == (600, n_classes)


def test_new_embeddings_are_as_at_first():
    """Small, random, in the units of training, and with an optimizer that has not moved them."""
    X, y, new = draw(n_new=200)
    model = AFMRegressor(random_state=0, max_iter=3).fit(X[~new][:, :22], 1000 * y[~new]).add_features(200)
    added = model.factors_[22:]
    assert added.std() == pytest.approx(0.01, rel=0.1)
    np.testing.assert_array_equal(model.linear_coef_[22:], 0)
    (state,) = model._training_state["states"]["factors"]
    np.testing.assert_array_equal(state[22:222], 1e-8)
    assert (state[:22] > 1e-8).all()
    assert len(state) == 222 + 2  # and two features for missing fields
    fm = FMRegressor(random_state=0, max_iter=3).fit(X[~new][:, :22], 1e4 * y[~new]).add_features(200)
    scale = np.sqrt(1e4 * y[~new].std())  # <v, v> is in the units of y
    assert fm.factors_[22:].std() == pytest.approx(0.01 * scale, rel=0.1)


def test_embeddings_of_two_additions_are_different():
    X, y, _ = draw(n_new=0)
    model = FMRegressor(random_state=0, max_iter=2).fit(X, y).add_features(3).add_features(3)
    assert len(np.unique(model.factors_[22:], axis=0)) == 6


def test_ranks_add_the_same_embeddings(monkeypatch):
    class Second(SingleProcess):
        def all_gather(self, value):
            return [7, value]

    monkeypatch.setattr("skafm._estimators.new_features.current_group", Second)
    X, y, _ = draw(n_new=0)
    one, other = (
        FMRegressor(random_state=seed, max_iter=2, early_stopping=False).fit(X, y).add_features(3) for seed in range(2)
    )
    np.testing.assert_array_equal(one.factors_[22:], other.factors_[22:])
    assert not np.allclose(one.factors_[:22], other.factors_[:22])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_stays_as_it_is(dtype):
    X, y, _ = draw(n_new=0)
    model = FMRegressor(random_state=0, max_iter=2).fit(X.astype(dtype), y).add_features(2)
    assert (model.factors_.dtype, model.linear_coef_.dtype) == (dtype, dtype)


def test_importances_of_new_columns_are_zero():
    X, y, _ = draw(n_new=0)
    model = FMRegressor(random_state=0, max_iter=2).fit(X, y)
    expected = [*model.feature_importances_, 0.0, 0.0]
    assert model.add_features(2).feature_importances_.tolist() == expected


@pytest.mark.parametrize("solver", ["adagrad", "adam", "sgd"])
def test_warm_start_goes_on_with_more_columns(solver):
    X, y, new = draw()
    model = FMRegressor(random_state=0, warm_start=True, solver=solver, early_stopping=False)
    model.fit(X[~new][:, :22], y[~new]).add_features(2)
    before = model.score(X, y)
    assert model.set_params(max_iter=30).fit(X, y).score(X, y) > max(before, 0.9)


def test_names_of_new_columns():
    X, y, new = draw()
    names = [f"c{i}" for i in range(24)]
    frame = pd.DataFrame(X.toarray(), columns=names)
    model = FMRegressor(random_state=0, max_iter=2).fit(frame[~new][names[:22]], y[~new])
    model.add_features(2, feature_names=names[22:]).partial_fit(frame, y)
    assert model.feature_names_in_.tolist() == names
    assert model.explain(frame[new][:1]).to_frame()["feature_i"].isin(names[22:]).any()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"n_features": 0}, ValueError, "n_features == 0, must be >= 1"),
        ({"n_features": 1.5}, TypeError, "n_features must be an instance of int"),
        ({"n_features": 1, "feature_names": ["a"]}, ValueError, "feature_names must be None"),
        ({"n_features": 1, "fields": [0]}, ValueError, "fields must be None"),
    ],
)
def test_bad_arguments(arguments, error, match):
    X, y, _ = draw()
    model = FMRegressor(random_state=0, max_iter=2).fit(X, y)
    before = vars(model).copy()
    with pytest.raises(error, match=match):
        model.add_features(**arguments)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


def test_bad_fields_and_names():
    X, y, _ = draw()
    model = FFMRegressor(random_state=0, max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="fields must have a value for each of the 2 new columns, got None"):
        model.add_features(2)
    with pytest.raises(ValueError, match="fields must be among those of fields_, 0 to"):
        model.add_features(2, fields=[0, 99])
    model = FMRegressor(random_state=0, max_iter=2).fit(pd.DataFrame(X.toarray()).add_prefix("c"), y)
    with pytest.raises(ValueError, match="feature_names must be new"):
        model.add_features(2, feature_names=["c1", "d"])
    with pytest.raises(ValueError, match=r"feature_names must be .* different from one another"):
        model.add_features(2, feature_names=["d", "d"])
    assert model.n_features_in_ == 24


def test_new_columns_have_the_fields_given():
    X, y, _ = draw(n_new=0)
    model = FFMRegressor(random_state=0, max_iter=2).fit(X, y)
    expected = [*model.fields_, 1, 0]
    assert model.add_features(2, fields=[1, 0]).fields_.tolist() == expected


def test_error_leaves_names_and_states_as_they_were(monkeypatch):
    X, y, _ = draw(n_new=0)
    frame = pd.DataFrame(X.toarray()).add_prefix("c")
    model = FFMRegressor(random_state=0, max_iter=2).fit(frame, y)
    expected = pickle.loads(pickle.dumps(model)).partial_fit(frame, y).predict(frame)
    with pytest.raises(ValueError, match="fields must be among"):  # after the names, which are right
        model.add_features(2, feature_names=["d", "e"], fields=[0, 99])

    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr("skafm._estimators.new_features.invalidate_cache", exhausted)  # the last step
    with pytest.raises(MemoryError):
        model.add_features(2, feature_names=["d", "e"], fields=[0, 0])
    np.testing.assert_array_equal(model.partial_fit(frame, y).predict(frame), expected)


def test_more_columns_without_it_are_an_error_that_names_it():
    X, y, _ = draw()
    model = FMRegressor(random_state=0, max_iter=2).fit(X[:, :22], y)
    for method in (model.predict, lambda rows: model.partial_fit(rows, y)):
        with pytest.raises(ValueError, match=r"X has 24 features.*add_features"):
            method(X)
    with pytest.raises(NotFittedError):
        FMRegressor().add_features(2)
