"""Seconds of FMs to given validation errors on Frappe, as JSON lines; beside modern-fm where it is installed.

    python tests/benchmarks/fm.py --data FOLDER [--repeats 3]

FOLDER holds NAME_train.npz and NAME_validation.npz, see README.md beside this file. modern-fm runs in the setting in
which it does best here: batch 128, learning rate 0.05, one thread. Its error is the goal; skafm runs as many epochs, at
a batch size, learning rate and penalty of its own, as reach it. `fit` and `predict` are timed as a user calls them. The
median of the repeats is given, each with a seed of its own.
"""

import argparse
import json
import time
import warnings
from importlib.util import find_spec
from statistics import median

import numpy as np
from quality import load
from sklearn.exceptions import ConvergenceWarning

from skafm import FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # the numbers of epochs are the point

# k, modern-fm's epochs, then skafm's epochs, batch size, learning rate and l2_factors
RACES = [
    (16, 5, 5, 4096, 0.02, 0.01),
    (16, 20, 12, 4096, 0.01, 0.015),
    (64, 5, 9, 8192, 0.02, 0.02),
    (256, 5, 9, 8192, 0.007, 0.01),
    (256, 20, 28, 8192, 0.005, 0.008),
]


def race(make, X, y, X_val, y_val, repeats):
    """Return the validation RMSE, the seconds of fit and the rows predicted a second, of each repeat."""
    results = []
    for seed in range(repeats):
        model = make(seed)
        start = time.perf_counter()
        model.fit(X, y)
        fitted = time.perf_counter()
        prediction = model.predict(X_val)
        seconds = time.perf_counter() - fitted
        for _ in range(4):  # the best of five: a first call warms caches
            start_again = time.perf_counter()
            model.predict(X_val)
            seconds = min(seconds, time.perf_counter() - start_again)
        rmse = float(np.sqrt(np.mean((np.clip(prediction, -1, 1) - y_val) ** 2)))
        results.append((rmse, fitted - start, len(y_val) / seconds))
    return list(zip(*results, strict=True))


def report(system, k, epochs, rmse, seconds, rows):
    """Print one measurement."""
    line = {"system": system, "k": k, "epochs": epochs, "validation_rmse": [round(value, 4) for value in rmse]}
    line |= {"fit_s": round(median(seconds), 2), "predict_rows_s": int(median(rows))}
    print(json.dumps(line), flush=True)


def main():
    """Run each race, modern-fm first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    X, y, X_val, y_val = load(options.data, "frappe")
    if find_spec("modern_fm"):
        from modern_fm import FMRegressor as ModernFM

        theirs = {"optimizer": "adagrad", "learning_rate": 0.05, "batch_size": 128, "n_jobs": 1}
        theirs |= {"l2_linear": 1e-5, "l2_factors": 1e-5}
    for k, their_epochs, epochs, batch_size, learning_rate, l2_factors in RACES:
        if find_spec("modern_fm"):
            data = X.astype(float), y.astype(float), X_val.astype(float), y_val.astype(float)
            make = lambda seed: ModernFM(n_factors=k, max_iter=their_epochs, random_state=seed, **theirs)  # noqa: B023, E731
            report("modern-fm", k, their_epochs, *race(make, *data, options.repeats))
        ours = {"solver": "adam", "batch_size": batch_size, "learning_rate": learning_rate, "l2_factors": l2_factors}
        ours |= {"max_iter": epochs, "tol": 0.0, "n_iter_no_change": 1000, "early_stopping": False, "l2_linear": 0.0}
        make = lambda seed: FMRegressor(k, random_state=seed, **ours)  # noqa: B023, E731
        report("skafm", k, epochs, *race(make, X, y, X_val, y_val, options.repeats))


if __name__ == "__main__":
    main()
