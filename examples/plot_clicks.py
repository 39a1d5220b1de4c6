"""
Click-through rate prediction
=============================

Will a user click an ad (CTR prediction)? Click logs are a stream of categories of high cardinality, with few clicks.
This tutorial hashes the categories with ``FeatureHasher``, trains day by day with ``partial_fit``, and checks whether
the predicted probabilities are calibrated, since bids and budgets are computed from them.
"""

# %%
# A click log
# -----------
# Each row is an impression: user, ad, site, device and hour. The log is generated, so that the true probabilities are
# known. Each user has hidden interests, and each ad and site has hidden topics: the probability of a click depends on
# how they match, which no linear model can represent.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss, roc_auc_score

from skafm import FMClassifier

rng = np.random.default_rng(0)
SIZES = {"user": 1_000, "ad": 100, "site": 50, "device": 4, "hour": 24}
effects = {name: 0.3 * rng.normal(size=size) for name, size in SIZES.items()}
topics = {name: rng.normal(size=(SIZES[name], 2)) for name in ("user", "ad", "site")}


def impressions(n):
    """Return n impressions, whether each was clicked, and the true probability of a click."""
    log = pd.DataFrame({name: rng.integers(0, size, n) for name, size in SIZES.items()})
    score = -3.7 + sum(effects[name][log[name]] for name in SIZES)
    user, ad, site = (topics[name][log[name]] for name in topics)
    probability = expit(score + (user * ad + site * ad).sum(axis=1))
    return log, (rng.random(n) < probability).astype(int), probability


log, clicked, _ = impressions(5)
print(log.assign(clicked=clicked))

# %%
# Hashing the features
# --------------------
# ``FeatureHasher`` maps each string, such as "user=1402", to one of 2\ :sup:`16` columns. It needs no ``fit``, so new
# users and new ads need no preparation. ``alternate_sign=False`` keeps all values at 1. Two strings may share a column:
# choose several times as many columns as there are strings.

hasher = FeatureHasher(2**16, input_type="string", alternate_sign=False, dtype=np.float32)


def encode(log):
    """Return the hashed rows of a log."""
    columns = [[f"{name}={value}" for value in log[name]] for name in log]
    return hasher.transform(zip(*columns, strict=True))


X = encode(log)
print(f"{X.shape[0]} rows, {X.shape[1]:,} columns, {X.nnz} entries")

# %%
# Training day by day
# -------------------
# Each day has 10,000 impressions. A day is predicted first and trained on afterwards, as in production, so each loss is
# that of unseen rows. The linear model is logistic regression, trained on the same stream.

models = {
    "linear": SGDClassifier(loss="log_loss", alpha=1e-6, learning_rate="adaptive", eta0=0.05, random_state=0),
    "FM": FMClassifier(n_factors=16, batch_size=500, random_state=0),
}
losses = {name: [] for name in ("constant", *models, "true probabilities")}
clicks = total = 0
for day in range(30):
    log, y, probability = impressions(10_000)
    X = encode(log)
    if day:
        predicted = {name: model.predict_proba(X)[:, 1] for name, model in models.items()}
        predicted |= {"constant": np.full(len(y), clicks / total), "true probabilities": probability}
        for name, values in losses.items():
            values.append(log_loss(y, predicted[name]))
    for model in models.values():
        model.partial_fit(X, y, classes=[0, 1])
    clicks, total = clicks + y.sum(), total + len(y)
    if day % 10 == 9:
        print(f"day {day + 1}: " + ", ".join(f"{name} {values[-1]:.4f}" for name, values in losses.items()))

# %%
# Evaluation
# ----------
# Clicks are rare, so log losses are small. Relative to the best constant prediction they are easier to read
# (*normalized entropy*). Accuracy says nothing here: predicting no click at all is right in 91 % of the rows. The ratio
# of predicted to observed clicks should be 1.

log, y, probability = impressions(50_000)
X = encode(log)
predicted = {name: model.predict_proba(X)[:, 1] for name, model in models.items()} | {"true probabilities": probability}
constant = log_loss(y, np.full(len(y), y.mean()))
table = pd.DataFrame(
    {
        name: {
            "normalized entropy": log_loss(y, values) / constant,
            "AUC": roc_auc_score(y, values),
            "predicted / observed clicks": values.sum() / y.sum(),
        }
        for name, values in predicted.items()
    }
).T
print(table.round(3))

# %%
# Calibration
# -----------
# Left: loss of each day, relative to the constant. Right: observed click rate against predicted probability, in ten
# bins of equally many rows; calibrated predictions lie on the diagonal. If a model's do not, e.g. with
# ``class_weight`` or after dropping negative rows, fit ``CalibratedClassifierCV(FrozenEstimator(model))`` on recent
# rows.

colors = {"linear": "#999999", "FM": "#0072b2", "true probabilities": "#000000"}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
days = np.arange(2, 31)
for name, color in colors.items():
    style = ":" if name == "true probabilities" else "-"
    relative = np.array(losses[name]) / np.array(losses["constant"])
    left.plot(days, pd.Series(relative).rolling(5, min_periods=1).mean(), style, color=color, label=name)
left.set(xlabel="day", ylabel="loss relative to a constant (mean of 5 days)", title="Learning from the stream")
right.plot([0, 0.5], [0, 0.5], "k:", linewidth=1)
for name in models:
    observed, mean = calibration_curve(y, predicted[name], n_bins=10, strategy="quantile")
    right.plot(mean, observed, marker="o", markersize=4, color=colors[name], label=name)
right.set(xlabel="predicted probability of a click", ylabel="observed click rate", title="Reliability curves")
for axis in (left, right):
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
plt.show()
