"""Plots show the numbers of the model, and nothing is cut off."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from skafm import AFMClassifier, AFMRegressor, FFMRegressor, FMClassifier, FMRegressor, NFMRegressor
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


def test_map_of_features_has_all_pairs_of_the_strongest(table):
    pipeline = fit(AFMRegressor(**QUICK), table)
    display = InteractionDisplay.from_estimator(pipeline, table[0], fields=None, n=5)
    names = pipeline[0].get_feature_names_out()
    top = pipeline[-1].top_interactions(pipeline[0].transform(table[0]), n=100, feature_names=names)
    strongest = list(dict.fromkeys(top[["feature_i", "feature_j"]].to_numpy().ravel()))[:5]
    expected = top[top["feature_i"].isin(strongest) & top["feature_j"].isin(strongest)]
    assert 2 < len(expected) < len(top)
    pd.testing.assert_frame_equal(display.interactions, expected.reset_index(drop=True))
    with pytest.raises(ValueError, match="n must be at least 2"):
        InteractionDisplay.from_estimator(pipeline, table[0], n=1)


def test_map_of_features_keeps_long_names(table):
    display = InteractionDisplay.from_estimator(fit(AFMRegressor(**QUICK), table), table[0], fields=None)
    shown = {label.get_text() for label in display.axes_[0].get_yticklabels() + display.axes_[0].get_xticklabels()}
    assert shown == set(display.interactions[["feature_i", "feature_j"]].to_numpy().ravel())
    assert_nothing_is_cut_off(display.figure_)


def test_map_of_a_given_table():
    top = pd.DataFrame({"feature_i": ["a", "a"], "feature_j": ["b", "c"], "mean_abs_contribution": [2.0, 1.0]})
    display = InteractionDisplay.from_predictions(top.assign(mean_attention=[0.5, 0.25]))
    cells = [axes.images[0].get_array().filled(np.nan).tolist() for axes in display.axes_]
    assert cells[0][0][0] == 2
    assert cells[1][0][0] == 0.5
    with pytest.raises(ValueError, match="no interactions to plot"):
        InteractionDisplay.from_predictions(top.assign(mean_attention=1.0)[:0])


def test_map_has_no_attention_of_a_model_without(table):
    pipeline = fit(FMRegressor(**QUICK), table)
    fields = np.array(["a", "b"])[np.arange(pipeline[-1].n_features_in_) % 2]  # of which a row has several pairs
    display = InteractionDisplay.from_estimator(pipeline, table[0], fields=fields)
    assert np.ptp(display.interactions["mean_attention"]) > 0
    assert len(display.axes_) == 1


@pytest.mark.parametrize("step", [None, "passthrough", FunctionTransformer()], ids=["none", "passthrough", "nameless"])
def test_steps_without_names_leave_the_names_to_the_model(step):
    X = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    pipeline = make_pipeline(*([] if step is None else [step]), FMRegressor(**QUICK)).fit(X, X[:, 0])
    names = WaterfallDisplay.from_estimator(pipeline, X[3:]).labels
    assert set(names) == {"x0", "x1", "x2", "x0 × x1", "x0 × x2", "x1 × x2"}  # noqa: RUF001
    assert len(InteractionDisplay.from_estimator(pipeline, X, fields=None).interactions) == 3


def test_names_are_shown_as_they_are():
    X, names = np.array([[1.0, 1.0], [1.0, 0.0]]), ["over $5", r"$\bad{ $7"]
    model = FMRegressor(**QUICK).fit(X, [1.0, 0.0])
    plots = (
        WaterfallDisplay.from_estimator(model, X[:1], feature_names=names),
        InteractionDisplay.from_estimator(model, X, fields=None, feature_names=names),
    )
    for display in plots:
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
    with pytest.raises(ValueError, match=r"Expected ax to have 2 axes, for training loss .*, got 1"):
        LossCurveDisplay.from_estimator(pipeline, ax=axes[0])
    with pytest.raises(ValueError, match="Expected ax to have at most 2 axes, got 3"):
        InteractionDisplay.from_estimator(pipeline, table[0], ax=axes[:3])


def test_a_display_can_be_drawn_again():
    display = LossCurveDisplay.from_predictions([3.0, 2.0], [0.1, 0.2], 2)
    first = display.figure_
    assert display.plot().figure_ is not first


def test_without_matplotlib_the_error_says_what_to_install(table, monkeypatch):
    pipeline = fit(AFMRegressor(**QUICK), table)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (
        lambda: LossCurveDisplay.from_estimator(pipeline),
        lambda: WaterfallDisplay.from_estimator(pipeline, table[0][:1]),
        lambda: InteractionDisplay.from_estimator(pipeline, table[0]),
    ):
        with pytest.raises(ImportError, match="pip install matplotlib"):
            draw()


def test_without_pandas_the_error_says_what_to_install(table, monkeypatch):
    pipeline = fit(AFMRegressor(**QUICK), table)
    explanation = pipeline[-1].explain(pipeline[0].transform(table[0]))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        explanation.to_frame()


def test_models_that_do_not_explain_and_unfitted_ones_are_refused(table):
    with pytest.raises(TypeError, match="NFMRegressor has no method explain: expected an FM, AFM, HOFM or FFM"):
        InteractionDisplay.from_estimator(fit(NFMRegressor(**QUICK), table), table[0])
    with pytest.raises(TypeError, match="LinearRegression has no attribute best_iter_: expected an estimator of skafm"):
        LossCurveDisplay.from_estimator(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]))
    for draw in (
        lambda: LossCurveDisplay.from_estimator(FMRegressor()),
        lambda: WaterfallDisplay.from_estimator(FMRegressor(), [[1.0]]),
        lambda: InteractionDisplay.from_estimator(FMRegressor(), [[1.0]]),
    ):
        with pytest.raises(NotFittedError):
            draw()


def test_plots_import_nothing_until_drawn():
    code = "import sys, skafm.inspection; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
