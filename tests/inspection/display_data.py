"""Data of the displays, and a check that all text is inside of a figure."""

import numpy as np
import pandas as pd
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

QUICK = {"n_factors": 3, "random_state": 0, "max_iter": 8, "learning_rate": 0.2}


def airports():
    """Return a table of three categorical columns, one with long names, and a target with an interaction."""
    rng = np.random.default_rng(0)
    long = ["John F. Kennedy International Airport", "Newark Liberty International Airport"]
    X = pd.DataFrame(
        {"airport": rng.choice(long, 200), "hour": rng.choice(list("123"), 200), "day": rng.choice(["a", "b"], 200)}
    )
    return X, (X["hour"] == "1") * (X["day"] == "a") + rng.normal(scale=0.1, size=200)


def fit(model, table):
    """Return a fitted pipeline."""
    return make_pipeline(OneHotEncoder(), model).fit(*table)


def assert_nothing_is_cut_off(figure):
    """Assert that all text is inside of the figure."""
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
