"""The pictures show what the model says, and all of it."""

import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMClassifier, AFMRegressor, FMRegressor, NFMRegressor
from skafm.inspection import InteractionDisplay, LossCurveDisplay, WaterfallDisplay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
QUICK = {"n_factors": 3, "random_state": 0, "max_iter": 8, "learning_rate": 0.2}


@pytest.fixture(autouse=True)
def no_window():
    before = mpl.get_backend()
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")
    pyplot.switch_backend(before)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    long = ["John F. Kennedy International Airport", "Newark Liberty International Airport"]
    X = pd.DataFrame(
        {"airport": rng.choice(long, 200), "hour": rng.choice(list("123"), 200), "day": rng.choice(["a", "b"], 200)}
    )
    return X, (X["hour"] == "1") * (X["day"] == "a") + rng.normal(scale=0.1, size=200)


def fit(model, table):
    return make_pipeline(OneHotEncoder(), model).fit(*table)


def assert_nothing_is_cut_off(figure):
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    for axes in figure.axes:
        texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for text in texts:
            box = text.get_window_extent()
            if text.get_text() and text.get_visible() and text.axes is not None:
                assert box.x0 > -1, text
                assert box.y0 > -1, text
                assert box.x1 < width + 1, text
                assert box.y1 < height + 1, text


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


def test_waterfall_colours_say_more_or_less(table):
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


def test_waterfall_of_several_rows_is_refused(table):
    with pytest.raises(ValueError, match="one row, but X has 2"):
        WaterfallDisplay.from_estimator(fit(FMRegressor(**QUICK), table), table[0][:2])


@pytest.mark.parametrize(("Estimator", "n_maps"), [(FMRegressor, 1), (AFMRegressor, 2)])
def test_map_shows_the_top_interactions_of_fields(Estimator, n_maps, table):
    pipeline = fit(Estimator(**QUICK), table)
    display = InteractionDisplay.from_estimator(pipeline, table[0])
    names = pipeline[0].get_feature_names_out()
    top = pipeline[-1].top_interactions(pipeline[0].transform(table[0]), fields="auto", feature_names=names)
    pd.testing.assert_frame_equal(display.interactions, top)
    assert len(display.axes_) == n_maps
    for axes, column in zip(display.axes_, ("mean_abs_contribution", "mean_attention"), strict=False):
        cells = np.asarray(axes.images[0].get_array().filled(np.nan), float)
        shown = {}
        for row, label in enumerate(axes.get_yticklabels()):
            for place, other in enumerate(axes.get_xticklabels()):
                if not np.isnan(cells[row, place]):
                    shown[frozenset((label.get_text(), other.get_text()))] = cells[row, place]
        expected = {frozenset((i, j)): value for i, j, value in top[["feature_i", "feature_j", column]].to_numpy()}
        assert shown == pytest.approx(expected)
    assert_nothing_is_cut_off(display.figure_)


def test_map_of_features_keeps_long_names(table):
    display = InteractionDisplay.from_estimator(fit(AFMRegressor(**QUICK), table), table[0], fields=None, n=10)
    assert len(display.interactions) == 10
    assert_nothing_is_cut_off(display.figure_)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_loss_curve_of_any_model(early_stopping, table):
    pipeline = fit(NFMRegressor(early_stopping=early_stopping, **QUICK), table)
    display = LossCurveDisplay.from_estimator(pipeline)
    model = pipeline[-1]
    curves = [model.loss_curve_] + ([model.validation_scores_] if early_stopping else [])
    assert len(display.axes_) == len(curves)
    for axes, curve in zip(display.axes_, curves, strict=True):
        line, kept = axes.lines
        assert line.get_ydata().tolist() == curve
        assert kept.get_xdata().tolist() == [model.best_iter_]
        assert kept.get_ydata().tolist() == [curve[model.best_iter_ - 1]]
    assert_nothing_is_cut_off(display.figure_)


def test_given_axes_are_drawn_on(table):
    pipeline = fit(AFMRegressor(early_stopping=True, **QUICK), table)
    figure, axes = pyplot.subplots(1, 5)
    assert WaterfallDisplay.from_estimator(pipeline, table[0][:1], ax=axes[0]).ax_ is axes[0]
    assert InteractionDisplay.from_estimator(pipeline, table[0], ax=axes[1:3]).axes_.tolist() == axes[1:3].tolist()
    assert LossCurveDisplay.from_estimator(pipeline, ax=axes[3:]).figure_ is figure
    with pytest.raises(ValueError, match=r"2 curves to draw, .*but 1 axes"):
        LossCurveDisplay.from_estimator(pipeline, ax=axes[0])
    with pytest.raises(ValueError, match="2 pictures to draw, but 3 axes"):
        InteractionDisplay.from_estimator(pipeline, table[0], ax=axes[:3])


def test_a_display_can_be_drawn_again():
    display = LossCurveDisplay.from_predictions([3.0, 2.0], [0.1, 0.2], 2)
    first = display.figure_
    assert display.plot().figure_ is not first


def test_without_matplotlib_the_error_says_what_to_install(table, monkeypatch):
    pipeline = fit(AFMRegressor(**QUICK), table)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="needs matplotlib: pip install matplotlib"):
        LossCurveDisplay.from_estimator(pipeline)


def test_without_pandas_the_error_says_what_to_install(table, monkeypatch):
    pipeline = fit(AFMRegressor(**QUICK), table)
    explanation = pipeline[-1].explain(pipeline[0].transform(table[0]))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas: pip install pandas"):
        explanation.to_frame()


def test_models_that_do_not_explain_and_unfitted_ones_are_refused(table):
    with pytest.raises(TypeError, match="NFMRegressor has no explain: expected an FM, AFM or FFM"):
        InteractionDisplay.from_estimator(fit(NFMRegressor(**QUICK), table), table[0])
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(FMRegressor())
