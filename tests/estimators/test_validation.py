"""Input: rows, sample weights, and the validation set for early stopping."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ESTIMATORS = [FMRegressor, AFMRegressor, FMClassifier, AFMClassifier]
every = pytest.mark.parametrize("Estimator", ESTIMATORS)
regressors = pytest.mark.parametrize("Estimator", ESTIMATORS[:2])
classifiers = pytest.mark.parametrize("Estimator", ESTIMATORS[2:])


# --- rows -------------------------------------------------------------------------------------------------------------


@regressors
def test_read_only_memory_map_gives_the_same_model(Estimator, ragged, tmp_path):
    X, y = ragged
    csr = sparse.csr_array(X)
    parts = {"data": csr.data, "indices": csr.indices, "indptr": csr.indptr, "y": y}
    for name, array in parts.items():
        np.save(tmp_path / f"{name}.npy", array)
    maps = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in parts}
    mapped = sparse.csr_array((maps["data"], maps["indices"], maps["indptr"]), shape=X.shape)
    model = Estimator(random_state=0, max_iter=3).fit(mapped, maps["y"])
    assert np.array_equal(model.predict(mapped), Estimator(random_state=0, max_iter=3).fit(csr, y).predict(X))


@regressors
def test_integer_rows_are_computed_in_float64(Estimator):
    X = np.eye(4, dtype=np.int32)[np.arange(40) % 4]
    assert Estimator(max_iter=1).fit(X, np.arange(40.0) % 4).factors_.dtype == np.float64


@every
def test_rows_of_weight_zero_are_left_out(Estimator, data):
    X, y = data(Estimator)
    weight = np.arange(400) % 2
    model, expected = (Estimator(random_state=0, max_iter=3) for _ in range(2))
    model.fit(X, y, sample_weight=weight)
    assert np.array_equal(model.predict(X), expected.fit(X[weight > 0], y[weight > 0]).predict(X))


# --- rows of strings --------------------------------------------------------------------------------------------------

WORDS = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]]
STRINGS = {
    "list": WORDS,
    "array": np.array(WORDS),
    "objects": np.array(WORDS, object),
    "frame": pd.DataFrame(WORDS),
    "frame of one column of strings": pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "color": list("abcd")}),
    "categories": pd.DataFrame(WORDS).astype("category"),
}
strings = pytest.mark.parametrize("X", STRINGS.values(), ids=STRINGS)


def advice(Estimator):
    """Return the pattern of a message that names an encoder and the estimator."""
    encoder = r"make_pipeline\(OneHotEncoder\(handle_unknown='ignore'\), "
    return rf"X contains strings .*encode categorical columns first, e\.g\. {encoder}{Estimator.__name__}\(\)\)"


@every
@strings
def test_strings_to_fit_are_to_be_encoded(Estimator, X):
    with pytest.raises(ValueError, match=advice(Estimator)):
        Estimator().fit(X, [0, 1, 1, 0])


@every
@strings
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_strings_to_predict_are_to_be_encoded(Estimator, X):
    model = Estimator(2, max_iter=1).fit(np.eye(4, 2), [0, 1, 1, 0])
    with pytest.raises(ValueError, match=advice(Estimator)):
        model.predict(X)


def test_error_about_strings_in_y_does_not_blame_X():
    with pytest.raises(ValueError, match="could not convert string") as caught:
        FMRegressor().fit(np.eye(4), np.array(["a", "b", "c", "d"], object))
    assert "X contains" not in str(caught.value)


def test_error_about_rows_of_different_lengths_is_that_of_numpy():
    with pytest.raises(ValueError, match="inhomogeneous shape"):
        FMRegressor().fit([["a", "b"], ["c"]], [0.0, 1.0])


# --- the validation set -----------------------------------------------------------------------------------------------


class Recorder:
    """A scorer that records its arguments."""

    def __init__(self):
        self.calls = []

    def __call__(self, estimator, X, y, sample_weight=None):
        self.calls.append((X, y, sample_weight))
        return estimator.score(X, y)


@every
def test_validation_set_is_a_share_of_the_rows_with_their_weights(Estimator, data):
    X, y = data(Estimator)
    X = np.c_[X, np.arange(1.0, 401.0)]  # the weight, as a column
    scorer = Recorder()
    model = Estimator(max_iter=2, early_stopping=True, validation_fraction=0.2, scoring=scorer, learning_rate=1e-3)
    model.fit(X, y, sample_weight=X[:, -1])
    held, _, weight = scorer.calls[0]
    assert len(scorer.calls) - 1 == model.n_iter_ == 2  # the first is of the initial parameters
    assert held.shape[0] == 80
    np.testing.assert_allclose(weight, np.asarray(held)[:, -1])


@classifiers
def test_validation_set_is_stratified(Estimator, data):
    X, _ = data(Estimator)
    y = np.array(["common"] * 380 + ["rare"] * 20)
    scorer = Recorder()
    Estimator(max_iter=1, early_stopping=True, validation_fraction=0.1, scoring=scorer).fit(X, y)
    assert sorted(scorer.calls[0][1]) == ["common"] * 38 + ["rare"] * 2


@classifiers
@pytest.mark.parametrize("n_rare", [1, 300], ids=["a class of one row", "more classes than rows to draw"])
def test_validation_set_is_drawn_whatever_the_classes(Estimator, n_rare):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1200, 3)), np.zeros(1200, int)
    y[:n_rare] = 1 + np.arange(n_rare)
    y[-n_rare:] = y[:n_rare] if n_rare > 1 else 0
    model = Estimator(2, random_state=0, max_iter=1).fit(X, y)
    assert len(model.classes_) == n_rare + 1
    assert np.isfinite(model.predict_proba(X)).all()


@every
@pytest.mark.parametrize(
    ("stop", "given", "message"),
    [
        (True, {"X_val": np.eye(3, 15)}, "X_val and y_val must be given together"),
        (True, {"y_val": np.arange(3) % 2}, "X_val and y_val must be given together"),
        (False, {"X_val": np.eye(3, 15), "y_val": np.arange(3) % 2}, "set early_stopping=True"),
        (True, {"sample_weight_val": np.ones(3)}, "pass them too"),
        (True, {"X_val": np.eye(3, 14), "y_val": np.arange(3) % 2}, "14 features"),
    ],
)
def test_validation_set_that_does_not_match_is_refused(Estimator, stop, given, message, data):
    with pytest.raises(ValueError, match=message):
        Estimator(early_stopping=stop).fit(*data(Estimator), **given)


@classifiers
def test_unknown_label_in_the_validation_set_is_named(Estimator, data):
    X, y = data(Estimator)
    with pytest.raises(ValueError, match=r"not among the classes \[0, 1\]: \[7\]"):
        Estimator(early_stopping=True).fit(X, y, X_val=X[:2], y_val=[0, 7])


@every
def test_validation_set_is_transformed_by_the_pipeline(Estimator, data):
    X, y = data(Estimator)
    X = 3 * X
    settings = {"random_state": 0, "early_stopping": True, "max_iter": 5}
    with sklearn.config_context(enable_metadata_routing=True):
        model = Estimator(**settings).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(MaxAbsScaler(), model, transform_input=["X_val"])
        pipeline.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    direct = Estimator(**settings).fit(X[:300] / 3, y[:300], X_val=X[300:] / 3, y_val=y[300:])
    np.testing.assert_allclose(pipeline[-1].validation_scores_, direct.validation_scores_, rtol=1e-10)
