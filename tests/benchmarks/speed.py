"""Seconds an epoch and rows predicted a second of AFMs, as JSON lines; DeepCTR-Torch too where it is installed.

    python tests/benchmarks/speed.py --data FOLDER [--name frappe] [--factors 256] [--batches 128 4096]

FOLDER holds NAME_train.npz and NAME_validation.npz, see README.md beside this file. Dropout is 0.2 and t = k. DeepCTR-
Torch is timed on the first 32,768 rows of an epoch.
"""

import argparse
import json
import time
import warnings
from importlib.util import find_spec

import numpy as np
from quality import load
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is the point


def report(system, options, batch, epoch, predict):
    """Print one measurement."""
    line = {
        "system": system,
        "data": options.name,
        "k": options.factors,
        "batch": batch,
        "s_per_epoch": round(epoch, 2),
    }
    print(json.dumps(line | {"predict_rows_s": int(predict)}), flush=True)


def skafm_speed(options, batch):
    """Measure one epoch and the better of three predictions."""
    X, y, X_val, _ = load(options.data, options.name)
    model = AFMRegressor(options.factors, attention_size=options.factors, dropout=0.2, batch_size=batch, max_iter=1)
    start = time.perf_counter()
    model.fit(X, y)
    epoch, seconds = time.perf_counter() - start, []
    for _ in range(3):
        start = time.perf_counter()
        model.predict(X_val)
        seconds.append(time.perf_counter() - start)
    report("skafm", options, batch, epoch, X_val.shape[0] / min(seconds))


def deepctr_speed(options, batch, rows=32_768):
    """Measure the first rows of an epoch, and a prediction."""
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import AFM

    X, y, _, _ = load(options.data, options.name)
    fields = X.indices.reshape(X.shape[0], -1).astype(np.int64)
    as_input = {f"f{i}": column for i, column in enumerate((fields - fields.min(0)).T)}
    columns = [SparseFeat(name, int(c.max()) + 1, embedding_dim=options.factors) for name, c in as_input.items()]
    settings = {"attention_factor": options.factors, "afm_dropout": 0.2, "task": "regression", "init_std": 0.01}
    model = AFM(columns, columns, **settings, l2_reg_linear=0, l2_reg_embedding=0, l2_reg_att=1e-5)
    model.compile("adagrad", "mse")
    some = {name: column[:rows] for name, column in as_input.items()}
    start = time.perf_counter()
    model.fit(some, y[:rows], batch_size=batch, epochs=1, verbose=0)
    fitted = time.perf_counter()
    model.predict(some, 4096)
    epoch, predict = (fitted - start) * len(y) / rows, rows / (time.perf_counter() - fitted)
    report("DeepCTR-Torch", options, batch, epoch, predict)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--name", default="frappe")
    parser.add_argument("--factors", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 4096])
    arguments = parser.parse_args()
    for size in arguments.batches:
        skafm_speed(arguments, size)
        if find_spec("deepctr_torch"):
            deepctr_speed(arguments, size)
