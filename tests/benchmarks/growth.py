"""Seconds an epoch of FM and AFM as rows, entries a row, k, t and columns grow, as JSON lines and as a picture.

    python tests/benchmarks/growth.py [--save FILE.png] [--lines FILE.jsonl]

Synthetic one-hot rows: each has one feature of each of equal fields. One quantity grows at a time from 100,000 rows, 10
entries a row, k = t = 16 and 10,000 columns, at batch 1,024. Each measurement is a process of its own and the faster of
an epoch's two repetitions. ``--lines`` draws what an earlier run printed.
"""

import argparse
import contextlib
import io
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor, FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # a few epochs are the point

BASE = {"rows": 100_000, "entries": 10, "k": 16, "t": 16, "columns": 10_000}
LABELS = {"rows": "rows", "entries": "entries a row", "k": "factors k", "t": "attention size t", "columns": "columns"}
GROWTH = {
    "FM": {
        "rows": [10**4, 10**5, 10**6, 10**7],
        "entries": [5, 10, 20, 50, 100],
        "k": [4, 16, 64, 256],
        "columns": [10**3, 10**4, 10**5, 10**6, 10**7],
    },
    "AFM": {
        "rows": [10**4, 10**5, 10**6],
        "entries": [5, 10, 20, 50],
        "k": [4, 16, 64, 256],
        "t": [4, 16, 64, 256],
        "columns": [10**3, 10**4, 10**5, 10**6, 10**7],
    },
}


def one_hot(rows, entries, columns):
    """Return CSR rows of one feature of each of equal fields, and a target that is noise."""
    rng = np.random.default_rng(0)
    width = columns // entries
    indices = rng.integers(0, width, (rows, entries), np.int32)
    indices += width * np.arange(entries, dtype=np.int32)
    indptr = np.arange(0, rows * entries + 1, entries, np.int32)
    values = np.ones(rows * entries, np.float32)
    return sparse.csr_array((values, indices.ravel(), indptr), (rows, columns)), rng.normal(size=rows)


class Clock(io.StringIO):
    """Notes when each line is printed: the estimators print one an epoch."""

    def __init__(self):
        super().__init__()
        self.times = []

    def write(self, text):
        self.times += [time.perf_counter()] * text.count("\n")
        return len(text)


def measure(model, rows, entries, columns, k, t):
    """Return the seconds of an epoch, setting up not counted."""
    X, y = one_hot(rows, entries, columns)
    common = {"n_factors": k, "batch_size": 1024, "max_iter": 3, "tol": 0.0, "random_state": 0, "verbose": True}
    common["early_stopping"] = False
    estimator = FMRegressor(**common) if model == "FM" else AFMRegressor(attention_size=t, **common)
    with contextlib.redirect_stdout(Clock()) as clock:
        estimator.fit(X, y)
    return min(np.diff(clock.times))


def draw(lines, path):
    """Draw seconds an epoch over each quantity."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 2, figsize=(7, 8), sharey=True, layout="constrained")
    for axis, (quantity, label) in zip(axes.flat, LABELS.items(), strict=False):
        for model, color, marker in (("FM", "#0072b2", "o"), ("AFM", "#d55e00", "s")):
            shown = [line for line in lines if (line["model"], line["grows"]) == (model, quantity)]
            sizes, seconds = ([line[name] for line in shown] for name in (quantity, "s_per_epoch"))
            axis.loglog(sizes, seconds, color=color, marker=marker, label=model)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    for axis in axes[:, 0]:
        axis.set_ylabel("seconds per epoch")
    axes[2, 1].set_axis_off()
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=100)


def run():
    """Measure each size in a process of its own, print and return the lines."""
    lines = []
    for model, growth in GROWTH.items():
        for quantity, sizes in growth.items():
            for size in sizes:
                setting = {"model": model, **BASE, quantity: size}
                command = [sys.executable, __file__, "--one", json.dumps(setting)]
                seconds = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                lines.append(setting | {"grows": quantity, "s_per_epoch": round(seconds, 4)})
                print(json.dumps(lines[-1]), flush=True)
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save")
    parser.add_argument("--lines")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(measure(**options.one))
    else:
        kept = Path(options.lines).read_text().splitlines() if options.lines else None
        measured = run() if kept is None else [json.loads(line) for line in kept]
        if options.save:
            draw(measured, options.save)
