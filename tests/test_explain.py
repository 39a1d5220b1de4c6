"""What made a prediction: its parts, and the pairs that matter over many."""

import subprocess
import sys
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import reference
import sklearn
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import skafm
from skafm.inspection import Explanation

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NAMES = ["FM", "AFM", "FFM", "HOFM"]
every = pytest.mark.parametrize("name", NAMES)
QUICK = {"n_factors": 3, "random_state": 0, "max_iter": 20, "learning_rate": 0.2}


def make(name, task="Regressor", **parameters):
    return getattr(skafm, name + task)(**QUICK | parameters)


@every
@pytest.mark.parametrize("memory", [1024, 0.02])
def test_parts_sum_to_the_prediction(name, memory, ragged):
    X, y = ragged
    model = make(name).fit(X, 1000 + 30 * y)
    with sklearn.config_context(working_memory=memory):
        explanation = model.explain(sparse.csr_array(X))
    np.testing.assert_allclose(explanation.sum(), model.predict(X), rtol=1e-12)
    frame = explanation.to_frame()
    np.testing.assert_allclose(frame.groupby("row")["contribution"].sum(), model.predict(X), rtol=1e-12)


@every
def test_parts_sum_to_the_prediction_in_float32(name, ragged):
    X, y = ragged[0].astype(np.float32), ragged[1]
    model = make(name).fit(X, y)
    np.testing.assert_allclose(model.explain(X).sum(), model.predict(X), rtol=1e-5, atol=1e-6)


@every
def test_parts_sum_to_the_decision_function(name, ragged):
    X, y = ragged
    model = make(name, "Classifier").fit(X, y > 0)
    np.testing.assert_allclose(model.explain(X).sum(), model.decision_function(X), rtol=1e-10, atol=1e-12)


@every
def test_parts_sum_class_by_class(name, ragged):
    X, y = ragged
    labels = np.array(["low", "mid", "high"])[np.digitize(y, [0, 1])]
    model = make(name, "Classifier").fit(X, labels)
    explanation = model.explain(X)
    np.testing.assert_allclose(explanation.sum(), model.decision_function(X), rtol=1e-10, atol=1e-12)
    frame = explanation.to_frame()
    assert frame.columns[1] == "output"
    sums = frame.pivot_table(index="row", columns="output", values="contribution", aggfunc="sum")
    np.testing.assert_allclose(sums[list(model.classes_)], model.decision_function(X), rtol=1e-10, atol=1e-12)


@every
def test_parts_sum_target_by_target(name, ragged):
    X, y = ragged
    model = make(name).fit(X, np.column_stack([y, -(y**2)]))
    np.testing.assert_allclose(model.explain(X).sum(), model.predict(X), rtol=1e-10, atol=1e-12)


def test_clipped_predictions_are_the_clipped_sums(ragged):
    X, y = ragged
    model = make("FM", clip=True).fit(X, y)
    X = 5 * X
    total = model.explain(X).sum()
    assert total.max() > y.max()
    np.testing.assert_allclose(total.clip(y.min(), y.max()), model.predict(X))


def test_terms_of_a_row_equal_the_loops(ragged):
    X, y = ragged
    model = make("AFM").fit(X, y)
    network = (model.attention_coef_, model.attention_intercept_, model.attention_projection_)
    frame = model.explain(X).to_frame()
    for row in range(10):
        mine = frame[frame["row"] == row]
        linear = mine[mine["term"] == "linear"]
        expected = [(f"x{i}", model.coef_[i] * x) for i, x in reference.entries(X[row])]
        assert linear["feature_i"].tolist() == [feature for feature, _ in expected]
        np.testing.assert_allclose(linear["contribution"], [value for _, value in expected])
        pairs = mine[mine["term"] == "interaction"]
        if np.count_nonzero(X[row]) > 1:
            found, vectors, weights = reference.attention(X[row], model.factors_, *network)
            features = zip(pairs["feature_i"], pairs["feature_j"], strict=True)
            assert list(features) == [(f"x{i}", f"x{j}") for i, j in found]
            np.testing.assert_allclose(pairs["attention"], weights)
            np.testing.assert_allclose(pairs["interaction"], [model.projection_ @ vector for vector in vectors])
        else:
            assert pairs.empty


def test_hofm_shares_larger_sets_among_their_pairs(ragged):
    X, y = ragged
    model = make("HOFM", order=4).fit(X, y)
    row = X[np.count_nonzero(X, axis=1).argmax()]
    z = {i: model.factors_[i] * x for i, x in reference.entries(row)}  # (order - 1, k)
    expected = dict.fromkeys(combinations(z, 2), 0.0)
    for m in (2, 3, 4):
        for features in combinations(z, m):
            added = np.prod([z[i][m - 2] for i in features], axis=0).sum()
            pairs = list(combinations(features, 2))
            for pair in pairs:
                expected[pair] += added / len(pairs)
    explanation = model.explain(row[None])
    assert list(zip(explanation.feature_i, explanation.feature_j, strict=True)) == list(expected)
    np.testing.assert_allclose(explanation.interaction, list(expected.values()), rtol=1e-9, atol=1e-12)


def test_fm_has_an_attention_of_one(ragged):
    X, y = ragged
    model = make("FM").fit(X, y)
    explanation = model.explain(X[-1:])
    features = [i for i, _ in reference.entries(X[-1])]
    expected = [model.factors_[i] @ model.factors_[j] * X[-1, i] * X[-1, j] for i, j in combinations(features, 2)]
    np.testing.assert_allclose(explanation.interaction, expected)
    assert (explanation.attention == 1).all()


def test_attention_of_each_row_sums_to_one_and_differs(ragged):
    X, y = ragged
    attention = make("AFM").fit(X, y).attention(X)
    assert [len(weights) for weights in attention] == [n * (n - 1) // 2 for n in np.count_nonzero(X, axis=1)]
    for weights in attention:
        assert len(weights) == 0 or weights.sum() == pytest.approx(1)
    assert np.std(attention[-1]) > 0.01 / len(attention[-1])


def test_columns_of_the_table_in_their_order(ragged):
    frame = make("AFM").fit(*ragged).explain(ragged[0][:3]).to_frame()
    columns = ["row", "term", "feature_i", "feature_j", "attention", "interaction", "contribution"]
    assert frame.columns.tolist() == columns
    assert frame["term"].unique().tolist() == ["intercept", "linear", "interaction"]
    assert all(frame[name].dtype == float for name in columns[4:])
    assert frame["row"].is_monotonic_increasing


def test_names_are_those_of_the_frame_or_the_encoder():
    X = pd.DataFrame({"colour": ["red", "blue", "red", "blue"] * 10, "size": ["s", "s", "m", "m"] * 10})
    pipeline = make_pipeline(OneHotEncoder(), make("AFM")).fit(X, [0, 1, 1, 0] * 10)
    encoded, names = pipeline[0].transform(X[:1]), pipeline[0].get_feature_names_out()
    frame = pipeline[-1].explain(encoded, feature_names=names).to_frame()
    assert frame["feature_i"].tolist()[1:] == ["colour_red", "size_s", "colour_red"]
    assert frame["feature_j"].tolist()[-1] == "size_s"
    numbers = pd.DataFrame(np.eye(3), columns=["a", "b", "c"])
    model = make("FM").fit(numbers, [1.0, 2.0, 3.0])
    assert model.explain(numbers).to_frame()["feature_i"].dropna().tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"feature_names must have shape \(3,\), but has shape \(2,\)"):
        model.explain(numbers, feature_names=["a", "b"])


def test_rows_of_an_explanation(ragged):
    X, y = ragged
    model = make("AFM").fit(X, y)
    explanation = model.explain(X)
    assert len(explanation) == 60
    assert isinstance(explanation[7], Explanation)
    for rows in (slice(7, 8), slice(3, 20), slice(50, None), slice(0, 0)):
        expected = _renumbered(explanation.to_frame(), rows)
        pd.testing.assert_frame_equal(explanation[rows].to_frame(), expected, check_dtype=len(expected) > 0)
    np.testing.assert_allclose(explanation[-1].sum(), model.predict(X[-1:]))
    with pytest.raises(IndexError):
        explanation[60]
    with pytest.raises(ValueError, match="step of 1, got 2"):
        explanation[::2]


def _renumbered(frame, rows):
    start, stop, _ = rows.indices(60)
    frame = frame[frame["row"].between(start, stop - 1)].reset_index(drop=True)
    return frame.assign(row=frame["row"] - start)


def test_top_terms_are_the_strongest_of_each_row(ragged):
    X, y = ragged
    explanation = make("AFM").fit(X, y).explain(X)
    top, frame = explanation.top(3), explanation.to_frame()
    for row in range(60):
        mine = frame[(frame["row"] == row) & (frame["term"] != "intercept")]["contribution"].abs()
        strongest = np.sort(mine)[::-1][:3]
        np.testing.assert_array_equal(top[top["row"] == row]["contribution"].abs(), strongest)


def test_sums_by_field_keep_each_rows_sum(ragged):
    X, y = ragged
    explanation = make("AFM").fit(X, y).explain(X)
    fields = np.array(["b", "a", "b", "c", "a", "c", "b", "a", "c"])
    sums, frame = explanation.by_field(fields), explanation.to_frame()
    np.testing.assert_allclose(sums.groupby("row")["contribution"].sum(), explanation.sum())
    field = dict(zip([f"x{i}" for i in range(9)], fields, strict=True))
    last = frame[(frame["row"] == 59) & (frame["term"] == "interaction")]
    among = last["feature_i"].map(field).isin(["a", "b"]) & last["feature_j"].map(field).isin(["a", "b"])
    among &= last["feature_i"].map(field) != last["feature_j"].map(field)
    found = sums[(sums["row"] == 59) & (sums["field_i"] == "a") & (sums["field_j"] == "b")]
    assert len(found) == 1
    assert found["contribution"].item() == pytest.approx(last[among]["contribution"].sum())
    assert found["attention"].item() == pytest.approx(last[among]["attention"].sum())
    with pytest.raises(ValueError, match="each of the 9 features"):
        explanation.by_field(["a"])


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
    X = pd.DataFrame({"sky_colour": rng.choice(["red_ish", "blue"], 200), "size": rng.choice(["s", "m", "l"], 200)})
    encoder = OneHotEncoder().fit(X)
    model = make("FM").fit(encoder.transform(X), (X["sky_colour"] == "blue") == (X["size"] == "s"))
    names = encoder.get_feature_names_out()
    top = model.top_interactions(encoder.transform(X), fields="auto", feature_names=names)
    assert top[["feature_i", "feature_j"]].to_numpy().tolist() == [["sky_colour", "size"]]
    assert top["support"].item() == 200
    few = X[X["size"] != "l"]  # size_l is the first column of its field, and in no row
    top = model.top_interactions(encoder.transform(few), fields="auto", feature_names=names)
    assert top[["feature_i", "feature_j"]].to_numpy().tolist() == [["sky_colour", "size"]]
    unnamed = model.top_interactions(encoder.transform(X), fields="auto")
    assert unnamed["feature_i"].item() == "field 0"


def test_rows_without_a_pair_have_no_interactions():
    model = make("AFM").fit(np.eye(3), [1.0, 2.0, 3.0])
    empty = sparse.csr_array((2, 3))
    assert len(model.top_interactions(empty, fields="auto")) == 0
    assert len(model.top_interactions(np.eye(3))) == 0
    np.testing.assert_allclose(model.explain(empty).sum(), model.predict(empty))
    assert model.explain(empty).to_frame()["term"].tolist() == ["intercept", "intercept"]
    assert "<details" in model.explain(empty)._repr_html_()


def test_top_interactions_take_what_the_pairs_take_not_the_columns():
    columns = 2_000_000  # whose square no memory holds
    X = sparse.csr_array((np.ones(6, np.float32), [0, 5, columns - 1, 0, 5, 7], [0, 3, 6]), shape=(2, columns))
    model = make("FM", max_iter=1, n_factors=1).fit(X, [0.0, 1.0])
    top = model.top_interactions(X)
    assert len(top) == 5
    assert top["support"].max() == 2


@pytest.mark.parametrize("name", ["NFM", "WideDeep", "DeepCross"])
def test_models_that_are_no_sum_over_pairs_do_not_explain(name):
    assert not hasattr(getattr(skafm, f"{name}Regressor"), "explain")


def test_html_shows_the_strongest_terms_and_escapes_names(ragged):
    X, y = ragged
    model = make("AFM").fit(X, y)
    html = model.explain(X, feature_names=[f"<b>{i}" for i in range(9)])._repr_html_()
    assert html.count("<details") == 5
    assert "55 more rows" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert 'class="positive" style="width:100%"' in html


def test_html_is_left_out_where_scikit_learn_shows_text(ragged):
    X, y = ragged
    explanation = make("AFM").fit(X, y).explain(X)
    with sklearn.config_context(display="text"):
        assert explanation._repr_html_() is None


def test_html_tells_outputs_apart(ragged):
    X, y = ragged
    labels = np.array(["low", "mid", "high"])[np.digitize(y, [0, 1])]
    html = make("AFM", "Classifier").fit(X, labels).explain(X[-1:])._repr_html_()
    assert '<th class="term">output</th>' in html
    assert '<td class="term">high</td>' in html


def test_unfitted_model_does_not_explain(ragged):
    with pytest.raises(sklearn.exceptions.NotFittedError):
        make("FM").explain(ragged[0])


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


def test_a_row_of_two_million_pairs_is_explained_in_chunks():
    command = [sys.executable, "-W", "ignore", "-c", LONG_ROW]
    more = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert more < 400  # MB, 48 of them the result; a number for each pair and factor would be 2,048
