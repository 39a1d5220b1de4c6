"""
When to stop: learning curves, early stopping and callbacks
===========================================================

The loss of the rows a model learns from falls as long as one likes. That of other rows falls, and then rises again: the
model has begun to learn their noise. Early stopping holds rows back, looks at them after each epoch, and keeps the
epoch that predicted them best.
"""

# %%
# Three thousand rows of six categorical features to learn from; two pairs matter, and there is as much noise again.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.callback import ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMRegressor
from skafm.inspection import LossCurveDisplay

rng = np.random.default_rng(0)
rows = rng.integers(0, 12, size=(4000, 6))
effects = rng.normal(size=(2, 12, 12))
signal = effects[0][rows[:, 0], rows[:, 1]] + effects[1][rows[:, 2], rows[:, 3]]
y = signal + 1.5 * rng.normal(size=len(rows))
X = OneHotEncoder(dtype=np.float32).fit_transform(rows)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

# %%
# To the end, and stopped
# -----------------------
# Ten epochs in a row without a better score on the tenth of the rows that is held back end the second fit. The
# first would warn that its loss still falls, which here is the point.

warnings.simplefilter("ignore", ConvergenceWarning)
to_the_end = AFMRegressor(max_iter=60, early_stopping=False, tol=0.0, n_iter_no_change=60, random_state=0).fit(
    X_train, y_train
)
stopped = AFMRegressor(max_iter=80, n_iter_no_change=10, random_state=0).fit(X_train, y_train)
for name, model in {"to the end": to_the_end, "stopped": stopped}.items():
    print(f"{name}: {model.n_iter_} epochs, R2 {model.score(X_train, y_train):.3f} on the training rows, ", end="")
    print(f"{model.score(X_test, y_test):.3f} on the test rows")

# %%
# ``LossCurveDisplay`` draws what the fit has kept: the loss, below it the score of the rows held back, which is minus
# their loss, and the epoch whose parameters the model has.

LossCurveDisplay.from_estimator(stopped)
plt.show()

# %%
# Callbacks
# ---------
# scikit-learn 1.9 brought callbacks, and every model here tells them of each epoch. ``ScoringMonitor`` scores the rows
# that the model learns from. One of your own needs four methods; this one scores other rows, and would end the fit if
# it returned True.


class Watch:
    """Score rows of one's own after each epoch."""

    def __init__(self, X, y):
        self.X, self.y, self.scores = X, y, []

    def setup(self, estimator, context):
        """Nothing to set up."""

    def teardown(self, estimator, context):
        """Nothing to clean up."""

    def on_fit_task_begin(self, estimator, context):
        """Nothing to do."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Score the model as it is after an epoch."""
        if context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(self.X, self.y))
        return False


watch, monitor = Watch(X_test, y_test), ScoringMonitor(scoring="r2")
to_the_end.set_callbacks(monitor, watch).fit(X_train, y_train)
training = [entry["r2"] for entry in monitor.get_logs().data if entry["task_name"] == "epoch"]

figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
epochs = np.arange(1, len(training) + 1)
axis.plot(epochs, training, "--", color="#999999", label="training rows, by ScoringMonitor")
axis.plot(epochs, watch.scores, color="#0072b2", label="test rows, by Watch")
axis.axvline(stopped.best_iter_, color="#d55e00", linewidth=1, label="the epoch that early stopping kept")
axis.set(xlabel="epoch", ylabel="R²")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()
