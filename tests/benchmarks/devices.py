"""Seconds of ``fit`` with one epoch, and rows predicted a second, on the CPU and on CUDA, as JSON lines.

    python tests/benchmarks/devices.py --data FOLDER [--batches 128 4096 32768]

FOLDER holds frappe_train.npz and frappe_validation.npz, see README.md beside this file. t = k, dropout 0.2, float32;
whole calls, the way of the data to the device included. Each figure is the best of two calls after a warm-up.
"""

import argparse
import json
import time
import warnings

import torch
from quality import load
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor, FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is the point


def seconds_of(call, *arguments):
    """Return the seconds of the faster of two calls."""
    found = []
    for _ in range(2):
        start = time.perf_counter()
        call(*arguments)
        found.append(time.perf_counter() - start)
    return min(found)


def measure(name, model, data):
    """Measure a training of one epoch and a prediction of the training rows."""
    X, y = data
    model.fit(X[: 2 * model.batch_size], y[: 2 * model.batch_size])
    figures = {"s_per_epoch": round(seconds_of(model.fit, X, y), 3)}
    figures["predict_rows_s"] = int(X.shape[0] / seconds_of(model.predict, X))
    setting = {"model": name, "k": model.n_factors, "batch": model.batch_size, "device": model.device}
    print(json.dumps(setting | figures), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 4096, 32768])
    arguments = parser.parse_args()
    data = load(arguments.data, "frappe")[:2]
    for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        for batch in arguments.batches:
            fixed = {"batch_size": batch, "max_iter": 1, "early_stopping": False, "dropout": 0.2, "device": device}
            for k in (16, 256):
                measure("FM", FMRegressor(k, **fixed), data)
                measure("AFM", AFMRegressor(k, attention_size=k, **fixed), data)
            reduced = AFMRegressor(256, attention_size=256, reduced_precision=True, **fixed)
            measure("AFM, reduced precision", reduced, data)
