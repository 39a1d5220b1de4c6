"""Epochs in a fit, and default fits, on CUDA and of FM on the CPU, as JSON lines.

    python tests/benchmarks/graphs.py --data FOLDER [--parts afm fm bits fits] [--batches 4096 128 32768] [--epochs 4]

FOLDER holds frappe_train.npz and frappe_validation.npz, see README.md beside this file. ``first_s`` are the seconds of
the first epoch, ``epoch_s`` the median of the later ones, and ``fit_s`` those of the whole call, after a small fit;
``rmse`` is that of the validation rows after so many epochs. ``bits``: whether two fits give the same. ``fits``:
constructors as they are but for ``batch_size``.
"""

import argparse
import json
import time
import warnings

import numpy as np
import torch
from quality import load
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, root_mean_squared_error

import skafm
from skafm._training.trainer import Trainer

warnings.simplefilter("ignore", ConvergenceWarning)  # a few epochs are the point

NO_STOP = {"early_stopping": False, "tol": 0, "n_iter_no_change": 1000, "random_state": 0}


def report(**figures):
    """Print one measurement."""
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}), flush=True)


class Timer:
    """Measures the seconds of each epoch of the fits in its context; the loss of an epoch is on the host by then."""

    def __enter__(self):
        self.seconds, self.original = [], Trainer.epochs

        def epochs(trainer, dataset):
            losses = self.original(trainer, dataset)
            while True:
                start = time.perf_counter()
                loss = next(losses)
                self.seconds.append(time.perf_counter() - start)
                yield loss

        Trainer.epochs = epochs
        return self

    def __exit__(self, *error):
        Trainer.epochs = self.original


def measure(data, name, n_epochs, **options):
    """Measure a fit, after a fit of a few batches."""
    X, y, X_val, y_val = data
    fixed = NO_STOP | {"l2_linear": 0.001}  # given, so that no linear model is fitted first
    model = getattr(skafm, name)(max_iter=n_epochs, **fixed, **options)
    few = 3 * model.batch_size
    model.fit(X[:few], y[:few])
    on_cuda = model.device == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    with Timer() as timer:
        start = time.perf_counter()
        model.fit(X, y)
        figures = {"fit_s": time.perf_counter() - start}
    first, *later = timer.seconds
    figures |= {"first_s": first, "epoch_s": float(np.median(later or [first])), "epochs": n_epochs}
    if on_cuda:
        figures["MB"] = torch.cuda.max_memory_allocated() // 2**20
    figures["rmse"] = float(root_mean_squared_error(y_val, model.predict(X_val).clip(-1, 1)))
    report(model=name, **options, **figures)


def afm(data, options):
    """Measure epochs of AFM, k = t = 256, with products in float32 and in bfloat16."""
    for batch in options.batches:
        for reduced in (False, True):
            sizes = {"n_factors": 256, "attention_size": 256, "batch_size": batch}
            more = {"dropout": 0.2, "reduced_precision": reduced, "device": "cuda"}
            measure(data, "AFMRegressor", options.epochs, **sizes, **more)


def fm(data, options):
    """Measure epochs of FM at the default batch size and at 4,096, on both devices."""
    for k in (16, 64):
        for batch in (1024, 4096):
            for device in ("cuda", "cpu"):
                measure(data, "FMRegressor", options.epochs, n_factors=k, batch_size=batch, device=device)


def bits(data, options):
    """Compare the attributes of two fits on CUDA."""
    X, y = data[0][:40_000], data[1][:40_000]
    for batch in options.batches:
        sizes = {"n_factors": 256, "attention_size": 256, "batch_size": batch, "max_iter": 2}
        model = skafm.AFMRegressor(dropout=0.2, device="cuda", **sizes, **NO_STOP)
        found = [np.concatenate([model.fit(X, y).factors_.ravel(), model.attention_coef_.ravel()]) for _ in range(2)]
        report(bits="AFMRegressor", batch_size=batch, same=bool(np.array_equal(*found)))


def fits(data, _):
    """Measure default fits of a part of the rows and of all, and of larger batches."""
    X, y, X_val, y_val = data
    order = np.random.default_rng(0).permutation(len(y))
    settings = [(2000, {}), (20_000, {}), *((len(y), {"batch_size": b} if b else {}) for b in (None, 2048, 4096, 8192))]
    for n, more in settings:
        for name in ("FMClassifier", "AFMClassifier"):
            model = getattr(skafm, name)(random_state=0, device="cuda", **more)
            start = time.perf_counter()
            model.fit(X[order[:n]], y[order[:n]] > 0)
            figures = {"fit_s": time.perf_counter() - start, "n_iter": model.n_iter_, "best_iter": model.best_iter_}
            loss = float(log_loss(y_val > 0, model.predict_proba(X_val)))
            report(model=name, n_samples=n, **more, **figures, log_loss=loss)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--parts", nargs="+", default=["afm", "fm", "bits", "fits"])
    parser.add_argument("--batches", type=int, nargs="+", default=[4096, 128, 32768])
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    report(device=torch.cuda.get_device_name(), torch=torch.__version__, threads=torch.get_num_threads())
    for part in arguments.parts:
        {"afm": afm, "fm": fm, "bits": bits, "fits": fits}[part](load(arguments.data, "frappe"), arguments)
