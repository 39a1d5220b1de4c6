"""The calls that a fit makes to scikit-learn's callbacks."""

import importlib
import importlib.util

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV

from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor

callback = importlib.import_module("sklearn.callback") if importlib.util.find_spec("sklearn.callback") else None
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.skipif(callback is None, reason="this scikit-learn has no callbacks"),
]
every = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor, FMClassifier, AFMClassifier])


class Stop:  # the names of the arguments are scikit-learn's
    """A callback that stops after some epochs, and records its calls."""

    def __init__(self, epochs):
        self.epochs, self.seen = epochs, []

    def setup(self, estimator, context):  # noqa: ARG002
        self.seen.append("setup")

    def teardown(self, estimator, context):  # noqa: ARG002
        self.seen.append("teardown")

    def on_fit_task_begin(self, estimator, context):  # noqa: ARG002
        self.seen.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):  # noqa: ARG002
        self.seen.append(f"end {context.task_name}")
        if context.task_name == "epoch":
            assert np.isfinite(fitted_estimator.factors_).all()
        return context.task_name == "epoch" and context.task_id + 1 == self.epochs


@every
def test_callback_sees_each_epoch_and_can_stop(Estimator, data):
    stop = Stop(3)
    model = Estimator(random_state=0).set_callbacks(stop).fit(*data(Estimator))
    assert model.n_iter_ == 3
    assert stop.seen == ["setup", "begin fit", *["begin epoch", "end epoch"] * 3, "end fit", "teardown"]


@every
def test_scoring_monitor_logs_every_epoch(Estimator, data):
    X, y = data(Estimator)
    score = "accuracy" if is_classifier(Estimator()) else "r2"
    monitor = callback.ScoringMonitor(scoring=score)
    model = Estimator(random_state=0, max_iter=4, early_stopping=False).set_callbacks(monitor).fit(X, y)
    logs = [entry for entry in monitor.get_logs().data if entry["task_name"] == "epoch"]
    assert len(logs) == 4
    assert logs[-1][score] == pytest.approx(model.score(X, y), rel=1e-6)


@every
def test_progress_bar_in_a_grid_search(Estimator, data, capsys):
    X, y = data(Estimator)
    search = GridSearchCV(Estimator(random_state=0, max_iter=2), {"dropout": [0.0, 0.2]}, cv=2)
    search.set_callbacks(callback.ProgressBar()).fit(X, y)
    output = capsys.readouterr().out
    assert output.count(f"{Estimator.__name__} - fit") == 5
    assert "100%" in output
