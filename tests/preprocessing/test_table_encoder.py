"""TableEncoder: tables of categories and numbers as one-hot fields."""

import pickle
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

from skafm import FFMRegressor, FMRegressor
from skafm._estimators.fields import infer_fields
from skafm.preprocessing import TableEncoder

NAN = float("nan")


@parametrize_with_checks([TableEncoder(), TableEncoder(min_frequency=1, n_bins=3, sparse_output=False)])
def test_estimator_check(estimator, check):
    check(estimator)


def flights(n=400, seed=0):
    """Return a table of strings, numbers with few and many values, a spike and missing values, and a target."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "hour": rng.integers(6, 12, n),
            "carrier": rng.choice(["AA", "DL", "UA"], n),
            "rain": np.where(rng.random(n) < 0.8, 0.0, rng.exponential(size=n)),
            "seats": rng.choice([50.0, 150.0, NAN], n),
            "late": rng.random(n) < 0.5,
        }
    )
    return X, (X["hour"] % 2) * (X["carrier"] == "AA") + 0.1 * rng.normal(size=n)


def names_of(column, **options):
    """Return the names of the features of a single column called x, without that."""
    encoder = TableEncoder(**options).fit(pd.DataFrame({"x": column}))
    return [name.removeprefix("x_") for name in encoder.get_feature_names_out()]


def encode(train, test, **options):
    """Return, for each value of a test column, the name of its level; None if it has none."""
    encoder = TableEncoder(**options).fit(pd.DataFrame({"x": train}))
    rows = encoder.transform(pd.DataFrame({"x": test}))
    assert set(rows.data) <= {1.0}
    names = encoder.get_feature_names_out()
    return [names[row.indices[0]].removeprefix("x_") if row.nnz else None for row in rows]


# --- the output -------------------------------------------------------------------------------------------------------


def test_every_row_has_one_entry_of_1_in_the_field_of_each_column():
    X, _ = flights()
    encoder = TableEncoder()
    rows = encoder.fit_transform(X)
    assert isinstance(rows, sparse.csr_array)
    assert rows.has_canonical_format
    assert np.array_equal(rows.data, np.ones(400 * 5))
    assert np.array_equal(np.sort(encoder.fields_[rows.indices.reshape(400, 5)]), [range(5)] * 400)


def test_features_are_named_after_column_and_level():
    X, _ = flights()
    names = TableEncoder(n_bins=2).fit(X).get_feature_names_out()
    assert names[:5].tolist() == ["carrier_AA", "carrier_DL", "carrier_UA", "late_False", "late_True"]
    assert names[5:12].tolist() == ["hour_6", "hour_7", "hour_8", "hour_9", "hour_10", "hour_11", "rain_0"]
    assert names[-3:].tolist() == ["seats_50", "seats_150", "seats_missing"]
    assert [name for name in names if ".." in name] == names[12:14].tolist()


def test_fields_are_the_columns_of_the_features():
    X, _ = flights()
    encoder = TableEncoder(n_bins=2).fit(X)
    prefixes = [name.rpartition("_")[0] for name in encoder.get_feature_names_out()]
    assert prefixes == X.columns[encoder.fields_].tolist()
    assert X.columns[encoder.categorical_features_].tolist() == ["carrier", "late"]
    assert X.columns[encoder.numeric_features_].tolist() == ["hour", "rain", "seats"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fields_are_those_that_models_infer_and_accept():
    X, y = flights()
    encoder = TableEncoder().fit(X)
    rows = encoder.transform(X)
    _, first, codes = np.unique(encoder.fields_, return_index=True, return_inverse=True)
    assert np.array_equal(infer_fields(rows), np.argsort(np.argsort(first))[codes])
    model = FFMRegressor(fields=encoder.fields_, max_iter=2, random_state=0).fit(rows, y)
    assert model.fields_.max() == 4


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_interactions_of_fields_have_the_names_of_the_columns():
    X, y = flights()
    model = make_pipeline(TableEncoder(), FMRegressor(random_state=0, max_iter=20)).fit(X, y)
    rows, names = model[0].transform(X), model[0].get_feature_names_out()
    top = model[1].top_interactions(rows, fields="auto", feature_names=names)
    assert {*top["feature_i"], *top["feature_j"]} == {*X.columns}
    assert {*top.loc[0, ["feature_i", "feature_j"]]} == {"carrier", "hour"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [["carrier"], ["hour"], ["carrier", "hour"]])
def test_dtype_is_that_of_the_output(dtype, columns):
    X, _ = flights()
    assert TableEncoder(dtype=dtype).fit_transform(X[columns]).dtype == dtype


def test_dense_output_is_the_sparse_one():
    X, _ = flights()
    dense = TableEncoder(sparse_output=False).fit_transform(X)
    assert np.array_equal(dense, TableEncoder().fit_transform(X).toarray())


def test_dense_output_may_be_a_frame():
    X, _ = flights()
    X.index = X.index + 7
    encoder = TableEncoder(sparse_output=False).set_output(transform="pandas")
    frame = encoder.fit_transform(X)
    assert frame.columns.tolist() == encoder.get_feature_names_out().tolist()
    assert frame.index.equals(X.index)


def test_output_may_be_a_frame_by_the_global_setting():
    X, _ = flights()
    with config_context(transform_output="pandas"):
        frame = TableEncoder(sparse_output=False).fit_transform(X)
    assert np.array_equal(frame.to_numpy(), TableEncoder(sparse_output=False).fit_transform(X))


def test_sparse_output_as_a_frame_is_refused_as_by_one_hot_encoder():
    X, _ = flights()
    with pytest.raises(ValueError, match="sparse"):
        TableEncoder().set_output(transform="pandas").fit_transform(X)


# --- categories -------------------------------------------------------------------------------------------------------


def test_categories_are_encoded_as_by_one_hot_encoder():
    X = pd.DataFrame({"a": ["x"] * 20 + ["y"] * 20 + ["z"] * 3 + ["w"] * 2, "b": ["u", "v", "v"] * 15})
    one_hot = OneHotEncoder(min_frequency=5).fit(X)
    encoder = TableEncoder().fit(X)
    assert np.array_equal(encoder.transform(X).toarray(), one_hot.transform(X).toarray())
    expected = [name.removesuffix("_sklearn") for name in one_hot.get_feature_names_out()]
    assert encoder.get_feature_names_out().tolist() == expected


def test_unknown_category_is_an_infrequent_one():
    assert encode(["a"] * 10 + ["b"], ["a", "b", "c"]) == ["a", "infrequent", "infrequent"]


def test_unknown_category_has_no_entry_if_none_was_infrequent():
    assert encode(["a"] * 10, ["a", "c", None]) == ["a", None, None]


@pytest.mark.parametrize("dtype", [object, "str", "string", "category"])
def test_missing_category_is_a_level(dtype):
    column = pd.Series(["a", "b", None] * 10, dtype=dtype)
    assert encode(column, column[:3]) == ["a", "b", "missing"]


@pytest.mark.parametrize("missing", [None, NAN, np.float32("nan"), pd.NA, pd.NaT])
def test_all_missing_values_of_categories_are_alike(missing):
    train, test = (pd.Series(["a", each] * 10, dtype=object) for each in (None, missing))
    assert encode(train, test[:2]) == ["a", "missing"]


def test_column_without_values_is_categorical():
    assert encode(pd.Series([None] * 10, dtype=object), [None, "a"]) == ["missing", None]


def test_booleans_are_categories():
    column = pd.Series([True, False, None] * 10, dtype="boolean")
    assert encode(column, column[:3]) == ["True", "False", "missing"]


def test_numbers_of_a_categorical_type_are_categories():
    X = pd.DataFrame({"user": pd.Categorical(range(1000, 1020)).repeat(10)})
    encoder = TableEncoder(n_bins=2).fit(X)
    assert len(encoder.numeric_features_) == 0
    assert len(encoder.get_feature_names_out()) == 20


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint16", "float32", "Int64", "Float32", object])
def test_numbers_of_any_type_are_numeric(dtype):
    column = pd.Series([1, 2, 3] * 10).astype(dtype)
    assert encode(column, [1, 2.2, 99]) == ["1", "2", "3"]


@pytest.mark.parametrize("dtype", ["float64", "Int64", object])
def test_missing_number_is_a_level(dtype):
    column = pd.Series([1, 2, None] * 10, dtype=dtype)
    assert encode(column, column[:3]) == ["1", "2", "missing"]


def test_decimals_are_numbers():
    assert encode(pd.Series([Decimal("1.5"), Decimal(2)] * 10, dtype=object), [1.6, 1.5]) == ["1.5", "1.5"]


def test_missing_number_has_no_entry_if_none_was_missing():
    assert encode([1.0, 2.0] * 10, [1.0, NAN]) == ["1", None]


def test_bins_and_frequencies_follow_the_parameters():
    column = [*range(100)]
    assert len(names_of(column, n_bins=5)) == 5
    assert len(names_of(column)) == 20
    assert len(names_of(column, min_frequency=10)) == 10
    assert len(names_of(column, min_frequency=50)) == 2
    assert names_of([1, 1, 2, 2, 2, 3], min_frequency=2) == ["1", "2", "3"]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_array_of_objects_is_encoded_by_the_types_of_its_values():
    rows = [["a", 1, True], ["b", 2.5, False], [None, None, None]] * 10
    encoder = TableEncoder().fit(np.array(rows, dtype=object))
    expected = ["x0_a", "x0_b", "x0_missing", "x2_False", "x2_True", "x2_missing", "x1_1", "x1_2.5", "x1_missing"]
    assert encoder.get_feature_names_out().tolist() == expected


def test_list_is_an_array_of_objects():
    encoder = TableEncoder().fit([["a", 1], ["b", 2]] * 10)
    assert encoder.get_feature_names_out(["job", "age"]).tolist() == ["job_a", "job_b", "age_1", "age_2"]


def test_array_of_strings_is_categorical():
    encoder = TableEncoder().fit(np.array([["1", "2"], ["3", "4"]] * 10))
    assert encoder.categorical_features_.tolist() == [0, 1]


def test_polars_frame_gives_what_a_pandas_frame_gives():
    polars = pytest.importorskip("polars")
    X, _ = flights()
    frame = polars.DataFrame({name: [None if pd.isna(value) else value for value in X[name]] for name in X})
    frame = frame.with_columns(polars.col("carrier").cast(polars.Categorical))
    pandas_encoder, polars_encoder = TableEncoder().fit(X), TableEncoder().fit(frame)
    assert polars_encoder.get_feature_names_out().tolist() == pandas_encoder.get_feature_names_out().tolist()
    assert np.array_equal(polars_encoder.transform(frame).toarray(), pandas_encoder.transform(X).toarray())


def test_input_is_not_changed():
    X, _ = flights()
    array = X.to_numpy(dtype=object)
    frame, copy = X.copy(), array.copy()
    TableEncoder().fit_transform(X)
    TableEncoder().fit_transform(array)
    pd.testing.assert_frame_equal(X, frame)
    pd.testing.assert_frame_equal(pd.DataFrame(array), pd.DataFrame(copy))


# --- scikit-learn's tools ---------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_parameters_can_be_searched_in_a_pipeline():
    X, y = flights()
    pipeline = make_pipeline(TableEncoder(), FMRegressor(random_state=0, max_iter=30))
    grid = {"tableencoder__min_frequency": [5, 1000], "tableencoder__n_bins": [4, 8]}
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, y)
    assert search.best_params_["tableencoder__min_frequency"] == 5
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("store", ["pickle", "skops"])
def test_stored_encoder_encodes_alike(store):
    X, _ = flights()
    encoder = TableEncoder().fit(X)
    if store == "pickle":
        copy = pickle.loads(pickle.dumps(encoder))
    else:
        data = skops.io.dumps(encoder)
        assert set(skops.io.get_untrusted_types(data=data)) <= {"skafm.preprocessing.TableEncoder"}
        copy = skops.io.loads(data, trusted=["skafm.preprocessing.TableEncoder"])
    assert np.array_equal(copy.transform(X).toarray(), encoder.transform(X).toarray())
    assert copy.get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()


def test_clone_has_the_parameters_and_no_state():
    encoder = clone(TableEncoder(min_frequency=3, n_bins=7, sparse_output=False, dtype=np.float32).fit([[1], [2]]))
    assert encoder.get_params() == {"min_frequency": 3, "n_bins": 7, "sparse_output": False, "dtype": np.float32}
    with pytest.raises(NotFittedError):
        encoder.transform([[1]])


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [datetime(2013, 1, 1), date(2013, 1, 1), timedelta(1), np.datetime64("2013-01-01"), pd.Timestamp(0, tz="UTC")],
)
@pytest.mark.parametrize("dtype", [None, object])
def test_dates_are_refused_with_what_to_do(value, dtype):
    X = pd.DataFrame({"when": pd.Series([value, None], dtype=dtype)})
    with pytest.raises(TypeError, match=r"Column 'when' has dates.* X\['when'\]\.dt\.month"):
        TableEncoder().fit(X)


def test_column_of_strings_and_numbers_is_refused():
    with pytest.raises(TypeError, match="Column 'x' has strings and also values of type float, int: convert"):
        TableEncoder().fit(pd.DataFrame({"x": ["a", 1, 2.5, None]}))


def test_infinite_numbers_are_refused():
    with pytest.raises(ValueError, match="Column 'x' contains infinity"):
        TableEncoder().fit(pd.DataFrame({"x": [1.0, np.inf]}))


def test_string_in_a_numeric_column_is_refused():
    encoder = TableEncoder().fit(pd.DataFrame({"x": [1, 2]}))
    with pytest.raises(ValueError, match=r"Column 'x' was numeric in fit, .*'many'"):
        encoder.transform(pd.DataFrame({"x": [1, "many"]}))


def test_other_columns_are_refused():
    X, _ = flights()
    encoder = TableEncoder().fit(X)
    with pytest.raises(ValueError, match="feature names"):
        encoder.transform(X[X.columns[::-1]])
    with pytest.raises(ValueError, match="feature names"):
        encoder.transform(X[X.columns[:4]])


@pytest.mark.parametrize("X", [pd.DataFrame({"x": []}), pd.DataFrame(index=[0, 1])])
def test_empty_table_is_refused(X):
    with pytest.raises(ValueError, match="Expected a table with rows and columns"):
        TableEncoder().fit(X)


@pytest.mark.parametrize("parameter", ["min_frequency", "n_bins"])
def test_parameters_are_checked(parameter):
    with pytest.raises(ValueError, match=f"'{parameter}' parameter of TableEncoder must be an int"):
        TableEncoder(**{parameter: 0}).fit([[1.0]])
