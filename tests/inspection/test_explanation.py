"""The result of ``explain``: its rows, its tables, sums by field, HTML."""

import numpy as np
import pandas as pd
import pytest
import sklearn

from skafm import AFMClassifier, AFMRegressor, FMRegressor
from skafm.inspection import Explanation

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
QUICK = {"n_factors": 3, "random_state": 0, "max_iter": 20, "learning_rate": 0.2}
FIELDS = np.array(["b", "a", "b", "c", "a", "c", "b", "a", "c"])


@pytest.fixture
def explanation(ragged):
    """The explanation of 60 rows by an AFM."""
    return AFMRegressor(**QUICK).fit(*ragged).explain(ragged[0])


@pytest.fixture
def classifier(ragged):
    """A model of three classes."""
    X, y = ragged
    return AFMClassifier(**QUICK).fit(X, np.array(["low", "mid", "high"])[np.digitize(y, [0, 1])])


# --- rows -------------------------------------------------------------------------------------------------------------


def test_explanation_has_a_length_of_its_rows(explanation):
    assert len(explanation) == 60
    assert len(explanation[3:20]) == 17


def renumbered(frame, rows):
    """Return the part of a table of 60 rows that is about some of them, numbered from 0."""
    start, stop, _ = rows.indices(60)
    frame = frame[frame["row"].between(start, stop - 1)].reset_index(drop=True)
    return frame.assign(row=frame["row"] - start)


@pytest.mark.parametrize("rows", [slice(7, 8), slice(3, 20), slice(50, None), slice(0, 0)], ids=str)
def test_slice_explains_its_rows(rows, explanation):
    expected = renumbered(explanation.to_frame(), rows)
    pd.testing.assert_frame_equal(explanation[rows].to_frame(), expected, check_dtype=len(expected) > 0)


@pytest.mark.parametrize("row", [0, 7, -1])
def test_index_explains_one_row(row, explanation):
    assert isinstance(explanation[row], Explanation)
    np.testing.assert_allclose(explanation[row].sum(), explanation.sum()[[row]])


def test_index_beyond_the_last_row_is_an_error(explanation):
    with pytest.raises(IndexError):
        explanation[60]


def test_slice_with_a_step_is_refused(explanation):
    with pytest.raises(ValueError, match="step of 1, got 2"):
        explanation[::2]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_table_has_its_columns_in_order(explanation):
    columns = ["row", "term", "feature_i", "feature_j", "attention", "interaction", "contribution"]
    frame = explanation[:3].to_frame()
    assert frame.columns.tolist() == columns
    assert all(frame[name].dtype == float for name in columns[4:])


def test_table_has_its_terms_in_order(explanation):
    frame = explanation.to_frame()
    assert frame["row"].is_monotonic_increasing
    for _, terms in frame.groupby("row")["term"]:
        assert terms.unique().tolist() == ["intercept", "linear", "interaction"][: terms.nunique()]


def test_table_sums_to_the_raw_score(explanation):
    sums = explanation.to_frame().groupby("row")["contribution"].sum()
    np.testing.assert_allclose(sums, explanation.sum(), rtol=1e-12)


def test_table_sums_to_the_raw_score_of_each_class(classifier, ragged):
    frame = classifier.explain(ragged[0]).to_frame()
    assert frame.columns[1] == "output"
    sums = frame.pivot_table(index="row", columns="output", values="contribution", aggfunc="sum")
    expected = classifier.decision_function(ragged[0])
    np.testing.assert_allclose(sums[list(classifier.classes_)], expected, rtol=1e-10, atol=1e-12)


def test_table_of_empty_rows_has_the_intercept_only(ragged):
    explanation = FMRegressor(**QUICK).fit(*ragged).explain(np.zeros((2, 9)))
    assert explanation.to_frame()["term"].tolist() == ["intercept", "intercept"]


def test_top_terms_are_the_strongest_of_each_row(explanation):
    top, frame = explanation.top(3), explanation.to_frame()
    for row in range(60):
        mine = frame[(frame["row"] == row) & (frame["term"] != "intercept")]["contribution"].abs()
        strongest = np.sort(mine)[::-1][:3]
        np.testing.assert_array_equal(top[top["row"] == row]["contribution"].abs(), strongest)


# --- fields -----------------------------------------------------------------------------------------------------------


def test_sums_by_field_keep_each_rows_sum(explanation):
    sums = explanation.by_field(FIELDS).groupby("row")["contribution"].sum()
    np.testing.assert_allclose(sums, explanation.sum())


def test_sums_by_field_are_those_of_the_pairs_of_two_fields(explanation):
    sums, frame = explanation.by_field(FIELDS), explanation.to_frame()
    field = dict(zip([f"x{i}" for i in range(9)], FIELDS, strict=True))
    last = frame[(frame["row"] == 59) & (frame["term"] == "interaction")]
    fields = [{field[i], field[j]} for i, j in zip(last["feature_i"], last["feature_j"], strict=True)]
    among = last[[each == {"a", "b"} for each in fields]]
    found = sums[(sums["row"] == 59) & (sums["field_i"] == "a") & (sums["field_j"] == "b")]
    assert len(among) > len(found) == 1
    assert found["contribution"].item() == pytest.approx(among["contribution"].sum())
    assert found["attention"].item() == pytest.approx(among["attention"].sum())


def test_fields_of_another_number_are_refused(explanation):
    with pytest.raises(ValueError, match="each of the 9 features"):
        explanation.by_field(["a"])


# --- HTML -------------------------------------------------------------------------------------------------------------


def test_html_shows_the_first_rows(explanation):
    html = explanation._repr_html_()
    assert html.count("<details") == 5
    assert "55 more rows" in html


def test_html_draws_the_strongest_term_over_the_whole_width(explanation):
    assert 'class="positive" style="width:100%"' in explanation._repr_html_()


def test_html_escapes_names(ragged):
    model = AFMRegressor(**QUICK).fit(*ragged)
    html = model.explain(ragged[0], feature_names=[f"<b>{i}" for i in range(9)])._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_html_of_empty_rows_is_shown(ragged):
    assert "<details" in FMRegressor(**QUICK).fit(*ragged).explain(np.zeros((2, 9)))._repr_html_()


def test_html_is_left_out_where_scikit_learn_shows_text(explanation):
    with sklearn.config_context(display="text"):
        assert explanation._repr_html_() is None


def test_html_names_the_output(classifier, ragged):
    html = classifier.explain(ragged[0][-1:])._repr_html_()
    assert '<th class="term">output</th>' in html
    assert '<td class="term">high</td>' in html
