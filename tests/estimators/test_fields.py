"""The fields of columns: as given, or found in the rows."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skafm import FFMRegressor, WideDeepClassifier, WideDeepRegressor
from skafm._estimators.fields import infer_fields

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
QUICK = {"n_factors": 2, "random_state": 0, "max_iter": 3}


def table(n_samples=200, sizes=(5, 3, 7)):
    rng = np.random.default_rng(0)
    return pd.DataFrame({f"column {j}": rng.integers(size, size=n_samples) for j, size in enumerate(sizes)})


def slow(X):
    """Add columns to the run while no row has two in it."""
    runs, run = [], []
    for column in range(X.shape[1]):
        if any(sum(row[each] != 0 for each in [*run, column]) > 1 for row in X):
            runs.append(run)
            run = []
        run.append(column)
    return np.repeat(np.arange(len(runs) + 1), [len(each) for each in [*runs, run]])


@pytest.mark.parametrize("drop", [None, "first", "if_binary"])
def test_fields_of_a_one_hot_encoder_are_its_columns(drop):
    encoder = OneHotEncoder(drop=drop).fit(table())
    sizes = [sum(name.startswith(column) for name in encoder.get_feature_names_out()) for column in table()]
    assert infer_fields(encoder.transform(table())).tolist() == np.repeat([0, 1, 2], sizes).tolist()


def test_fields_do_not_need_every_row_to_have_every_field():
    encoder = OneHotEncoder(handle_unknown="ignore").fit(table())
    unseen = table()
    unseen[np.random.default_rng(1).random(unseen.shape) < 0.3] = 99
    assert infer_fields(encoder.transform(unseen)).tolist() == np.repeat([0, 1, 2], [5, 3, 7]).tolist()


def test_numbers_are_fields_of_their_own():
    X = np.random.default_rng(0).normal(size=(10, 4))
    assert infer_fields(X).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("density", [0.05, 0.3])
def test_fields_equal_the_slow_search(seed, density):
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 3, size=(6, 12)) * (rng.random((6, 12)) < density)
    assert infer_fields(sparse.csr_array(X)).tolist() == slow(X).tolist()


def test_explicit_zeros_and_order_of_entries_do_not_matter():
    X = sparse.csr_array((np.ones(4), [3, 0, 2, 1], [0, 2, 4]), shape=(2, 4))
    X.data[2] = 0.0
    assert infer_fields(X).tolist() == slow(np.array([[1, 0, 0, 1], [0, 1, 0, 0]])).tolist()
    assert X.nnz == 4  # and it is as it was


def test_empty_rows_have_one_field():
    assert infer_fields(sparse.csr_array((3, 4))).tolist() == [0] * 4


def test_fields_come_from_the_encoder_of_a_pipeline():
    X = table()
    X["number"] = np.linspace(-1, 1, len(X))
    columns = make_column_transformer((OneHotEncoder(), list(X.columns[:3])), (StandardScaler(), ["number"]))
    pipeline = make_pipeline(columns, WideDeepRegressor(hidden_layer_sizes=(4,), **QUICK)).fit(X, X["number"])
    assert pipeline[-1].fields_.tolist() == np.repeat([0, 1, 2, 3], [5, 3, 7, 1]).tolist()
    assert pipeline[-1].coefs_[0].shape == (4 * 2, 4)


def test_given_fields_may_be_names_anywhere():
    X = OneHotEncoder().fit_transform(table())
    names = np.repeat(["b", "a", "c"], [5, 3, 7])
    order = np.random.default_rng(0).permutation(15)
    model = FFMRegressor(fields=names[order], **QUICK).fit(X[:, order], np.arange(200.0))
    assert model.fields_.tolist() == np.array([1] * 5 + [0] * 3 + [2] * 7)[order].tolist()
    assert model.factors_.shape == (15, 3, 2)


def test_order_of_the_columns_does_not_matter_where_fields_are_given():
    X, fields = OneHotEncoder().fit_transform(table()), np.repeat([0, 1, 2], [5, 3, 7])
    order, y = np.random.default_rng(0).permutation(15), np.sin(np.arange(200.0))
    model = FFMRegressor(fields=fields, **QUICK).fit(X, y)
    turned = FFMRegressor(fields=fields[order], **QUICK).fit(X[:, order], y)
    model.factors_, model.linear_coef_ = model.factors_[order], model.linear_coef_[order]
    model.fields_, model.intercept_ = turned.fields_, turned.intercept_
    turned.factors_, turned.linear_coef_ = model.factors_, model.linear_coef_
    model._missing_rows = turned._missing_rows = {}  # no row lacks a field
    np.testing.assert_allclose(turned.predict(X[:, order]), model.predict(X[:, order]))


def test_given_fields_of_another_number_are_refused():
    with pytest.raises(ValueError, match=r"each of the 15 columns of X, shape \(15,\), but has shape \(3,\)"):
        FFMRegressor(fields=[0, 1, 2]).fit(OneHotEncoder().fit_transform(table()), np.arange(200.0))


def test_too_many_found_fields_are_refused():
    X = np.ones((2, 1001))
    with pytest.raises(ValueError, match=r"found 1001 fields in X.*pass fields"):
        WideDeepRegressor().fit(X, [0.0, 1.0])


def test_fields_stay_as_fitted_in_later_calls():
    X = OneHotEncoder().fit_transform(table())
    y = (np.arange(200) % 2).astype(int)
    model = WideDeepClassifier(hidden_layer_sizes=(4,), **QUICK)
    model.partial_fit(X, y, classes=[0, 1]).partial_fit(X[:3], y[:3])
    assert model.fields_.max() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X[:, :8], y)  # finds them anew
    assert model.fields_.tolist() == [0] * 5 + [1] * 3
