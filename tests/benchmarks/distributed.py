"""Seconds and bytes of a step of one and of two ranks in turn, beside a cost model, as JSON lines.

    python tests/benchmarks/distributed.py [--rows 100000] [--repeat 3]

Synthetic one-hot rows of ten fields, 100,000 columns, of Zipf's frequencies, FM, batch 4,096 of all ranks together.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import torch.distributed as dist
from scipy import sparse

from skafm import FMRegressor
from skafm.distributed import sharded

BATCH, FIELDS, WIDTH, EPOCHS = 4096, 10, 10_000, 2
GIGABIT10 = 1.25e9  # bytes a second


def rows(n, seed):
    """Return one-hot rows, each field's values as frequent as one over their rank, and a target that is noise."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, WIDTH + 1)
    columns = rng.choice(WIDTH, (n, FIELDS), p=frequency / frequency.sum()) + WIDTH * np.arange(FIELDS)
    entries = np.ones(n * FIELDS, np.float32), columns.ravel(), np.arange(0, n * FIELDS + 1, FIELDS)
    return sparse.csr_array(entries, (n, WIDTH * FIELDS)), rng.normal(size=n)


def distinct(batch):
    """Return the distinct features that a batch is expected to have."""
    frequency = 1 / np.arange(1, WIDTH + 1)
    return FIELDS * float((1 - (1 - frequency / frequency.sum()) ** batch).sum())


def payload(n_ranks, k, batch=BATCH):
    """Return the bytes of the tensors that a rank gives to the collectives of a step: count, indices, gradients."""
    if n_ranks == 1:
        return 0
    return 8 + 8 * distinct(batch / n_ranks) + 4 * (distinct(batch) * (k + 1) + 2)


def wire(n_ranks, k, batch=BATCH):
    """Return the bytes that a rank sends in a step: indices to all others, and a ring's share of the sum."""
    indices, values = 8 + 8 * distinct(batch / n_ranks), 4 * (distinct(batch) * (k + 1) + 2)
    return (n_ranks - 1) * indices + 2 * (n_ranks - 1) / n_ranks * values


def measure(n, k):
    """Fit, and print seconds and bytes a step, counted at the collectives."""
    rank, n_ranks, given = dist.get_rank(), dist.get_world_size(), []
    for name, at in (("all_reduce", 0), ("all_gather", 1)):
        collective = getattr(dist, name)
        setattr(dist, name, lambda *a, c=collective, at=at, **o: (given.append(a[at].nbytes), c(*a, **o))[1])
    X, y = rows(n // n_ranks, rank)
    model = FMRegressor(k, batch_size=BATCH, early_stopping=False, max_iter=EPOCHS, tol=0, random_state=0)
    steps = EPOCHS * -(-(n // n_ranks * n_ranks) // BATCH)
    start = time.perf_counter()
    if n_ranks == 1:
        model.fit(X, y)
    else:
        with sharded():
            model.fit(X, y)
    seconds = (time.perf_counter() - start) / steps
    if rank == 0:
        print(json.dumps({"ranks": n_ranks, "k": k, "ms_per_step": 1e3 * seconds, "bytes": sum(given) / steps}))


def launch(n_ranks, n, k):
    """Return what rank 0 of so many measured."""
    address = ["--master-addr", "127.0.0.1", "--master-port", "29931", "--nproc-per-node", str(n_ranks)]
    command = [sys.executable, "-m", "torch.distributed.run", *address, __file__, "--rows", str(n), "--one", str(k)]
    output = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return json.loads(output.stdout.splitlines()[-1])


def compare(n, repeat):
    """Measure one and two ranks in turn, print the best of each, and the model's table."""
    for k in (16, 64):
        found = [launch(n_ranks, n, k) for _ in range(repeat) for n_ranks in (1, 2)]
        best = {r: min((f for f in found if f["ranks"] == r), key=lambda f: f["ms_per_step"]) for r in (1, 2)}
        for n_ranks, line in best.items():
            print(json.dumps(line | {"bytes_of_model": round(payload(n_ranks, k))}), flush=True)
        for n_ranks in (1, 2, 4, 8, 16, 32, 64):  # a batch grows with the ranks, so that each has as much to compute
            batch = BATCH * n_ranks
            sent, compute = wire(n_ranks, k, batch) if n_ranks > 1 else 0, best[1]["ms_per_step"]
            step = compute + 1e3 * sent / GIGABIT10
            print(
                json.dumps(
                    {"planned_ranks": n_ranks, "k": k, "batch": batch, "MB_sent": round(sent / 1e6, 2)}
                    | {"ms_per_step": round(step, 1), "speedup": round(n_ranks * compute / step, 1)}
                ),
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        warnings.simplefilter("ignore")
        dist.init_process_group("gloo")
        measure(options.rows, options.one)
        dist.destroy_process_group()
    else:
        compare(options.rows, options.repeat)
