"""Seconds to recommend 10 items of a large catalog to each of many users: FM, and implicit where it is installed.

python tests/benchmarks/top_n.py [--users 10000 --items 100000 --factors 64]
"""

import argparse
import json
import os
import platform
import resource
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from scipy import sparse
from threadpoolctl import threadpool_limits

from skafm import FMRegressor
from skafm.recommendation import recommend


def catalog(n_users, n_items, n_factors, dtype):
    """Return an FM with drawn parameters, its users and its items: one-hot, each with three properties of 100."""
    n_features, random = n_users + n_items + 600, np.random.default_rng(0)

    def rows(n, start, properties):
        columns = np.column_stack(
            [np.arange(n) + start, *(properties + i * 100 + random.integers(0, 100, n) for i in range(3))]
        )
        entries = np.ones(columns.size, dtype), columns.ravel(), np.arange(0, columns.size + 1, 4)
        return sparse.csr_array(entries, shape=(n, n_features))

    users, items = rows(n_users, 0, n_users + n_items), rows(n_items, n_users, n_users + n_items + 300)
    few = users[:200] + items[:200]
    model = FMRegressor(n_factors, max_iter=1, tol=0, early_stopping=False).fit(few, random.normal(size=200))
    model.factors_ = random.normal(scale=0.1, size=(n_features, n_factors)).astype(dtype)
    model.linear_coef_ = random.normal(scale=0.1, size=n_features).astype(dtype)
    return model, users, items


def seconds(call):
    """Return how long a call takes."""
    start = perf_counter()
    call()
    return perf_counter() - start


def implicit_top_n(users, items, n, n_threads):
    """Return what implicit recommends by its own matrices of factors."""
    from implicit.cpu.topk import topk

    with threadpool_limits(1, "blas"):  # it asks for that
        return topk(items, users, n, num_threads=n_threads)


def processor():
    """Return the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())


def main():
    """Print a line for each library, precision and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"users": 10_000, "items": 100_000, "factors": 64, "n": 10, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    machine = {"cpu": processor(), "cores": os.cpu_count(), "torch": torch.__version__}
    sizes = {name: getattr(options, name) for name in ("users", "items", "factors", "n")}

    for threads in options.threads:
        torch.set_num_threads(threads)
        for dtype in ("float32", "float64"):
            model, users, items = catalog(options.users, options.items, options.factors, dtype)
            calls = {"skafm": partial(recommend, model, users, items, options.n)}
            if dtype == "float32" and find_spec("implicit"):
                vectors = model.factors_[: options.users], model.factors_[options.users :][: options.items]
                calls["implicit"] = partial(implicit_top_n, *vectors, options.n, threads)
            for library, call in calls.items():
                times = [seconds(call) for _ in range(options.repeats)]
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                line = {"library": library, "dtype": dtype, "threads": threads} | sizes
                line |= {"seconds": [round(each, 2) for each in times], "peak_mb": round(peak)}
                print(json.dumps(line | machine), flush=True)


if __name__ == "__main__":
    main()
