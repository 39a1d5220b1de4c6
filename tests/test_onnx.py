"""The ONNX graph is the model."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import ragged_matrix
from scipy import sparse
from sklearn.exceptions import NotFittedError

from skafm import (
    AFMClassifier,
    AFMRegressor,
    BayesianFMClassifier,
    BayesianFMRegressor,
    DeepFMClassifier,
    DeepFMRegressor,
    FMClassifier,
    FMRegressor,
    FwFMClassifier,
    FwFMRegressor,
    HOFMRegressor,
    WideDeepRegressor,
)
from skafm.onnx import to_onnx

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X = ragged_matrix()
Y = X[:, 0] - 2 * X[:, 1] * X[:, 2] + X[:, 3] * X[:, 4]
SETTINGS = {"n_factors": 3, "max_iter": 20, "learning_rate": 0.2, "random_state": 0}
TARGETS = {
    "one number": (Y, (FMRegressor, AFMRegressor)),
    "two numbers": (np.column_stack([Y, 1 - Y]), (FMRegressor, AFMRegressor)),
    "two classes": (Y > 0, (FMClassifier, AFMClassifier)),
    "two strings": (np.where(Y > 0, "yes", "no"), (FMClassifier, AFMClassifier)),
    "three classes": (np.digitize(Y, [-0.1, 0.1]) * 5, (FMClassifier, AFMClassifier)),
}
CASES = [
    pytest.param(Estimator, y, id=f"{Estimator.__name__}, {name}")
    for name, (y, both) in TARGETS.items()
    for Estimator in both
]
every = pytest.mark.parametrize(("Estimator", "y"), CASES)


def run(model, rows):
    """Check the graph and run it on a CSR matrix: the outputs by name."""
    proto = to_onnx(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    arrays = {"indices": rows.indices, "data": rows.data, "indptr": rows.indptr}
    return dict(zip(names, session.run(None, arrays), strict=True))


def compare(model, rows, tolerance):
    found = run(model, rows)
    if hasattr(model, "predict_proba"):
        assert list(found) == ["label", "probabilities"]
        assert np.array_equal(found["label"], model.predict(rows))
        name, expected = "probabilities", model.predict_proba(rows)
    else:
        name, expected = "variable", model.predict(rows)
    assert found[name].shape == expected.shape
    assert found[name].dtype == expected.dtype
    np.testing.assert_allclose(found[name], expected, rtol=tolerance, atol=tolerance)


@every
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_graph_predicts_ragged_rows_as_the_model_does(Estimator, y, dtype, tolerance):
    rows = sparse.csr_matrix(X.astype(dtype))
    lengths = np.diff(rows.indptr)
    assert {0, 1, 9} <= set(lengths)  # empty rows, rows without a pair and full ones
    compare(Estimator(**SETTINGS).fit(rows, y), rows, tolerance)


@every
@pytest.mark.parametrize("which", [slice(0, 0), slice(0, 1), slice(1, 2), slice(9, 10)], ids=["none", "0", "1", "9"])
def test_graph_predicts_any_number_of_rows(Estimator, y, which):
    model = Estimator(**SETTINGS).fit(X, y)
    rows = sparse.csr_matrix(X[which])
    if rows.shape[0]:
        compare(model, rows, 1e-12)
    else:
        assert [len(each) for each in run(model, rows).values()] == [0] * (1 + hasattr(model, "classes_"))


@pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
def test_entries_may_come_in_any_order_and_be_zero(Estimator):
    model = Estimator(**SETTINGS).fit(X, Y)
    row = 9 * np.arange(60)  # of a matrix that stores its zeros, each row from the last column to the first
    rows = sparse.csr_matrix((X[:, ::-1].ravel(), np.tile(np.arange(9)[::-1], 60), np.append(row, 540)), shape=X.shape)
    assert (rows.data == 0).any()
    rows.indices, rows.indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    np.testing.assert_allclose(run(model, rows)["variable"], model.predict(X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
def test_graph_clips_as_the_model_does(Estimator, outputs):
    y = np.column_stack([Y, 1 - Y])[:, :outputs].squeeze()
    model = Estimator(clip=True, **SETTINGS).fit(X, y)
    rows = sparse.csr_matrix(4 * X)
    raw = model.set_params(clip=False).predict(rows)
    assert (raw > y.max(0)).any()
    assert (raw < y.min(0)).any()
    compare(model.set_params(clip=True), rows, 1e-12)


LINKED = {"quantile": Y, "poisson": np.exp(Y), "log_loss": np.abs(np.sin(Y))}


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("loss", LINKED)
def test_graph_has_the_link_of_the_loss(loss, clip):
    model = FMRegressor(loss=loss, clip=clip, **SETTINGS).fit(X, LINKED[loss])
    compare(model, sparse.csr_matrix(2 * X), 1e-12)


FIELDS = {"fields": [0, 0, 1, 2, 1, 2, 0, 3, 3]}
DEEP = FIELDS | {"hidden_layer_sizes": (5, 4), "learning_rate": 0.01}
WITH_FIELDS = {
    "FwFM": (FwFMRegressor, FwFMClassifier, FIELDS),
    "DeepFM": (DeepFMRegressor, DeepFMClassifier, DEEP | {"batch_norm": False}),
    "parallel AFM": (DeepFMRegressor, DeepFMClassifier, DEEP | {"pooling": "attention", "batch_norm": True}),
}


@pytest.mark.parametrize("name", WITH_FIELDS)
@pytest.mark.parametrize("target", ["one number", "two numbers", "three classes"])
def test_graph_of_a_model_with_fields_predicts_as_the_model_does(name, target):
    regressor, classifier, own = WITH_FIELDS[name]
    Estimator = classifier if "classes" in target else regressor
    compare(Estimator(**SETTINGS | own).fit(X, TARGETS[target][0]), sparse.csr_matrix(X), 1e-10)


def test_graph_of_wide_and_deep_predicts_as_the_model_does():
    compare(WideDeepRegressor(**SETTINGS | DEEP).fit(X, Y), sparse.csr_matrix(X), 1e-10)


def test_attention_far_apart_is_no_overflow():
    model = AFMRegressor(**SETTINGS).fit(X, Y)
    model.attention_projection_ = model.attention_projection_ + 1e4
    compare(model, sparse.csr_matrix(X), 1e-9)


def test_threads_of_the_runtime_do_not_change_the_result():
    rng = np.random.default_rng(0)
    rows = sparse.csr_matrix(rng.integers(0, 2, size=(3000, 9)).astype(np.float64))
    proto = to_onnx(AFMClassifier(**SETTINGS).fit(X, TARGETS["three classes"][0])).SerializeToString()
    arrays, results = {"indices": rows.indices, "data": rows.data, "indptr": rows.indptr}, []
    for threads in (1, 4, 4, 4):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        results.append(onnxruntime.InferenceSession(proto, options).run(["probabilities"], arrays)[0])
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-12, atol=1e-14)


def test_model_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError, match="AFMRegressor"):
        to_onnx(AFMRegressor())


def test_model_without_a_graph_is_refused():
    with pytest.raises(TypeError, match=r"must be .* of FM, .* or BayesianFM, or a Pipeline .*, got HOFMRegressor"):
        to_onnx(HOFMRegressor())


def test_without_onnx_the_error_says_what_to_install(monkeypatch):
    model = FMRegressor(**SETTINGS).fit(X, Y)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install skafm\[onnx\]"):
        to_onnx(model)


def test_targets_too_far_from_zero_for_the_graph_are_refused():
    X, y = np.eye(3, dtype=np.float32)[[0, 1, 2] * 10], 1e9 + np.arange(30) % 3
    with pytest.raises(ValueError, match="fit the model on X in float64"):
        to_onnx(FMRegressor(random_state=0).fit(X, y))


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(
    ("Estimator", "own"),
    [
        (AFMRegressor, {}),
        (FwFMRegressor, {}),
        (DeepFMRegressor, {"hidden_layer_sizes": (4,), "learning_rate": 0.01, "pooling": "attention"}),
    ],
    ids=["AFM", "FwFM", "parallel AFM"],
)
def test_rows_that_lack_one_hot_fields(Estimator, own, outputs):
    rng = np.random.default_rng(0)
    one_hot = np.concatenate([np.eye(4)[rng.integers(4, size=60)], np.eye(3)[rng.integers(3, size=60)]], axis=1)
    rows = np.column_stack([one_hot, rng.normal(size=60) * (rng.random(60) < 0.5)])
    y = (rows @ rng.normal(size=(8, 2)) + rows[:, :1] * rows[:, 4:6])[:, :outputs].squeeze()
    model = Estimator(**SETTINGS | own).fit(rows, y)
    assert len(model._missing_bounds) == 4
    rows[:20, :4] = 0
    rows[10:30, 4:7] = 0
    rows[15:17] = 0
    compare(model, sparse.csr_matrix(rows), 1e-12)
    explicit = sparse.csr_matrix(np.where(rows == 0, -1, rows))
    explicit.data[explicit.data == -1] = 0
    assert explicit.nnz == rows.size
    compare(model, explicit, 1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-6)])  # erf is in float32
@pytest.mark.parametrize("target", ["one number", "two classes", "three classes"])
def test_bayesian_graph_averages_the_draws(target, dtype, tolerance):
    rng = np.random.default_rng(0)
    rows = np.hstack([np.eye(4)[rng.integers(4, size=len(X))], X]).astype(dtype)  # a field that all rows have
    Estimator = BayesianFMRegressor if target == "one number" else BayesianFMClassifier
    model = Estimator(3, max_iter=12, random_state=0).fit(rows, TARGETS[target][0])
    rows[:5, :4] = 0
    compare(model, sparse.csr_matrix(rows), tolerance)
