"""
Overfitting: learning curves, early stopping and callbacks
==========================================================

The training loss decreases with every epoch. The loss of other rows decreases at first and then increases: the model
overfits. Early stopping holds out a validation set, scores it after each epoch, and keeps the parameters of the epoch
with the best score.
"""

# %%
# The training set has 3,000 rows and six categorical features. Two pairs of features have an effect, and the noise is
# about as large.

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
# With and without early stopping
# -------------------------------
# The first fit runs for 60 epochs; its ConvergenceWarning, that the loss still decreases, is ignored here. The second
# fit stops after 10 epochs without a better score on the validation set, 10 % of the rows.

warnings.simplefilter("ignore", ConvergenceWarning)
full = AFMRegressor(max_iter=60, early_stopping=False, tol=0.0, n_iter_no_change=60, random_state=0)
full.fit(X_train, y_train)
stopped = AFMRegressor(max_iter=80, n_iter_no_change=10, random_state=0).fit(X_train, y_train)
for name, model in {"without early stopping": full, "with early stopping": stopped}.items():
    print(f"{name}: {model.n_iter_} epochs, R² {model.score(X_train, y_train):.3f} on the training set, ", end="")
    print(f"{model.score(X_test, y_test):.3f} on the test set")

# %%
# ``LossCurveDisplay`` plots the training loss and the validation score, here the negative validation loss, and marks
# the epoch whose parameters the model has.

display = LossCurveDisplay.from_estimator(stopped)
plt.show()

# %%
# Callbacks
# ---------
# The estimators support the callbacks of scikit-learn 1.9, which are called after each epoch. ``ScoringMonitor``
# records the score on the training set. A custom callback needs four methods; this one records the score on the test
# set, and would stop the fit by returning True.


class ScoreRecorder:
    """Record the score on given rows after each epoch."""

    def __init__(self, X, y):
        self.X, self.y, self.scores = X, y, []

    def setup(self, estimator, context):
        """Nothing to set up."""

    def teardown(self, estimator, context):
        """Nothing to clean up."""

    def on_fit_task_begin(self, estimator, context):
        """Nothing to do."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Record the score of the model after an epoch."""
        if context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(self.X, self.y))
        return False


recorder, monitor = ScoreRecorder(X_test, y_test), ScoringMonitor(scoring="r2")
full.set_callbacks(monitor, recorder).fit(X_train, y_train)
training = [entry["r2"] for entry in monitor.get_logs().data if entry["task_name"] == "epoch"]

figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
epochs = np.arange(1, len(training) + 1)
axis.plot(epochs, training, "--", color="#d55e00", label="training set, ScoringMonitor")
axis.plot(epochs, recorder.scores, color="#d55e00", label="test set, ScoreRecorder")
axis.axvline(stopped.best_iter_, color="#999999", linewidth=1, label="epoch kept by early stopping")
axis.set(xlabel="epoch", ylabel="R²")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()
