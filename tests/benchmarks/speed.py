"""Seconds an epoch and rows predicted a second of AFMs, as JSON lines; DeepCTR-Torch too where it is installed.

    python tests/benchmarks/speed.py --data FOLDER [--name frappe] [--factors 256] [--batches 128 4096] [--device cuda]

FOLDER holds NAME_train.npz and NAME_validation.npz, see README.md beside this file. Dropout is 0.2 and t = k. DeepCTR-
Torch is timed on the first 32,768 rows of an epoch. ``peak_share`` is the part of the machine's speed in float32 matrix
products, measured first, that the three products of Eq. 5 and its gradient over each batch's distinct pairs make up.
"""

import argparse
import json
import time
import warnings
from importlib.util import find_spec

import numpy as np
import torch
from quality import load
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is the point


def peak_flops(device, dtype=torch.float32):
    """Return the operations a second of a product of (c, 256) and (256, 256) matrices."""
    c = 4096 if device == "cpu" else 2**20
    left, right = (torch.rand(n, 256, dtype=dtype, device=device) for n in (c, 256))
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        (left @ right)[0, 0].item()  # waits for a device
        seconds.append(time.perf_counter() - start)
    return 2 * c * 256**2 / min(seconds)


def needed_flops(X, batch, k, t, n_batches=20):
    """Return the operations of Eq. 5 and its gradient over the distinct pairs of an epoch, from some of its batches."""
    rows = X.indices.reshape(X.shape[0], -1).astype(np.int64)
    order = np.random.default_rng(0).permutation(len(rows))[: n_batches * batch]
    left, right = np.triu_indices(rows.shape[1], 1)
    chosen = np.array_split(rows[order], max(len(order) // batch, 1))
    distinct = [len(np.unique(part[:, left] * X.shape[1] + part[:, right])) for part in chosen]
    return 3 * 2 * k * t * sum(distinct) * len(rows) / len(order)


def report(options, **figures):
    """Print one measurement."""
    print(json.dumps({"data": options.name, "k": options.factors, **figures}), flush=True)


def skafm_speed(options, batch, reduced_precision):
    """Measure one epoch and the best of three predictions."""
    X, y, X_val, _ = load(options.data, options.name)
    k = options.factors
    settings = {"batch_size": batch, "max_iter": 1, "early_stopping": False, "reduced_precision": reduced_precision}
    model = AFMRegressor(k, attention_size=k, dropout=0.2, device=options.device, **settings)
    if options.device != "cpu":  # its first use loads what it computes with
        model.fit(X[: 2 * batch], y[: 2 * batch])
    start = time.perf_counter()
    model.fit(X, y)
    epoch, seconds = time.perf_counter() - start, []
    for _ in range(3):
        start = time.perf_counter()
        model.predict(X_val)
        seconds.append(time.perf_counter() - start)
    system = "skafm, reduced precision" if reduced_precision else "skafm"
    share = needed_flops(X, batch, k, k) / epoch / peak_flops(options.device)
    figures = {"s_per_epoch": round(epoch, 2), "predict_rows_s": int(X_val.shape[0] / min(seconds))}
    report(options, system=system, batch=batch, **figures, peak_share=round(share, 2))


def deepctr_afm(X, factors, device="cpu"):
    """Return DeepCTR-Torch's AFM and a function that turns one-hot rows into its input."""
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import AFM

    fields = X.indices.reshape(X.shape[0], -1).astype(np.int64)
    first, last = fields.min(0), fields.max(0)

    def as_input(rows):
        places = (rows.indices.reshape(rows.shape[0], -1) - first).clip(0, last - first)
        return {f"f{i}": column for i, column in enumerate(places.T)}

    sizes = (last - first + 1).tolist()
    columns = [SparseFeat(f"f{i}", size, embedding_dim=factors) for i, size in enumerate(sizes)]
    settings = {"attention_factor": factors, "afm_dropout": 0.2, "task": "regression", "init_std": 0.01}
    settings |= {"l2_reg_linear": 0, "l2_reg_embedding": 0, "l2_reg_att": 1e-5, "device": device}
    return AFM(columns, columns, **settings), as_input


def deepctr_speed(options, batch, rows=32_768):
    """Measure the first rows of an epoch, and a prediction."""
    X, y, _, _ = load(options.data, options.name)
    model, as_input = deepctr_afm(X, options.factors, options.device)
    model.compile("adagrad", "mse")
    some = as_input(X[:rows])
    if options.device != "cpu":
        model.fit(as_input(X[: 2 * batch]), y[: 2 * batch], batch_size=batch, epochs=1, verbose=0)
    start = time.perf_counter()
    model.fit(some, y[:rows], batch_size=batch, epochs=1, verbose=0)
    fitted = time.perf_counter()
    model.predict(some, 4096)
    predict, epoch = rows / (time.perf_counter() - fitted), (fitted - start) * len(y) / rows
    report(options, system="DeepCTR-Torch", batch=batch, s_per_epoch=round(epoch, 2), predict_rows_s=int(predict))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--name", default="frappe")
    parser.add_argument("--factors", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 4096])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    speeds = {name: peak_flops(arguments.device, getattr(torch, name)) for name in ("float32", "bfloat16")}
    device = {} if arguments.device == "cpu" else {"device": torch.cuda.get_device_name(arguments.device)}
    print(json.dumps(device | {f"{name}_GFLOP_s": round(speed / 1e9) for name, speed in speeds.items()}), flush=True)
    for size in arguments.batches:
        skafm_speed(arguments, size, False)
        skafm_speed(arguments, size, True)
        if find_spec("deepctr_torch"):
            deepctr_speed(arguments, size)
