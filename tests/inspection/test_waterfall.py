"""Waterfalls lead from the intercept to the prediction."""

import matplotlib as mpl
import pytest
from display_data import QUICK, airports, assert_nothing_is_cut_off, fit

from skafm import AFMClassifier, AFMRegressor, FFMRegressor, FMClassifier, FMRegressor
from skafm.inspection import WaterfallDisplay

pytestmark = [
    pytest.mark.usefixtures("no_window"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture
def table():
    """A table of airports, and a target."""
    return airports()


def test_waterfall_leads_from_the_intercept_to_the_prediction(table):
    pipeline, X = fit(AFMRegressor(**QUICK), table), table[0][:1]
    display = WaterfallDisplay.from_estimator(pipeline, X, n=3)
    assert display.intercept == pytest.approx(pipeline[-1].intercept_)
    assert display.intercept + display.contributions.sum() == pytest.approx(pipeline.predict(X)[0])
    assert display.labels[-1] == "3 other terms"
    assert len(display.labels) == 4
    bars = display.ax_.patches
    assert [bar.get_width() for bar in bars] == pytest.approx(display.contributions)
    assert bars[-1].get_x() + bars[-1].get_width() == pytest.approx(pipeline.predict(X)[0])
    assert display.ax_.texts[-1].get_text() == f"{pipeline.predict(X)[0]:.4g}"
    assert_nothing_is_cut_off(display.figure_)


def test_waterfall_names_features_and_attention(table):
    X = table[0][:1]
    afm = WaterfallDisplay.from_estimator(fit(AFMRegressor(**QUICK), table), X)
    fm = WaterfallDisplay.from_estimator(fit(FMRegressor(**QUICK), table), X)
    hour_and_day = f"hour_{X['hour'].item()} × day_{X['day'].item()}"  # noqa: RUF001
    assert any(label.startswith(f"{hour_and_day}  (attention 0.") for label in afm.labels)
    assert hour_and_day in fm.labels


def test_waterfall_colors_are_those_of_the_sign(table):
    display = WaterfallDisplay.from_estimator(fit(FMRegressor(**QUICK), table), table[0][:1])
    assert {True, False} == {bool(value > 0) for value in display.contributions}
    for bar, value in zip(display.ax_.patches, display.contributions, strict=True):
        assert mpl.colors.to_hex(bar.get_facecolor()) == ("#0072b2" if value > 0 else "#d55e00")


def test_waterfall_of_one_of_several_classes(table):
    X, _ = table
    pipeline = fit(AFMClassifier(**QUICK), (X, X["hour"]))
    display = WaterfallDisplay.from_estimator(pipeline, X[:1], output="2")
    total = display.intercept + display.contributions.sum()
    assert total == pytest.approx(pipeline.decision_function(X[:1])[0, 1])
    with pytest.raises(ValueError, match=r"output must be one of \['1', '2', '3'\], got None"):
        WaterfallDisplay.from_estimator(pipeline, X[:1])


def test_waterfall_of_the_only_output_takes_no_output(table):
    X, _ = table
    pipeline = fit(FMClassifier(**QUICK), (X, X["day"]))
    with pytest.raises(ValueError, match="output must be None for a model with a single output, got 'a'"):
        WaterfallDisplay.from_estimator(pipeline, X[:1], output="a")


def test_waterfall_of_a_row_of_an_explanation(table):
    pipeline, X = fit(FFMRegressor(**QUICK), table), table[0]
    display = WaterfallDisplay.from_predictions(pipeline[-1].explain(pipeline[0].transform(X)), row=5, n=0)
    assert display.labels == ["6 other terms"]
    assert display.intercept + display.contributions.sum() == pytest.approx(pipeline.predict(X)[5])
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        WaterfallDisplay.from_estimator(pipeline, X[:1], n=-1)


def test_waterfall_of_several_rows_is_refused(table):
    with pytest.raises(ValueError, match="Expected exactly one sample, got 2"):
        WaterfallDisplay.from_estimator(fit(FMRegressor(**QUICK), table), table[0][:2])
