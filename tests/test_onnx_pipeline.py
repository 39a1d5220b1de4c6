"""The ONNX graph of a pipeline predicts raw rows as the pipeline does."""

import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
from conftest import ragged_matrix
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler

from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor, HOFMRegressor
from skafm.onnx import register_converters, to_onnx

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
SETTINGS = {"n_factors": 3, "max_iter": 8, "learning_rate": 0.2, "early_stopping": False, "random_state": 0}
WORDS = RNG.choice(list("abcdé"), size=(200, 4)).astype(object)
Y = (WORDS[:, 0] == "a") * 1.0 - 2 * (WORDS[:, 1] == "b") * (WORDS[:, 2] == "é") + RNG.normal(size=200) / 10
UNSEEN = np.where(RNG.integers(0, 2, size=(60, 4)) == 0, "unseen", WORDS[:60])
TARGETS = {
    "one number": (Y, (FMRegressor, AFMRegressor)),
    "two numbers": (np.column_stack([Y, 1 - Y]), (FMRegressor, AFMRegressor)),
    "two classes": (Y > 0, (FMClassifier, AFMClassifier)),
    "two strings": (np.where(Y > 0, "yes", "no"), (FMClassifier, AFMClassifier)),
    "three classes": (np.digitize(Y, [-0.1, 0.1]) * 5, (FMClassifier, AFMClassifier)),
    "three floats": (np.digitize(Y, [-0.1, 0.1]) * 2.0, (FMClassifier, AFMClassifier)),
}
CASES = [
    pytest.param(Estimator, y, id=f"{Estimator.__name__}, {name}")
    for name, (y, both) in TARGETS.items()
    for Estimator in both
]
every = pytest.mark.parametrize(("Estimator", "y"), CASES)


def encoder(**parameters):
    return OneHotEncoder(handle_unknown="ignore", **parameters)


def run(proto, X):
    """Check the graph and run it on a table: the outputs by name."""
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    columns = {name: X[[name]].to_numpy() for name in X} if isinstance(X, pd.DataFrame) else {"X": X}
    arrays = {each.name: columns[each.name] for each in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, arrays), strict=True))


def compare(model, X, tolerance=1e-5, dtype=np.float32):
    found = run(to_onnx(model, X[:3]), X)
    if hasattr(model, "predict_proba"):
        assert list(found) == ["label", "probabilities"]
        assert np.array_equal(found["label"], model.predict(X))
        assert found["label"].dtype == (object if model.classes_.dtype.kind == "U" else np.int64)
        name, expected = "probabilities", model.predict_proba(X)
    else:
        name, expected = "variable", model.predict(X)
    assert list(found)[-1] == name
    assert found[name].dtype == dtype
    assert found[name].shape == expected.shape
    np.testing.assert_allclose(found[name], expected, rtol=tolerance, atol=tolerance)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strings_are_predicted_as_by_the_pipeline(Estimator, y, dtype):
    pipeline = make_pipeline(encoder(dtype=dtype), Estimator(**SETTINGS)).fit(WORDS, y)
    assert set(np.diff(pipeline[0].transform(UNSEEN).indptr)) == {0, 1, 2, 3, 4}
    compare(pipeline, WORDS)
    compare(pipeline, UNSEEN)
    compare(pipeline, UNSEEN.astype(str))


@every
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_entries_of_dense_rows_are_those_that_are_not_zero(Estimator, y, dtype, tolerance):
    X = ragged_matrix(n_samples=200, dtype=dtype)
    X[1::7] *= -1.0  # zeros of either sign
    model = Estimator(**SETTINGS).fit(X, y)
    compare(model, X, tolerance, dtype)
    compare(make_pipeline(MaxAbsScaler(), model).fit(X, y), X, tolerance, dtype)


@every
def test_table_of_words_and_numbers(Estimator, y):
    table = pd.DataFrame(WORDS, columns=list("stuv")).assign(
        count=RNG.integers(0, 3, size=200), size=RNG.normal(size=200), kind=RNG.integers(0, 3, size=200)
    )
    parts = [("kind", encoder(), ["kind", "s", "v"]), ("scaled", StandardScaler(), ["size"])]
    transformer = ColumnTransformer([*parts, ("words", encoder(), ["t"]), ("as is", "passthrough", ["count"])])
    pipeline = make_pipeline(transformer, Estimator(**SETTINGS)).fit(table, y)
    new = table[:50].assign(s="unseen", kind=table["kind"][:50] + 1)
    compare(pipeline, new)
    compare(make_pipeline(encoder(), pipeline[-1]).fit(table[["s", "kind"]], y), new[["s", "kind"]])


@every
@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_any_number_of_rows_is_predicted(Estimator, y, n_rows):
    pipeline = make_pipeline(encoder(), Estimator(**SETTINGS)).fit(WORDS, y)
    found = run(to_onnx(pipeline, WORDS), WORDS[:n_rows])
    for name, value in found.items():
        expected = pipeline.predict_proba(WORDS[:2]) if name == "probabilities" else pipeline.predict(WORDS[:2])
        assert value.shape == expected[:n_rows].shape


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
def test_pipeline_clips_as_the_model_does(Estimator, n_outputs):
    y = np.column_stack([Y, 1 - Y])[:, :n_outputs].squeeze()
    pipeline = make_pipeline(MaxAbsScaler(), Estimator(clip=True, **SETTINGS))
    X = ragged_matrix(n_samples=200)
    pipeline.fit(X, y)
    raw = pipeline[-1].set_params(clip=False).predict(40 * pipeline[0].transform(X))
    assert (raw > y.max(0)).any()
    assert (raw < y.min(0)).any()
    pipeline[-1].set_params(clip=True)
    compare(pipeline, 40 * X, 1e-12, np.float64)


def test_pairs_are_those_of_non_zero_entries():
    """The features of a row are many, and all their pairs would be too many."""
    pipeline = make_pipeline(encoder(), AFMRegressor(**SETTINGS)).fit(WORDS, Y)
    proto = to_onnx(pipeline, WORDS)
    node = next(node for node in proto.graph.node if node.op_type == "NonZero")
    proto.graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.INT64, [2, None]))
    positions = run(proto, UNSEEN)[node.output[0]]
    assert np.array_equal(positions.T, np.argwhere(pipeline[0].transform(UNSEEN).toarray()))


@pytest.mark.parametrize("Estimator", [FMClassifier, AFMClassifier])
def test_searches_and_pipelines_in_pipelines_are_converted(Estimator):
    y = TARGETS["two strings"][0]
    search = GridSearchCV(make_pipeline(MaxAbsScaler(), Estimator(**SETTINGS)), {}, cv=2)
    pipeline = make_pipeline(encoder(), search).fit(WORDS, y)
    compare(pipeline, UNSEEN)
    compare(GridSearchCV(make_pipeline(encoder(), Estimator(**SETTINGS)), {}, cv=2).fit(WORDS, y), UNSEEN)


@pytest.mark.parametrize("y", [Y > 0, np.where(Y > 0, "yes", "no"), np.digitize(Y, [-0.1, 0.1])])
@pytest.mark.parametrize("Estimator", [FMClassifier, AFMClassifier])
def test_registered_classifiers_have_the_outputs_of_skl2onnx(Estimator, y):
    pipeline = make_pipeline(encoder(), Estimator(**SETTINGS)).fit(WORDS, y)
    register_converters()
    label, expected = pipeline.predict(UNSEEN), pipeline.predict_proba(UNSEEN)
    found = run(skl2onnx.to_onnx(pipeline, UNSEEN), UNSEEN)
    assert np.array_equal(found["output_label"], label)
    assert found["output_probability"][0].keys() == set(pipeline.classes_.tolist())
    maps = [[row[each] for each in pipeline.classes_.tolist()] for row in found["output_probability"]]
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-5)
    found = run(skl2onnx.to_onnx(pipeline, UNSEEN, options={"zipmap": False}), UNSEEN)
    assert np.array_equal(found["label"], label)
    np.testing.assert_allclose(found["probabilities"], expected, rtol=1e-5, atol=1e-5)
    by_id = {id(pipeline[-1]): {"zipmap": "columns"}}
    *_, last = run(skl2onnx.to_onnx(pipeline, UNSEEN, options=by_id), UNSEEN).values()
    np.testing.assert_allclose(last, expected[:, -1], rtol=1e-5, atol=1e-5)


def test_registered_regressors_are_converted_inside_of_others():
    register_converters()
    voting = VotingRegressor([("fm", FMRegressor(**SETTINGS)), ("afm", AFMRegressor(**SETTINGS))])
    pipeline = make_pipeline(encoder(sparse_output=False), voting).fit(WORDS, Y)
    found = run(skl2onnx.to_onnx(pipeline, UNSEEN), UNSEEN)["variable"]
    np.testing.assert_allclose(found, pipeline.predict(UNSEEN)[:, None], rtol=1e-5, atol=1e-5)
    pipeline = make_pipeline(encoder(), FMRegressor(**SETTINGS)).fit(WORDS, Y)
    assert run(skl2onnx.to_onnx(pipeline, UNSEEN), UNSEEN)["variable"].shape == (60, 1)


@pytest.mark.parametrize("X", [None, WORDS], ids=["csr", "table"])
def test_pipelines_that_end_in_other_models_are_refused(X):
    with pytest.raises(TypeError, match=r"or a Pipeline that ends in one, got Pipeline that ends in HOFMRegressor\."):
        to_onnx(make_pipeline(encoder(), HOFMRegressor()), X)


def test_pipeline_without_rows_is_refused():
    pipeline = make_pipeline(encoder(), FMRegressor(**SETTINGS)).fit(WORDS, Y)
    with pytest.raises(ValueError, match=r"A pipeline needs X.*: to_onnx\(pipeline, X\)"):
        to_onnx(pipeline)
    with pytest.raises(TypeError, match="X must be dense, an array or a DataFrame, got a sparse matrix"):
        to_onnx(pipeline, sparse.csr_array(np.eye(4)))


def test_pipeline_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError, match="AFMRegressor"):
        to_onnx(make_pipeline(encoder(), AFMRegressor()), WORDS)


def test_opset_without_the_operators_is_refused():
    pipeline = make_pipeline(encoder(), FMRegressor(**SETTINGS)).fit(WORDS, Y)
    register_converters()
    with pytest.raises(ValueError, match="target_opset must be at least 18 for skafm, got 17"):
        skl2onnx.to_onnx(pipeline, WORDS, target_opset=17)


def test_without_skl2onnx_the_error_says_what_to_install(monkeypatch):
    pipeline = make_pipeline(encoder(), FMRegressor(**SETTINGS)).fit(WORDS, Y)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    for call in (register_converters, lambda: to_onnx(pipeline, WORDS)):
        with pytest.raises(ImportError, match=r"skl2onnx.*pip install skafm\[onnx\]"):
            call()
    to_onnx(pipeline[-1])  # which needs onnx only
