"""What holds of all displays: names, axes, missing packages, and models that cannot be shown."""

import subprocess
import sys

import numpy as np
import pytest
from display_data import QUICK, airports, assert_nothing_is_cut_off, fit
from matplotlib import pyplot
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skafm import AFMRegressor, FMRegressor, NFMRegressor
from skafm.inspection import InteractionDisplay, LossCurveDisplay, WaterfallDisplay

pytestmark = [
    pytest.mark.usefixtures("no_window"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture
def table():
    """A table of airports, and a target."""
    return airports()


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
