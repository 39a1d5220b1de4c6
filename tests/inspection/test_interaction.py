"""Maps of interactions show the table of the strongest."""

import numpy as np
import pandas as pd
import pytest
from display_data import QUICK, airports, assert_nothing_is_cut_off, fit

from skafm import AFMRegressor, FMRegressor
from skafm.inspection import InteractionDisplay

pytestmark = [
    pytest.mark.usefixtures("no_window"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture
def table():
    """A table of airports, and a target."""
    return airports()


@pytest.mark.parametrize(("Estimator", "n_maps"), [(FMRegressor, 1), (AFMRegressor, 2)])
def test_map_shows_the_top_interactions_of_fields(Estimator, n_maps, table):
    pipeline = fit(Estimator(**QUICK), table)
    display = InteractionDisplay.from_estimator(pipeline, table[0])
    fields = [name.rpartition("_")[0] for name in pipeline[0].get_feature_names_out()]
    top = pipeline[-1].top_interactions(pipeline[0].transform(table[0]), fields=fields)
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
