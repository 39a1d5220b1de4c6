"""Terms of predictions, and the pairs of features that matter most over many rows."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import reference
import sklearn
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import skafm

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NAMES = ["FM", "AFM", "FFM", "HOFM"]
every = pytest.mark.parametrize("name", NAMES)
QUICK = {"n_factors": 3, "random_state": 0, "max_iter": 20, "learning_rate": 0.2}


def make(name, task="Regressor", **parameters):
    return getattr(skafm, name + task)(**QUICK | parameters)


@every
def test_explanation_in_little_memory_sums_to_the_prediction(name, ragged):
    X, y = ragged
    model = make(name).fit(X, 1000 + 30 * y)
    with sklearn.config_context(working_memory=0.02):
        explanation = model.explain(sparse.csr_array(X))
    np.testing.assert_allclose(explanation.sum(), model.predict(X), rtol=1e-12)


def test_clipped_predictions_are_the_clipped_sums(ragged):
    X, y = ragged
    model = make("FM", clip=True).fit(X, y)
    X = 20 * X
    total = model.explain(X).sum()
    assert total.max() > y.max()
    np.testing.assert_allclose(total.clip(y.min(), y.max()), model.predict(X))


@pytest.fixture
def afm(ragged):
    """A model with attention."""
    return make("AFM").fit(*ragged)


@pytest.mark.parametrize("row", range(10))
def test_linear_terms_equal_the_loops(row, afm, ragged):
    x, frame = ragged[0][row], afm.explain(ragged[0][row : row + 1]).to_frame()
    linear = frame[frame["term"] == "linear"]
    expected = [(f"x{i}", afm.linear_coef_[i] * value) for i, value in reference.entries(x)]
    assert linear["feature_i"].tolist() == [feature for feature, _ in expected]
    np.testing.assert_allclose(linear["contribution"], [value for _, value in expected])


@pytest.mark.parametrize("row", range(10))
def test_attention_and_interactions_equal_the_loops(row, afm, ragged):
    x, frame = ragged[0][row], afm.explain(ragged[0][row : row + 1]).to_frame()
    pairs = frame[frame["term"] == "interaction"]
    network = (afm.attention_coef_, afm.attention_intercept_, afm.attention_projection_)
    found, vectors, weights = reference.attention(x, afm.factors_, *network)
    features = zip(pairs["feature_i"], pairs["feature_j"], strict=True)
    assert list(features) == [(f"x{i}", f"x{j}") for i, j in found]
    np.testing.assert_allclose(pairs["attention"], weights)
    np.testing.assert_allclose(pairs["interaction"], [afm.projection_ @ vector for vector in vectors])


def test_attention_of_a_model_without_is_one(ragged):
    assert (make("FM").fit(*ragged).explain(ragged[0]).attention == 1).all()


def test_names_are_those_that_are_given():
    X = pd.DataFrame({"color": ["red", "blue", "red", "blue"] * 10, "size": ["s", "s", "m", "m"] * 10})
    pipeline = make_pipeline(OneHotEncoder(), make("AFM")).fit(X, [0, 1, 1, 0] * 10)
    encoded, names = pipeline[0].transform(X[:1]), pipeline[0].get_feature_names_out()
    frame = pipeline[-1].explain(encoded, feature_names=names).to_frame()
    assert frame["feature_i"].tolist()[1:] == ["color_red", "size_s", "color_red"]
    assert frame["feature_j"].tolist()[-1] == "size_s"


def test_names_are_those_of_the_frame():
    X = pd.DataFrame(np.eye(3), columns=["a", "b", "c"])
    model = make("FM").fit(X, [1.0, 2.0, 3.0])
    assert model.explain(X).to_frame()["feature_i"].dropna().tolist() == ["a", "b", "c"]


def test_names_of_another_number_are_refused():
    model = make("FM").fit(np.eye(3), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"feature_names must have shape \(3,\), but has shape \(2,\)"):
        model.explain(np.eye(3), feature_names=["a", "b"])


@every
@pytest.mark.parametrize("memory", [1024, 0.02])
@pytest.mark.parametrize("fields", [None, ["b", "a", "b", "c", "a", "c", "b", "a", "c"]])
def test_top_interactions_equal_the_slow_sums(name, memory, fields, ragged):
    X, y = ragged
    model = make(name).fit(X, y)
    with sklearn.config_context(working_memory=memory):
        top = model.top_interactions(X, 1000, fields=fields)
    frame = model.explain(X).to_frame()
    frame = frame[frame["term"] == "interaction"]
    group = dict(zip([f"x{i}" for i in range(9)], fields or [f"x{i}" for i in range(9)], strict=True))
    frame["pair"] = [
        tuple(sorted((group[i], group[j]))) for i, j in zip(frame["feature_i"], frame["feature_j"], strict=True)
    ]
    by_row = frame.groupby(["pair", "row"])[["contribution", "attention"]].sum().reset_index()
    assert top.columns[:2].tolist() == ["feature_i", "feature_j"]
    assert len(top) == by_row["pair"].nunique()
    for line in top.itertuples():
        mine = by_row[by_row["pair"] == (line.feature_i, line.feature_j)]
        assert line.support == len(mine)
        assert line.mean_abs_contribution == pytest.approx(mine["contribution"].abs().sum() / 60)
        assert line.mean_contribution == pytest.approx(mine["contribution"].sum() / 60)
        assert line.mean_attention == pytest.approx(mine["attention"].mean())
    assert top["mean_abs_contribution"].is_monotonic_decreasing


def test_top_interactions_by_attention_and_support(ragged):
    model = make("AFM").fit(*ragged)
    top = model.top_interactions(ragged[0], 5, by="attention", min_support=20)
    assert len(top) == 5
    assert top["mean_attention"].is_monotonic_decreasing
    assert (top["support"] >= 20).all()
    with pytest.raises(ValueError, match="'contribution' or 'attention', got 'weight'"):
        model.top_interactions(ragged[0], by="weight")


def test_top_interactions_find_and_name_an_encoders_fields():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"sky_color": rng.choice(["red_ish", "blue"], 200), "size": rng.choice(["s", "m", "l"], 200)})
    encoder = OneHotEncoder().fit(X)
    model = make("FM").fit(encoder.transform(X), (X["sky_color"] == "blue") == (X["size"] == "s"))
    names = encoder.get_feature_names_out()
    top = model.top_interactions(encoder.transform(X), fields="auto", feature_names=names)
    assert top[["feature_i", "feature_j"]].to_numpy().tolist() == [["sky_color", "size"]]
    assert top["support"].item() == 200
    few = X[X["size"] != "l"]  # size_l is the first column of its field, and in no row
    top = model.top_interactions(encoder.transform(few), fields="auto", feature_names=names)
    assert top[["feature_i", "feature_j"]].to_numpy().tolist() == [["sky_color", "size"]]
    unnamed = model.top_interactions(encoder.transform(X), fields="auto")
    assert unnamed["feature_i"].item() == "field 0"


def test_rows_without_a_pair_have_no_interactions():
    model = make("AFM").fit(np.eye(3), [1.0, 2.0, 3.0])
    empty = sparse.csr_array((2, 3))
    assert len(model.top_interactions(empty, fields="auto")) == 0
    assert len(model.top_interactions(np.eye(3))) == 0
    np.testing.assert_allclose(model.explain(empty).sum(), model.predict(empty))


def test_top_interactions_need_no_memory_for_all_columns():
    columns = 2_000_000  # whose square no memory holds
    X = sparse.csr_array((np.ones(6, np.float32), [0, 5, columns - 1, 0, 5, 7], [0, 3, 6]), shape=(2, columns))
    model = make("FM", max_iter=1, n_factors=1).fit(X, [0.0, 1.0])
    top = model.top_interactions(X)
    assert len(top) == 5
    assert top["support"].max() == 2


LONG_ROW = """
import sys
import numpy as np
import sklearn
from scipy import sparse
from skafm import AFMRegressor

def peak():
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    return int(status["VmHWM"].split()[0]) / 1024

def rows(n):
    return sparse.csr_array((np.ones(n, np.float32), np.arange(n), [0, n]), shape=(1, 2000))

model = AFMRegressor(256, attention_size=8, max_iter=1).fit(rows(20), [1.0])
model.explain(rows(20)).top(3)
before = peak()
sklearn.set_config(working_memory=64)
explanation = model.explain(rows(2000))
assert len(explanation.rows) == 1999000
print(peak() - before)
"""


def test_row_of_two_million_pairs_is_explained_in_chunks():
    command = [sys.executable, "-W", "ignore", "-c", LONG_ROW]
    more = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert more < 400  # MB, 48 of them the result; a number for each pair and factor would be 2,048
