"""RMSE of FM, and of the AFM that starts from it, on one-hot data in the paper's protocol, as JSON lines.

    python tests/benchmarks/quality.py --data FOLDER [--name frappe] [--factors 256]

FOLDER holds NAME_train.npz and NAME_validation.npz, see README.md beside this file. The settings are those of the AFM
paper's authors where they are known: batch 128, Adagrad, lambda 1 in their convention; predictions are clipped to
-1..1. Each line is a training of its own, as long as its epochs.
"""

import argparse
import json
import os
import platform
import resource
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor, FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # the numbers of epochs are the point


def load(folder, name):
    """Return X as float32 CSR and y, of training and validation."""
    splits = [np.load(Path(folder) / f"{name}_{split}.npz") for split in ("train", "validation")]
    n_features = 1 + max(int(split["X"].max()) for split in splits)
    loaded = []
    for split in splits:
        n, m = split["X"].shape
        entries = np.ones(n * m, np.float32), split["X"].ravel().astype(np.int32), np.arange(0, n * m + 1, m, np.int32)
        loaded += [sparse.csr_array(entries, shape=(n, n_features)), split["y"].astype(np.float32)]
    return loaded


def report(model, seconds, X, y, **settings):
    """Print one measurement."""
    start = time.perf_counter()
    prediction = model.predict(X)
    predict_seconds = time.perf_counter() - start
    line = {
        "model": type(model).__name__,
        **settings,
        "validation_rmse": round(float(np.sqrt(np.mean((np.clip(prediction, -1, 1) - y) ** 2))), 4),
        "fit_s": round(seconds, 1),
        "s_per_epoch": round(seconds / model.n_iter_, 2),
        "predict_rows_s": int(len(y) / predict_seconds),
        "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
    }
    print(json.dumps(line), flush=True)


def main():
    """Fit FM for twelve epochs, then AFM for one to three from it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--name", default="frappe")
    parser.add_argument("--factors", type=int, default=256)
    parser.add_argument("--epochs", type=int, nargs=2, default=(12, 2), metavar=("FM", "AFM"))
    parser.add_argument("--reduced-precision", action="store_true", help="of the AFM's matrix products")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    X, y, X_val, y_val = load(options.data, options.name)
    common = {"n_factors": options.factors, "batch_size": 128, "learning_rate": 0.05, "l2_factors": 0.0, "tol": 0.0}
    common["l2_linear"] = 0.0
    common["early_stopping"] = False
    common |= {"n_iter_no_change": 1000, "random_state": options.seed}

    start = time.perf_counter()
    fm = FMRegressor(dropout=0.3, max_iter=options.epochs[0], **common).fit(X, y)
    report(fm, time.perf_counter() - start, X_val, y_val, k=options.factors, epochs=fm.n_iter_, dropout=0.3)
    penalty = 1 / (128 * float(np.var(y)))  # lambda = 1 of the authors' code
    for epochs in range(1, options.epochs[1] + 1):
        afm = AFMRegressor(attention_size=options.factors, dropout=0.2, l2_attention=penalty, init=fm, **common)
        afm.set_params(reduced_precision=options.reduced_precision)
        start = time.perf_counter()
        afm.set_params(max_iter=epochs).fit(X, y)
        report(
            afm,
            time.perf_counter() - start,
            X_val,
            y_val,
            k=options.factors,
            epochs=epochs,
            dropout=0.2,
            reduced=options.reduced_precision,
        )


if __name__ == "__main__":
    main()
