"""
Counts and quantiles
====================

How many claims does an insurance policy have in a year, and what is a 90 % interval of a cost? ``loss="poisson"``
predicts the frequency of events, with the exposure as sample weight, and ``loss="quantile"`` the bounds of an interval.
The data are generated, so the best possible score is known.
"""

# %%
# A portfolio of policies
# -----------------------
# Each policy has six categories and an exposure, the part of a year for which it ran. The logarithm of its claim
# frequency has an effect of each category, and interactions of three pairs of them, such as age and engine power.

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import d2_tweedie_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from skafm import AFMRegressor, FMRegressor

LEVELS = {"region": 20, "brand": 12, "power": 12, "age": 15, "vehicle": 10, "bonus": 12}
PAIRS = [("age", "power"), ("brand", "vehicle"), ("region", "bonus")]
rng = np.random.default_rng(0)
n_policies, n_train = 60_000, 40_000
policies = pd.DataFrame({name: rng.integers(0, n, n_policies) for name, n in LEVELS.items()})
log_frequency = np.full(n_policies, -2.3)
for name, n in LEVELS.items():
    log_frequency += rng.normal(scale=0.3, size=n)[policies[name]]
for first, second in PAIRS:
    vectors = [rng.normal(scale=0.45, size=(LEVELS[name], 3))[policies[name]] for name in (first, second)]
    log_frequency += (vectors[0] * vectors[1]).sum(1)
exposure = rng.beta(0.9, 0.6, n_policies).clip(0.05, 1)
claims = rng.poisson(exposure * np.exp(log_frequency))
policies = policies.astype(str)
train, test = slice(n_train), slice(n_train, None)
print(f"{claims.sum():,} claims of {n_policies:,} policies in {exposure.sum():,.0f} years")

# %%
# Claim frequencies
# -----------------
# The target is the frequency, claims over exposure, and the exposure is the weight: then the loss is the Poisson
# likelihood of the counts. D² is the share of the deviance that a model explains, as R² is of the variance. Rare events
# are mostly random: even for the true frequencies D² is far below 1. The penalty of ``PoissonRegressor`` and the
# learning rate of the trees are chosen by cross-validation; FM and AFM have default settings.

frequency = claims / exposure
one_hot = OneHotEncoder(handle_unknown="ignore", dtype=np.float32)
ordinal = make_column_transformer((OrdinalEncoder(), list(LEVELS)))
trees = HistGradientBoostingRegressor(loss="poisson", categorical_features=list(range(6)), random_state=0)
models = {
    "PoissonRegressor": (one_hot, GridSearchCV(PoissonRegressor(max_iter=500), {"alpha": [1e-4, 1e-3, 1e-2]}, cv=3)),
    "gradient boosting": (ordinal, GridSearchCV(trees, {"learning_rate": [0.02, 0.05, 0.1]}, cv=3)),
    "FM": (one_hot, FMRegressor(loss="poisson", random_state=0)),
    "AFM": (one_hot, AFMRegressor(loss="poisson", random_state=0)),
}
predictions = {}


def score(prediction):
    """Return D² of the Poisson deviance on the test set."""
    return d2_tweedie_score(frequency[test], prediction, sample_weight=exposure[test], power=1)


print(f"{'true frequencies':18} D² on test {score(np.exp(log_frequency[test])):.4f}")
for name, (encoder, model) in models.items():
    start, pipeline = perf_counter(), make_pipeline(encoder, model)
    step = pipeline.steps[-1][0]
    pipeline.fit(policies[train], frequency[train], **{f"{step}__sample_weight": exposure[train]})
    predictions[name] = pipeline.predict(policies[test])
    print(f"{name:18} D² on test {score(predictions[name]):.4f}   {perf_counter() - start:5.1f} s", flush=True)

# %%
# Costs between two bounds
# ------------------------
# The standard deviation of the cost depends on the vehicle, so a model of the mean is not enough. Two models, of the 5
# % and of the 95 % quantile, give an interval that should contain 90 % of new costs, for each vehicle. At the same
# coverage, a narrower interval is better.

spread = np.exp(np.random.default_rng(1).normal(scale=0.7, size=LEVELS["vehicle"]))[policies["vehicle"].astype(int)]
cost = 10 + 3 * (log_frequency - log_frequency.mean()) + spread * rng.normal(size=n_policies)

bounds = {}
for name, encoder, model in (
    ("FM", one_hot, FMRegressor(loss="quantile", random_state=0)),
    ("gradient boosting", ordinal, clone(trees).set_params(loss="quantile")),
):
    pipelines = [make_pipeline(encoder, clone(model).set_params(quantile=quantile)) for quantile in (0.05, 0.95)]
    bounds[name] = [each.fit(policies[train], cost[train]).predict(policies[test]) for each in pipelines]
for name, (low, high) in bounds.items():
    inside = (cost[test] >= low) & (cost[test] <= high)
    print(f"{name:18} coverage {inside.mean():.3f}, mean width {np.mean(high - low):.2f}")

# %%
# Calibration
# -----------
# Left: policies in ten groups by predicted frequency; on the diagonal the mean of a group is as observed. Right: the
# share of costs within the bounds, for each vehicle.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.plot([0, 0.6], [0, 0.6], "k:", linewidth=1)
for name, color in {"PoissonRegressor": "#999999", "FM": "#0072b2", "AFM": "#d55e00"}.items():
    group = pd.qcut(predictions[name], 10, labels=False)
    years = np.bincount(group, exposure[test])
    expected = np.bincount(group, exposure[test] * predictions[name]) / years
    left.plot(expected, np.bincount(group, claims[test]) / years, "o-", markersize=4, color=color, label=name)
left.set(xlabel="predicted claims a year", ylabel="observed claims a year", title="Ten groups of policies")
left.legend(frameon=False)
vehicle = policies["vehicle"][test].astype(int)
for (name, (low, high)), color in zip(bounds.items(), ["#0072b2", "#56b4e9"], strict=True):
    inside = (cost[test] >= low) & (cost[test] <= high)
    right.plot(np.bincount(vehicle, inside) / np.bincount(vehicle), "o", color=color, label=name)
right.axhline(0.9, color="k", linestyle=":", linewidth=1)
right.set(xlabel="vehicle", ylabel="share within the bounds", title="Coverage", ylim=(0.8, 1))
right.legend(frameon=False)
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
plt.show()
