"""What a message says to do when training diverges: encode ids and dates, scale other numbers."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor
from skafm._estimators.advice import explain_divergence, identifier_columns, remedy
from skafm._training.errors import DivergenceError

every = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor, FMClassifier, AFMClassifier])
SCALE = r"lower learning_rate \(now 0.5\) or scale X, e\.g\. with MaxAbsScaler\."
ENCODE = "as categories, e.g. with OneHotEncoder, or leave them out: large integers that are nearly all distinct"


def table(n_ids=1, seed=0):
    """Return 60 rows: a column of real numbers, a column of a few levels, and columns of ids."""
    rng = np.random.default_rng(seed)
    ids = [10_000_000 + rng.permutation(60) for _ in range(n_ids)]
    return np.column_stack([rng.normal(size=60), rng.integers(3, size=60), *ids]).astype(float)


# --- which columns look like ids --------------------------------------------------------------------------------------

COLUMNS = {
    "ids": (10_000 + np.arange(60), True),
    "negative ids": (-10_000 - np.arange(60), True),
    "dates": (20_130_101 + 37 * np.arange(60), True),
    "ids with a few twice": (10_000 + np.arange(60) // 1.05 // 1, True),
    "row numbers": (np.arange(60), False),
    "large levels": (2000 + np.arange(60) % 20, False),
    "a large constant": (np.full(60, 5000), False),
    "large real numbers": (10_000 + np.arange(60) / 7, False),
    "small real numbers": (np.arange(60) / 7, False),
    "zeros": (np.zeros(60), False),
}


@pytest.mark.parametrize(("column", "found"), COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_identifier_columns_have_large_integers_nearly_all_distinct(column, found, kind):
    X = kind(np.column_stack([np.linspace(0, 1, 60), column]))
    assert list(identifier_columns(X)) == ([1] if found else [])


def test_identifier_columns_are_found_in_the_first_rows():
    X = np.append(10_000 + np.arange(1000), np.zeros(5000))[:, None]
    assert list(identifier_columns(X)) == [0]
    assert list(identifier_columns(X[::-1])) == []


def test_identifier_columns_leave_the_rows_unchanged():
    X = sparse.csr_array(table())
    X.data[0] = 0.0
    identifier_columns(X)
    assert X.nnz == len(X.data) == np.count_nonzero(table())


# --- what is advised --------------------------------------------------------------------------------------------------


def test_ids_are_named_by_their_position():
    assert remedy(table(), 0.5).startswith(f"encode columns x2 {ENCODE}")


def test_ids_are_named_as_the_features():
    assert remedy(table(2), 0.5, ["a", "b", "user", "item"]).startswith(f"encode columns user, item {ENCODE}")


@pytest.mark.parametrize(("n_ids", "more"), [(5, ""), (6, " and 1 more"), (12, " and 7 more")])
def test_five_ids_are_named_at_most(n_ids, more):
    assert remedy(table(n_ids), 0.5).startswith(f"encode columns x2, x3, x4, x5, x6{more} {ENCODE}")


def test_other_numbers_are_to_be_scaled():
    assert remedy(table(0), 0.5) == "lower learning_rate (now 0.5) or scale X, e.g. with MaxAbsScaler."


def test_divergence_becomes_a_value_error_with_advice():
    error = DivergenceError("The loss became nan in epoch 3")
    advised, model = rf"The loss became nan in epoch 3: {SCALE}", FMRegressor(learning_rate=0.5)
    with pytest.raises(ValueError, match=advised) as caught, explain_divergence(model, table(0)):
        raise error
    assert caught.value.__cause__ is error


def test_other_errors_pass_as_they_are():
    with pytest.raises(LookupError, match=r"^'no'$"), explain_divergence(FMRegressor(), table()):
        raise KeyError("no")


# --- in the error of a fit, and in its warning ------------------------------------------------------------------------

DIVERGE = {"solver": "sgd", "learning_rate": 0.5, "max_iter": 20, "random_state": 0}
FAR = {"max_iter": 5, "tol": 1e20, "n_iter_no_change": 2, "learning_rate": 0.5, "random_state": 0}


def targets(Estimator, X):
    """Return targets for the task of an estimator."""
    return (X[:, 0] > 0).astype(int) if is_classifier(Estimator()) else X[:, 0]


def train(model, method, X):
    """Train for 20 epochs in float32, which diverges sooner."""
    X, y = X.astype(np.float32), targets(type(model), np.asarray(X))
    if method == "fit":
        return model.fit(X, y)
    for _ in range(20):
        model.partial_fit(X, y, **{"classes": [0, 1]} if is_classifier(model) else {})
    return model


@pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor, FMClassifier])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_error_of_a_diverged_training_names_the_ids(Estimator, method):
    with pytest.raises(ValueError, match=r"became (nan|inf|too large) in epoch \d+: encode columns x2 as"):
        train(Estimator(**DIVERGE), method, table())


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_error_of_a_diverged_training_names_the_ids_of_a_frame(method):
    X = pd.DataFrame(table(2), columns=["height", "level", "user", "item"])
    with pytest.raises(ValueError, match=r"in epoch \d+: encode columns user, item as"):
        train(FMRegressor(**DIVERGE), method, X)


@pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_error_of_a_diverged_training_on_real_numbers_advises_to_scale(Estimator, method):
    with pytest.raises(ValueError, match=rf"became (nan|inf|too large) in epoch \d+: {SCALE}"):
        train(Estimator(**DIVERGE), method, 1e7 * table(0))


@every
@pytest.mark.parametrize("several", [False, True], ids=["one output", "several"])
def test_loss_far_above_a_constant_predictors_is_a_warning(Estimator, several, data):
    X, y = data(Estimator)
    if several:
        y = np.arange(len(y)) % 3 if is_classifier(Estimator()) else np.column_stack([y, -y])
    with pytest.warns(ConvergenceWarning, match=rf"no better than a constant predictor's, [\d.]+: {SCALE}"):
        Estimator(**FAR).fit(1e4 * X * (1 + np.linspace(0, 0.1, 400))[:, None], y)


@every
def test_loss_below_a_constant_predictors_is_no_warning(Estimator, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Estimator(**FAR | {"learning_rate": 0.05}).fit(*data(Estimator))


@every
def test_warning_of_a_diverged_training_names_the_ids_of_a_frame(Estimator):
    X = pd.DataFrame(table(2), columns=["height", "level", "user", "item"])
    with pytest.warns(ConvergenceWarning, match=r"no better than .*: encode columns user, item as categories"):
        Estimator(**FAR).fit(X, targets(Estimator, table(2)))
