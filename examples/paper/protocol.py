"""The protocol of Section 5.1: the data, the error, and a record of every run.

Xiao et al., "Attentional Factorization Machines", IJCAI 2017. Each run is a line of JSON in a file below ``--out``,
written when it ends. Stored runs are not repeated, so an interrupted experiment can be resumed.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

import skafm
from skafm.datasets import fetch_frappe, fetch_movielens_tags

warnings.simplefilter("ignore", ConvergenceWarning)  # a run may be as long as --max-iter says

FETCH = {"frappe": fetch_frappe, "mltags": fetch_movielens_tags}


def parse(description, *more):
    """Return the options that all experiments have, and more, each a name and what argparse wants to know of it."""
    parser = argparse.ArgumentParser(
        description=description.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of NAME_SPLIT.npz files, in place of a download")
    parser.add_argument("--name", choices=sorted(FETCH), default="frappe", help="the data set")
    parser.add_argument("--factors", type=int, default=16, help="embedding size and attention factor; the paper: 256")
    parser.add_argument("--rows", type=int, help="train and validate on the first N rows only")
    parser.add_argument("--max-iter", type=int, default=60, help="the most epochs of a run")
    parser.add_argument("--out", type=Path, default=Path("paper_results"), help="folder for results and plots")
    for name, known in more:
        parser.add_argument(name, **known)
    return parser.parse_args()


def load(options):
    """Return for each split the rows, a float32 CSR matrix, and their targets."""
    if options.data is None:
        data = FETCH[options.name]()
        splits = {split: (data.data[rows], data.target[rows]) for split, rows in data.splits.items()}
    else:
        paths = {split: options.data / f"{options.name}_{split}.npz" for split in ("train", "validation", "test")}
        arrays = {split: np.load(path) for split, path in paths.items() if path.exists()}
        columns = {split: each["X"] for split, each in arrays.items()}
        n_features = 1 + max(int(each.max()) for each in columns.values())
        splits = {split: (one_hot(each, n_features), arrays[split]["y"]) for split, each in columns.items()}
    return {split: (X[: options.rows], y[: options.rows].astype(np.float32)) for split, (X, y) in splits.items()}


def one_hot(columns, n_features):
    """Return the matrix that has a one in the given columns (n, m) of each row."""
    n, m = columns.shape
    entries = np.ones(n * m, np.float32), columns.ravel().astype(np.int32), np.arange(0, n * m + 1, m, np.int32)
    return sparse.csr_array(entries, shape=(n, n_features))


def rmse(model, X, y):
    """Return the error of the paper: predictions are kept within the range of y, as its authors and libFM do."""
    return float(np.sqrt(np.mean((np.clip(model.predict(X), -1, 1) - y) ** 2)))


class Record:
    """The runs of an experiment, a JSON line each.

    Parameters
    ----------
    options : argparse.Namespace
    experiment : str
        Its name, and with data set and embedding size the file's.
    fit : callable
        Takes the options, the splits and a run's key, a dict, and returns a fitted model.
    measure : callable, optional
        Takes the model and the splits, and returns a dict: how good the model is. By default its RMSE on each split.
    """

    def __init__(self, options, experiment, fit, measure=None):
        self.options, self.fit, self.measure = options, fit, measure or measure_rmse
        options.out.mkdir(parents=True, exist_ok=True)
        self.path = options.out / f"{experiment}_{options.name}_{options.factors}.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.runs = [json.loads(line) for line in lines]
        self.splits = None

    def run_all(self, keys):
        """Return the runs of these keys, done now where they were not before, with a bar of how far it is."""
        runs = []
        for number, key in enumerate(keys):
            draw_bar(number, len(keys), key)
            runs.append(self.run(key))
        draw_bar(len(keys), len(keys), {})
        return runs

    def run(self, key):
        """Return the run of a key, done now unless it was before."""
        key = json.loads(json.dumps(key))
        for run in self.runs:
            if run["key"] == key:
                return run
        if self.splits is None:
            self.splits = load(self.options)
        start = time.perf_counter()
        model = self.fit(self.options, self.splits, key)
        seconds = time.perf_counter() - start
        run = {"key": key, **self.measure(model, self.splits), **report(model, seconds)}
        with self.path.open("a") as file:
            file.write(json.dumps(run) + "\n")
        self.runs.append(run)
        return run


def draw_bar(done, n, key):
    """Draw the progress bar, and the key of the run that is next."""
    what = ", ".join(f"{name} {value}" for name, value in key.items())
    end = "\n" if done == n else ""
    print(f"\r[{'#' * (30 * done // n):<30}] {done}/{n} {what:<60.60}", end=end, file=sys.stderr, flush=True)


def measure_rmse(model, splits):
    """Return the error on each split."""
    return {"rmse": {split: round(rmse(model, *rows), 5) for split, rows in splits.items()}}


def report(model, seconds):
    """Return what else is to be known of a run."""
    return {
        "epochs": model.n_iter_,
        "best_epoch": model.best_iter_,
        "curves": getattr(model, "curves", None),
        "parameters": count_parameters(model),
        "seconds": round(seconds, 1),
        "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "estimator": type(model).__name__,
        "settings": {name: plain(value) for name, value in model.get_params(deep=False).items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"skafm": skafm.__version__, "torch": torch.__version__, "scikit-learn": sklearn.__version__},
        "finished": time.strftime("%Y-%m-%d %H:%M"),
    }


def plain(value):
    """Return a setting as JSON can hold it."""
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


def count_parameters(model):
    """Return the number of trained parameters of a model."""
    trained = "intercept_ linear_coef_ factors_ projection_ coefs_ intercepts_ coefs_in_ coefs_out_ norm_scales_ "
    trained += "norm_shifts_ attention_coef_ attention_intercept_ attention_projection_ field_weights_"
    arrays = [vars(model)[name] for name in trained.split() if name in vars(model)]
    return sum(sum(np.size(each) for each in array) if isinstance(array, list) else np.size(array) for array in arrays)
