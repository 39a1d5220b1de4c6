"""The term of a perceptron in an explanation."""

import numpy as np
import pytest

from skafm import DeepFMClassifier, DeepFMRegressor
from skafm.inspection import WaterfallDisplay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"n_factors": 3, "hidden_layer_sizes": (4,), "random_state": 0, "max_iter": 5, "fields": [0] * 4 + [1] * 5}


@pytest.fixture
def explanation(ragged):
    """The explanation of 60 rows by a DeepFM."""
    return DeepFMRegressor(**SMALL).fit(*ragged).explain(ragged[0])


def test_table_has_a_line_for_the_perceptron_of_each_row(explanation):
    frame = explanation.to_frame()
    deep = frame[frame["term"] == "deep"]
    assert deep["row"].tolist() == list(range(60))
    np.testing.assert_array_equal(deep["contribution"], explanation.deep)
    assert deep[["feature_i", "feature_j", "attention", "interaction"]].isna().all(axis=None)


def test_table_sums_to_the_raw_score(explanation):
    sums = explanation.to_frame().groupby("row")["contribution"].sum()
    np.testing.assert_allclose(sums, explanation.sum(), rtol=1e-10)


def test_table_of_three_classes_has_the_perceptron_of_each(ragged):
    X, y = ragged
    explanation = DeepFMClassifier(**SMALL).fit(X, np.digitize(y, [0, 1])).explain(X)
    frame = explanation.to_frame()
    deep = frame[frame["term"] == "deep"].sort_values(["output", "row"])
    np.testing.assert_array_equal(deep["contribution"], explanation.deep.T.ravel())


def test_slice_has_the_perceptron_of_its_rows(explanation):
    np.testing.assert_array_equal(explanation[3:20].deep, explanation.deep[3:20])
    np.testing.assert_allclose(explanation[7].sum(), explanation.sum()[[7]])


def test_sums_by_field_keep_the_perceptron(explanation):
    table = explanation.by_field(SMALL["fields"])
    np.testing.assert_array_equal(table.loc[table["term"] == "deep", "contribution"], explanation.deep)


def test_html_names_the_deep_part(explanation):
    assert "deep part" in explanation[1]._repr_html_()


@pytest.mark.usefixtures("no_window")
def test_waterfall_names_the_deep_part(explanation):
    assert "deep part" in WaterfallDisplay.from_predictions(explanation, 1).labels
