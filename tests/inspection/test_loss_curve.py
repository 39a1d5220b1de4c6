"""Loss curves show the losses, the scores and the best epoch."""

import pytest
from display_data import QUICK, airports, assert_nothing_is_cut_off, fit

from skafm import NFMRegressor
from skafm.inspection import LossCurveDisplay

pytestmark = [
    pytest.mark.usefixtures("no_window"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture
def table():
    """A table of airports, and a target."""
    return airports()


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


def test_display_can_be_drawn_again():
    display = LossCurveDisplay.from_predictions([3.0, 2.0], [0.1, 0.2], 2)
    first = display.figure_
    assert display.plot().figure_ is not first
