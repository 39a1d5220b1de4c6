"""BayesianFMRegressor beside myFM: error, time to myFM's error, and coverage of the intervals, as JSON lines.

    python tests/benchmarks/bayesian.py [--data FOLDER] [--cache FOLDER] [--tasks movielens ...] [--seeds 3]

Both have rank 16 and take 100 sweeps, one after the other, in one process; run it with OMP_NUM_THREADS=1 to give both
one thread. Seconds are of CPU time. FOLDER of the data: see README.md beside this file.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from shootout_models import columns
from shootout_tasks import TASKS, Sources
from sklearn.datasets import get_data_home

from skafm import BayesianFMRegressor

RANDOM_SPLIT = {"movielens", "movielens-side"}
"""Tasks that are split anew for each seed, 80 to 20; the others have test rows of their own."""
SWEEPS, RANK = 100, 16


def split(task, seed, *, anew):
    """Return X, y, X_test, y_test, and the number of columns of each field."""
    if anew:
        n = len(task.y)
        task = replace(task, is_test=np.isin(np.arange(n), np.random.default_rng(seed).permutation(n)[: n // 5]))
    train, encoder = task.frame[~task.is_test], columns(task, "splines")
    X = encoder.fit_transform(train)
    slices = encoder[0].output_indices_
    sizes = [slices[name].stop - slices[name].start for name in task.frame.columns]
    y = task.y.astype(float) * (2 if task.is_classification else 1) - task.is_classification  # classes as -1 and 1
    return X, y[~task.is_test], encoder.transform(task.frame[task.is_test]), y[task.is_test], [n for n in sizes if n]


def rmse(prediction, y, y_train):
    """Return the error of predictions that are clipped to the range of y in training."""
    return float(np.sqrt(np.mean((np.clip(prediction, y_train.min(), y_train.max()) - y) ** 2)))


def measure_myfm(X, y, X_test, y_test, sizes, seed):
    """Return error and seconds of myFM."""
    from myfm import MyFMRegressor

    start = time.process_time()
    model = MyFMRegressor(rank=RANK, random_seed=seed).fit(X, y, n_iter=SWEEPS, group_shapes=sizes)
    return {"rmse": rmse(model.predict(X_test), y_test, y), "fit_s": time.process_time() - start}


def measure_skafm(X, y, X_test, y_test, target, seed, n_factors):
    """Return error, seconds, coverage, and the seconds until the mean of the draws has the error ``target``."""
    start = time.process_time()
    model = BayesianFMRegressor(n_factors, max_iter=SWEEPS, random_state=seed).fit(X, y)
    seconds = time.process_time() - start
    mean, std = model.predict(X_test, return_std=True)
    draws = model._score_draws(X_test)  # (n_test, n_draws)
    means = draws.cumsum(axis=1) / np.arange(1, draws.shape[1] + 1)
    reached = np.flatnonzero([rmse(each, y_test, y) <= target for each in means.T])
    covered = float(np.mean(np.abs(y_test - mean) < 1.645 * std))
    sweeps = model.burn_in + 1 + int(reached[0]) if len(reached) else None
    to_target = sweeps * seconds / SWEEPS if sweeps else None
    measured = {"rmse": rmse(mean, y_test, y), "fit_s": seconds, "sweeps_to_myfm": sweeps, "s_to_myfm": to_target}
    return measured | {"coverage_90": covered}


def main():
    """Measure each task."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="folder with NAME_train.npz and NAME_validation.npz")
    parser.add_argument("--cache", type=Path, default=Path(get_data_home()) / "skafm")
    parser.add_argument("--tasks", nargs="+", default=["movielens", "movielens-side", "mltags", "frappe"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--factors", type=int, nargs="+", default=[RANK])
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32"])
    parser.add_argument("--alone", action="store_true", help="without myFM")
    options = parser.parse_args()
    os.environ.setdefault("TQDM_DISABLE", "1")  # myFM's progress bar
    for name in options.tasks:
        task = TASKS[name](Sources(options.cache, options.data))
        for seed in range(options.seeds):
            X, y, X_test, y_test, sizes = split(task, seed, anew=name in RANDOM_SPLIT)
            peer = {"rmse": 0.0} if options.alone else measure_myfm(X, y, X_test, y_test, sizes, seed)
            if not options.alone:
                print(json.dumps({"task": name, "seed": seed, "model": "myFM", **peer}), flush=True)
            for dtype, n_factors in product(options.dtypes, options.factors):
                given = (X.astype(dtype), y, X_test.astype(dtype), y_test)
                own = measure_skafm(*given, peer["rmse"], seed, n_factors)
                line = {"task": name, "seed": seed, "model": "skafm", "dtype": dtype, "k": n_factors, **own}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
