"""Invalid input, as a table: each row raises an error that says what to do. Unusual input that is valid follows.

After an error the estimator and its arguments are unchanged, bit for bit. ``X``, ``y`` and so on of a row take the
place of good ones; a function of the good y is called, since tasks differ in it.
"""

import pickle
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ragged_matrix
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

import skafm

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:overflow:RuntimeWarning", "ignore:invalid value"
)
X = ragged_matrix(24, 5)
REAL = X[:, 0] * X[:, 1] + X[:, 2]
LABELS = (REAL > 0).astype(int)
SMALL = {"n_factors": 2, "max_iter": 2, "random_state": 0}
NAMES = [f"{model}{task}" for model in ("FM", "AFM") for task in ("Regressor", "Classifier")]
EVERY = [name for name in skafm.__all__ if name.endswith(("Regressor", "Classifier"))]
STOP = {"early_stopping": True}


def changed(array, at, value):
    array = array.copy()
    array[at] = value
    return array


def matrix(kind=sparse.csr_matrix, dense=X, **parts):
    """Return a sparse matrix some of whose arrays were changed without its checks."""
    result = kind(dense)
    for name, change in parts.items():
        setattr(result, name, change(getattr(result, name)))
    return result


def doubled(dense):
    """Return CSR whose entries are unsorted, in halves, and beside explicit zeros."""
    rows, columns = np.nonzero(dense)
    values = dense[rows, columns] / 2
    order = np.random.default_rng(0).permutation(2 * len(rows) + len(dense))
    together = [
        np.r_[rows, rows, np.arange(len(dense))],
        np.r_[columns, columns, np.zeros(len(dense), int)],
        np.r_[values, values, np.zeros(len(dense))],
    ]
    rows, columns, values = (array[order] for array in together)
    by_row = rows.argsort(kind="stable")
    indptr = np.searchsorted(rows[by_row], np.arange(len(dense) + 1))
    return sparse.csr_matrix((values[by_row], columns[by_row], indptr), shape=dense.shape)


def bumped():
    empty = sparse.csr_matrix(X.shape)
    empty.indptr[3] = 7
    return empty


def lil(row, data):
    result = sparse.lil_matrix(X)
    result.rows[6], result.data[6] = row, data
    return result


UNSORTED = doubled(X)


def own(name):
    """Return the parameters that keep an estimator small."""
    return SMALL | ({"hidden_layer_sizes": (3,)} if name.startswith(("NFM", "WideDeep", "Deep")) else {})


@cache
def fitted(name):
    model = getattr(skafm, name)(**own(name))
    return pickle.dumps(model.fit(X, LABELS if is_classifier(model) else REAL))


class Refused(NamedTuple):
    """A row of the table."""

    what: str
    message: str
    given: dict = {}  # noqa: RUF012 never changed
    parameters: dict = {}  # noqa: RUF012
    method: str = "fit"
    error: type = ValueError
    only: str = ""
    """A part of the names of the estimators that the row is for."""


def x(what, message, value, **others):
    return Refused(what, message, {"X": value}, **others)


def y(what, message, value, **others):
    return Refused(what, message, {"y": value}, **others)


def weight(what, message, value):
    return Refused(what, message, {"sample_weight": value})


def val(what, message, parameters=STOP, **given):
    return Refused(what, message, given, parameters)


def score(what, message, scoring, error=ValueError, **others):
    return Refused(what, message, parameters={**STOP, "scoring": scoring}, error=error, **others)


def classes(what, message, value):
    return Refused(what, message, {"classes": value}, method="partial_fit", only="Classifier")


def class_weight(what, message, value):
    return Refused(what, message, parameters={"class_weight": value}, only="Classifier")


def device(what, message, value, **others):
    return Refused(what, message, parameters={"device": value}, **others)


def start(what, message, init, error=ValueError):
    return Refused(what, message, parameters={"init": init}, error=error, only="AFMRegressor")


def failing(*_, **__):
    raise ArithmeticError("scorer's own")


ROWS = [
    # X
    x("nan", "Input X contains NaN", changed(X, (3, 2), np.nan)),
    x("inf", "Input X contains infinity", changed(X, (3, 2), np.inf)),
    x("nan, sparse", "Input X contains NaN", sparse.csr_array(changed(X, (3, 2), np.nan))),
    x("complex", "Complex data not supported", X + 1j),
    x("complex, sparse", "Complex data not supported", sparse.csr_array(X + 1j)),
    x("one dimension", r"Expected 2D array, got 1D", X[:, 0]),
    x("one dimension, sparse", "Expected 2D input|inconsistent numbers of samples", sparse.csr_array(X[6])),
    x("three dimensions", "dim 3", X[None]),
    x("a number", "Expected 2D array, got scalar", 3.0),
    x("none", "Expected 2D array, got scalar", None),
    x("a dict", "not 'dict'", {"a": 1}, error=TypeError),
    x("words", "X contains strings .*OneHotEncoder", np.full(X.shape, "a")),
    x("words as objects", "X contains strings .*OneHotEncoder", np.full(X.shape, "a", object)),
    x("ragged lists", "inhomogeneous shape", [[1, 2], [3]] * 12),
    x("categories", "could not convert string to float", pd.DataFrame(np.full(X.shape, "a")).astype("category")),
    x("frame with NA", "Input X contains NaN", pd.DataFrame(X).convert_dtypes().mask(X > 1)),
    x("frame with None", "Input X contains NaN", pd.DataFrame(X).astype(object).mask(X > 1, None)),
    x("no rows", "0 sample", X[:0]),
    x("no columns", "0 feature", X[:, :0]),
    x("no columns, sparse", "0 feature", sparse.csr_array(X[:, :0])),
    x("fewer rows than y", "inconsistent numbers of samples", X[:-1]),
    x("too large to train on", r"became nan in epoch 1: lower learning_rate .* or scale X", 1e200 * X),
    x("too large for float32", r"became nan in epoch 1: .* or scale X", (1e30 * X).astype(np.float32)),
    # X, corrupt: never read out of bounds
    x("indptr falls", "indptr must be non-decreasing", matrix(indptr=lambda a: changed(a, 5, 900))),
    x("indptr falls to 0", "indptr must be non-decreasing", matrix(indptr=lambda a: changed(a, 5, 0))),
    x("indptr negative", "indptr must be non-decreasing", matrix(indptr=lambda a: changed(a, 5, -5))),
    x("indptr falls, no entries", "indptr must be non-decreasing", bumped()),
    x("indptr short", r"index pointer size \(?24\)? should be \(?25\)?", matrix(indptr=lambda a: a[:-1])),
    x("indptr long", r"index pointer size \(?26\)? should be \(?25\)?", matrix(indptr=lambda a: np.append(a, a[-1]))),
    x("indptr starts late", "should start with 0", matrix(indptr=lambda a: changed(a, 0, 1))),
    x("indptr past the end", "index pointer should be less", matrix(indptr=lambda a: changed(a, -1, 900))),
    x("indptr of floats", "indptr must be signed integers", matrix(indptr=lambda a: a.astype(float))),
    x(
        "index too large",
        r"Invalid CSR matrix X of shape \(24, 5\): (indices|column index values) must be < 5",
        matrix(indices=lambda a: a + 1),
    ),
    x(
        "index huge",
        "(indices|index values) must be < 5.*Build it anew",
        matrix(indices=lambda a: changed(a, 3, 10**8)),
    ),
    x("index negative", "(indices|index values) must be >= 0", matrix(indices=lambda a: changed(a, 3, -1))),
    x("indices short", "indices and data should have the same size", matrix(indices=lambda a: a[:-1])),
    x("indices of two dimensions", "should be 1-D", matrix(indices=lambda a: a[None])),
    x("indices of floats", "indices must be signed integers", matrix(indices=lambda a: a + 0.5)),
    x("unsigned indices", "indices must be signed integers", matrix(indices=lambda a: a.astype(np.uint64))),
    x("values short", "indices and data should have the same size", matrix(data=lambda a: a[:-1])),
    x("values of two dimensions", "should be 1-D", matrix(data=lambda a: a[:, None])),
    x("shape with fewer columns", "(indices|index values) must be < 3", matrix(_shape=lambda _: (24, 3))),
    x("shape with more rows", r"index pointer size \(?25\)? should be \(?31\)?", matrix(_shape=lambda _: (30, 5))),
    x(
        "csc index",
        "Invalid CSC .* (indices|index values) must be < 24",
        matrix(sparse.csc_array, indices=lambda a: a + 10**8),
    ),
    x(
        "csc indptr",
        "Invalid CSC .*must be non-decreasing",
        matrix(sparse.csc_array, indptr=lambda a: changed(a, 2, 900)),
    ),
    x("coo row", "Invalid COO .* exceeds", matrix(sparse.coo_array, row=lambda rows: rows + 10**8)),
    x("coo column", "Invalid COO .*negative", matrix(sparse.coo_array, col=lambda columns: columns - 10**8)),
    x("coo lengths", "Invalid COO .*same length", matrix(sparse.coo_array, row=lambda rows: rows[:-1])),
    x("bsr index", "Invalid BSR .* must be < 5", matrix(sparse.bsr_array, indices=lambda a: a + 10**8)),
    x("lil index", "Invalid LIL .* must be < 5", lil([0, 10**7], [1.0, 2.0])),
    x("lil lengths", "Invalid LIL .* the same lengths", lil([0], [1.0] * 1000)),
    x(
        "corrupt, to stop early on",
        "(indices|index values) must be < 5",
        matrix(indices=lambda a: a + 10**8),
        parameters=STOP,
    ),
    # y
    y("none", "requires y to be passed", None),
    y("shorter than X", "inconsistent numbers of samples", lambda good: good[:-1]),
    y("nan", "Input y contains NaN", lambda good: changed(good.astype(float), 3, np.nan)),
    y("inf", "Input y contains infinity", lambda good: changed(good.astype(float), 3, np.inf)),
    y("missing", "must be finite, but has missing values|Unknown label type", np.array([1, None] * 12, object)),
    y("complex", "Complex data not supported", lambda good: good + 1j),
    y("three dimensions", "dim 3", np.zeros((24, 1, 1))),
    y("no columns", "0 feature", np.zeros((24, 0))),
    y("sparse", "y must be numbers", sparse.csr_array(np.c_[LABELS]), only="Regressor"),
    y("sparse", "Sparse data was passed for y", sparse.csr_array(np.c_[LABELS]), error=TypeError, only="Classifier"),
    y("words", "y must be numbers that float64 can represent: could not convert", np.full(24, "a"), only="Regressor"),
    y("words as objects", "could not convert string", np.full(24, "a", object), only="Regressor"),
    Refused("too large", "out of the range of float32", {"X": X.astype("f"), "y": 1e60 * REAL}, only="Regressor"),
    Refused("too small", "out of the range of float32", {"X": X.astype("f"), "y": 1e-60 * REAL}, only="Regressor"),
    y("two columns", "y should be a 1d array", np.c_[LABELS, LABELS], only="Classifier"),
    y("one class", "at least 2 classes, but has only one class: 1", np.ones(24, int), only="Classifier"),
    y("real numbers", "Unknown label type: continuous", REAL, only="Classifier"),
    y("labels of mixed types", "Unknown label type", np.array([1, "a"] * 12, object), only="Classifier"),
    # sample_weight
    weight("negative", "Negative values", -np.ones(24)),
    weight("all zero", "at least one non-zero|sum above zero", np.zeros(24)),
    weight("nan", "sample_weight contains NaN", np.full(24, np.nan)),
    weight("inf", "sample_weight contains infinity", np.full(24, np.inf)),
    weight("of an infinite sum", "divide them all by the largest", np.full(24, 1e308)),
    weight("too short", r"sample_weight.shape == \(23,\), expected \(24,\)", np.ones(23)),
    weight("two columns", "must be 1D array or scalar", np.ones((24, 2))),
    weight("words", "could not convert string", ["a"] * 24),
    weight("complex", "Complex data not supported", np.ones(24) + 1j),
    # rows to stop early on
    val("X without y", "pass both or neither", X_val=X),
    val("y without X", "pass both or neither", y_val=LABELS),
    val("weights without rows", "pass them too", sample_weight_val=np.ones(24)),
    val("without early stopping", "set early_stopping=True", {"early_stopping": False}, X_val=X, y_val=LABELS),
    val("other columns", "Invalid X_val, .*: X has 4 features", X_val=X[:, :4], y_val=LABELS),
    val("nan", "Invalid X_val, .*: Input X contains NaN", X_val=changed(X, (3, 2), np.nan), y_val=LABELS),
    val("other lengths", "X_val, .* inconsistent numbers of samples", X_val=X, y_val=LABELS[:-1]),
    val("no rows", "X_val, .* 0 sample", X_val=X[:0], y_val=LABELS[:0]),
    val("words for y", "X_val, .*(could not convert|among the classes)", X_val=X, y_val=["a"] * 24),
    val("negative weights", "X_val, .*Negative", X_val=X, y_val=LABELS, sample_weight_val=-np.ones(24)),
    val("corrupt", "X_val, .* Invalid CSR", X_val=matrix(indices=lambda a: a + 1), y_val=LABELS),
    val("too large", "validation loss became nan.*scale X", X_val=1e200 * X, y_val=LABELS),
    val("all rows", "validation_fraction=0.999 cannot split", {**STOP, "validation_fraction": 0.999}),
    Refused("one row", "cannot split 1 samples", {"X": X[:1], "y": REAL[:1]}, STOP, only="Regressor"),
    # scoring
    score("raises", "scorer's own", failing, error=ArithmeticError),
    score("nan", "must return a finite number, but returned nan", lambda *_, **__: np.nan),
    score("a word", "must return a finite number, but returned 'a'", lambda *_, **__: "a"),
    score("nothing", "must return a finite number, but returned None", lambda *_, **__: None),
    score("of one argument", "1 positional argument", lambda _: 0, error=TypeError),
    score("of another task", "continuous is not supported", "accuracy", only="Regressor"),
    # device
    device("unknown", "Unknown device 'abacus': use 'cpu'", "abacus"),
    device("without data", "Unknown device 'meta': use 'cpu'", "meta"),
    device("of another torch", "Unknown device 'hpu': use 'cpu'", "hpu"),
    device("none", "device must be 'cpu', 'cuda'", None),
    device("a number", "device must be 'cpu', 'cuda'", 3),
    device("unknown, to predict", "Unknown device 'abacus'", "abacus", method="predict"),
    # predict
    x("fewer columns", "X has 4 features, but .* is expecting 5", X[:, :4], method="predict"),
    x("more columns", "X has 10 features, but .* is expecting 5", np.c_[X, X], method="predict"),
    x("nan, to predict", "Input X contains NaN", changed(X, (3, 2), np.nan), method="predict"),
    x("one dimension, to predict", "Expected 2D array", X[0], method="predict"),
    x("no rows, to predict", "0 sample", X[:0], method="predict"),
    x(
        "corrupt, to predict",
        "(indices|index values) must be < 5",
        matrix(indices=lambda a: a + 10**8),
        method="predict",
    ),
    x(
        "corrupt csc, to predict",
        "(indices|index values) must be < 24",
        matrix(sparse.csc_array, indices=lambda a: a + 99),
        method="predict",
    ),
    x("too large, to predict", "prediction is not finite: X, up to .*Scale X", 1e200 * X, method="predict"),
    x("too large and unsorted", "prediction is not finite", 1e200 * UNSORTED, method="predict"),
    x("too large, to explain", "prediction is not finite: X, up to .*Scale X", 1e200 * X, method="explain"),
    x(
        "corrupt, to explain",
        "indptr must be non-decreasing",
        matrix(indptr=lambda a: changed(a, 5, 900)),
        method="explain",
    ),
    Refused("names of others", r"feature_names must have shape \(5,\)", {"feature_names": ["a"]}, method="explain"),
    Refused("no pairs", "n must be a positive integer", {"n": -1}, method="top_interactions"),
    Refused("rank by nothing", "by must be 'contribution'", {"by": "x"}, method="top_interactions"),
    Refused("fields of others", "field of each of the 5 columns", {"fields": [0, 1]}, method="top_interactions"),
    # partial_fit
    Refused("other columns", "X has 4 features", {"X": X[:, :4]}, method="partial_fit"),
    Refused("too large", "became nan in epoch 1", {"X": 1e200 * X}, method="partial_fit"),
    Refused(
        "new label", r"not among the classes \[0, 1\]: \[2\]", {"y": LABELS + 1}, {}, "partial_fit", only="Classifier"
    ),
    classes("more", "differs from that of earlier calls", [0, 1, 2]),
    classes("one", "two or more, got", [0]),
    classes("none at all", "two or more, got", []),
    classes("a number", "two or more, got 5", 5),
    classes("in rows", "two or more, got", [[0], [1]]),
    classes("nan", "contains NaN", [0, 1, np.nan]),
    classes("of mixed types", "Mix of label input types", [0, "a"]),
    # class_weight
    class_weight("unknown class", "Invalid class_weight .*The classes, .* are not in class_weight", {7: 1.0}),
    class_weight("negative", "weights must be non-negative", {0: -1, 1: 1}),
    class_weight("nan", "weights must be non-negative", {0: np.nan, 1: 1}),
    class_weight("infinite", "weights must be non-negative", {0: np.inf, 1: 1}),
    class_weight("all zero", "some class in y must have a finite weight above zero", {0: 0, 1: 0}),
    class_weight("a word", "Invalid class_weight .*could not convert", {0: "a", 1: 1}),
    # init
    start("of other factors", r"shape \(n_features, n_factors\) = \(5, 2\), but .* has \(5, 3\)", (3, X, REAL)),
    start("of other columns", r"= \(5, 2\), but .* has \(4, 2\): fit it on the same columns", (2, X[:, :4], REAL)),
    start("of several targets", r"intercept_ of shape \(\), got \(2,\)", (2, X, np.c_[REAL, REAL])),
    start("unfitted", "not fitted yet", skafm.FMRegressor(2), error=NotFittedError),
    start("another model", r"but LinearRegression\(\) has None", LinearRegression().fit(X, REAL)),
    start("of another task", "init must have been fitted on the same target", skafm.FMClassifier(2, max_iter=1)),
    Refused("freeze nothing", "set init to 'fm'", parameters={"freeze_init": True}, only="AFM"),
]
CASES = [(name, row) for row in ROWS for name in NAMES if row.only in name]


def title(case):
    return case if isinstance(case, str) else "-".join([case.method, *case.given, *case.parameters, case.what])


def bits(value):
    """Return what an argument holds."""
    if sparse.issparse(value):
        parts = {name: vars(value).get(name) for name in ("data", "indices", "indptr", "coords", "rows", "offsets")}
        return pickle.dumps((value.shape, parts))
    if isinstance(value, pd.DataFrame):
        value = (value.to_numpy(object), value.dtypes.to_list())
    return pickle.dumps(value)


def attempt(name, row):
    """Return a fitted model that has the row's parameters, the method, and its arguments."""
    model = pickle.loads(fitted(name))
    good = LABELS if is_classifier(model) else REAL
    given = {"X": X, "y": good} if row.method in {"fit", "partial_fit"} else {"X": X}
    given |= {key: value(good) if callable(value) else value for key, value in row.given.items()}
    parameters = dict(row.parameters)
    match parameters.get("init"):
        case (n_factors, *data):
            parameters["init"] = skafm.FMRegressor(n_factors, max_iter=1).fit(*data)
        case skafm.FMClassifier() as classifier:
            classifier.fit(X, LABELS)
    return model.set_params(**parameters), getattr(model, row.method), given


@pytest.mark.parametrize(("name", "row"), CASES, ids=title)
def test_invalid_input_is_refused_and_changes_nothing(name, row):
    model, method, given = attempt(name, row)
    state, before = dict(vars(model)), {key: bits(value) for key, value in given.items()}
    with pytest.raises(row.error, match=f"(?s){row.message}"):
        method(**given)
    assert {key: bits(value) for key, value in given.items()} == before
    assert vars(model).keys() == state.keys()
    assert all(vars(model)[key] is value for key, value in state.items())
    good = pickle.loads(fitted(name))
    model.set_params(**good.get_params())
    assert np.array_equal(model.predict(X), good.predict(X))


# --- the other estimators ---------------------------------------------------------------------------------------------

OTHERS = [name for name in EVERY if name not in NAMES]


@pytest.mark.parametrize("name", OTHERS)
def test_corrupt_rows_are_refused_by_every_model(name):
    model = pickle.loads(fitted(name))
    target = LABELS if is_classifier(model) else REAL
    expected = model.predict(X)
    for corrupt in (matrix(indices=lambda a: a + 10**8), matrix(indptr=lambda a: changed(a, 5, 900)), bumped()):
        for method, given in (("fit", (corrupt, target)), ("predict", (corrupt,))):
            with pytest.raises(ValueError, match="Invalid CSR"):
                getattr(model, method)(*given)
    assert np.array_equal(model.predict(X), expected)


@pytest.mark.parametrize("name", OTHERS)
def test_nan_and_rows_too_large_are_refused_by_every_model(name):
    model = pickle.loads(fitted(name))
    target = LABELS if is_classifier(model) else REAL
    expected = model.predict(X)
    for bad, message in ((changed(X, (3, 2), np.nan), "contains NaN"), (1e200 * X, "became|not finite")):
        for method, given in (("fit", (bad, target)), ("predict", (bad,))):
            if method == "predict" and "Deep" in name and bad[3, 2] == bad[3, 2]:
                continue  # linear in the rows: 1e200 is predicted
            with pytest.raises(ValueError, match=message):
                getattr(model, method)(*given)
    assert np.array_equal(model.predict(X), expected)


@pytest.mark.parametrize(
    "name", ["FFMRegressor", "FwFMRegressor", "DeepFMClassifier", "WideDeepClassifier", "DeepCrossRegressor"]
)
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([0, 1], r"field of each of the 5 columns of X, shape \(5,\), but has shape \(2,\)"),
        ([[0] * 5], r"has shape \(1, 5\)"),
        ("own", "must be a str among {'auto'} or an array-like"),
        ([0, 1, None, "a", 2], "all numbers or all names"),
        ([0, 1, [2], 3, 4], "all numbers or all names.*inhomogeneous"),
        ([0, 1, np.nan, 3, 4], "fields must not contain NaN"),
        ({0, 1, 2, 3, 4}, r"has shape \(\)"),
    ],
)
def test_invalid_fields_are_refused(name, fields, message):
    with pytest.raises(ValueError, match=message):
        getattr(skafm, name)(**own(name), fields=fields).fit(X, LABELS)


@pytest.mark.parametrize("sizes", [5, None, "ab", (), (0,), (-1,), (2.5,), ("a",), [[3]]])
def test_invalid_hidden_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        skafm.WideDeepRegressor(2, hidden_layer_sizes=sizes).fit(X, REAL)


# --- constructor parameters -------------------------------------------------------------------------------------------

FRACTION, SIZE, AMOUNT, SWITCH = [-0.1, 1.0, np.nan, "a"], [0, -1, 2.5, "2", None], [-1, np.inf, np.nan, "a"], [2, "no"]
OUT_OF_RANGE = {
    "batch_norm": SWITCH,
    "n_factors": [*SIZE, 10**13],
    "attention_size": SIZE,
    "order": [1, 2.5, "3"],
    "pooling": ["max", None],
    "fields": ["own", None, 3],
    "hidden_layer_sizes": [3, None, "ab"],
    "dropout": FRACTION,
    "l2_linear": AMOUNT,
    "l2_factors": AMOUNT,
    "l2_attention": AMOUNT,
    "init": ["zeros", None, 3],
    "freeze_init": SWITCH,
    "solver": ["lbfgs", None],
    "learning_rate": [*AMOUNT, 0.0],
    "batch_size": [0, 2.5, "all", None],
    "burn_in": [-1, 1.5],
    "max_iter": SIZE,
    "tol": AMOUNT,
    "n_iter_no_change": SIZE,
    "early_stopping": SWITCH,
    "validation_fraction": [*FRACTION, 0.0],
    "scoring": ["rmse", 3, None],
    "warm_start": SWITCH,
    "shuffle": SWITCH,
    "reduced_precision": SWITCH,
    "loss": ["mse", "l2", None, 1],
    "quantile": [0.0, 1.0, "median", None],
    "clip": SWITCH,
    "class_weight": ["equal", [1, 2]],
    "verbose": [-1, "loud"],
    "random_state": [-1, 2**40, "zero", np.random.default_rng(0)],
}


@pytest.mark.parametrize("name", EVERY)
def test_every_parameter_out_of_range_is_named(name):
    parameters = getattr(skafm, name)().get_params(deep=False).keys() - {"device"}
    assert parameters <= OUT_OF_RANGE.keys()
    for parameter in parameters:
        for value in OUT_OF_RANGE[parameter]:
            with pytest.raises(ValueError, match=f"'{parameter}' parameter of {name} must be"):
                getattr(skafm, name)(**{parameter: value}).fit(X, LABELS)


@pytest.mark.parametrize("name", EVERY)
def test_every_method_of_an_unfitted_estimator_says_so(name):
    methods = ["predict", "predict_proba", "predict_log_proba", "decision_function"]
    for method in [*methods, "explain", "attention", "top_interactions"]:
        model = getattr(skafm, name)()
        if hasattr(model, method):
            with pytest.raises(NotFittedError, match=f"This {name} instance is not fitted yet"):
                getattr(model, method)(X)
    with pytest.raises(NotFittedError):
        getattr(skafm, name)().score(X, LABELS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
@pytest.mark.parametrize("method", ["fit", "predict"])
def test_cuda_without_cuda_is_refused(method):
    model = pickle.loads(fitted("FMRegressor")).set_params(device="cuda:1")
    with pytest.raises(ValueError, match="finds no CUDA device: use 'cpu' or 'auto'"):
        getattr(model, method)(X, *[REAL][: method == "fit"])


# --- unusual input that is valid --------------------------------------------------------------------------------------


def integer_indices(dtype):
    return matrix(indices=lambda a: a.astype(dtype), indptr=lambda a: a.astype(dtype))


SAME = {
    "unsorted, duplicate and zero entries": UNSORTED,
    "int64 indices": integer_indices(np.int64),
    "int8 indices": integer_indices(np.int8),
    "indices and indptr of two types": matrix(indices=lambda a: a.astype(np.int64)),
    "entries behind the last row": matrix(data=lambda a: np.append(a, 9.0), indices=lambda a: np.append(a, 77)),
    "array": sparse.csr_array(X),
    "objects that are numbers": X.astype(object),
    "strings that are numbers": X.astype(str),
    "nullable frame": pd.DataFrame(X).convert_dtypes().rename(columns=str),
    "tensor": torch.from_numpy(X),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", SAME)
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_other_kinds_of_rows_are_the_same_rows(name, kind):
    good, model = pickle.loads(fitted(name)), getattr(skafm, name)(**SMALL)
    before = bits(SAME[kind])
    model.fit(SAME[kind], LABELS if is_classifier(model) else REAL)
    np.testing.assert_allclose(model.factors_, good.factors_, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(good._predict_raw(SAME[kind]), good._predict_raw(X), rtol=1e-12)
    assert bits(SAME[kind]) == before


GOOD = {
    "bool": {"X": X > 0},
    "int8": {"X": sparse.csr_array(3 * X, dtype=np.int8)},
    "float16": {"X": X.astype(np.float16)},
    "one weight for all": {"sample_weight": 3.0},
    "tiny weights": {"sample_weight": 1e-320 * np.arange(24)},
    "weights far apart": {"sample_weight": 10.0 ** np.linspace(0, 300, 24)},
    "empty rows": {"X": np.zeros((24, 5))},
    "one column": {"X": X[:, :1]},
}
GOOD_REAL = {
    "one row": {"X": X[:1], "y": REAL[:1]},
    "constant y": {"y": np.full(24, 7.0)},
    "y of 0": {"y": np.zeros(24)},
    "y of bool": {"y": REAL > 0},
    "y of numbers as strings": {"y": REAL.astype(str)},
    "y of two columns": {"y": np.c_[REAL, -REAL]},
    "y of 1e200": {"y": 1e200 * REAL},
    "y of 1e-200": {"y": 1e-200 * REAL},
}
VALID = [(name, what, given) for name in NAMES for what, given in GOOD.items()]
VALID += [(name, what, given) for name in NAMES if "Regr" in name for what, given in GOOD_REAL.items()]


@pytest.mark.parametrize(("name", "what", "given"), [pytest.param(*row, id="-".join(row[:2])) for row in VALID])
def test_unusual_data_give_a_finite_model(name, what, given):  # noqa: ARG001
    model = getattr(skafm, name)(**SMALL)
    given = {"X": X, "y": LABELS if is_classifier(model) else REAL} | given
    raw = model.fit(**given)._predict_raw(given["X"])
    assert all(np.isfinite(vars(model)[attribute]).all() for attribute in ("linear_coef_", "factors_", "intercept_"))
    assert np.isfinite(raw).all()


@pytest.mark.parametrize("name", ["FMRegressor", "AFMRegressor"])
@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_unit_of_y_at_the_edges_does_not_matter(name, unit):
    good, model = pickle.loads(fitted(name)), getattr(skafm, name)(**SMALL).fit(X, unit * REAL)
    np.testing.assert_allclose(model.predict(X) / unit, good.predict(X), rtol=1e-6, atol=1e-9)
