"""Milliseconds and bytes of a step of one and of two ranks, beside a cost model of both, as JSON lines.

    python tests/benchmarks/distributed.py [--rows 100000] [--repeat 3]

Synthetic one-hot rows of ten fields, 100,000 columns, of Zipf's frequencies, FM, batch 4,096 of all ranks together.
Four constants of the model are measured: overhead and speed of one rank at k = 16 and 64, latency and bandwidth of what
a step exchanges, alone. What it then says of k = 32 and of two ranks is held against fits.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from itertools import product

import numpy as np
import torch
import torch.distributed as dist
from scipy import sparse

from skafm import FMRegressor
from skafm.distributed import data_parallel

BATCH, FIELDS, WIDTH = 4096, 10, 10_000
SIZES = (16, 32, 64)
NETWORK = {"latency": 50e-6, "bandwidth": 1.25e9}  # seconds a message, and bytes a second: Ethernet of 10 Gbit/s


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


def flops(n_ranks, k, batch=BATCH):
    """Return the floating-point operations of a rank's step: its entries and rows, and all the distinct features.

    An entry: forward x v and its square, each added up, 4; backward the row's sum less x v, times x, added up, 4.
    A row: square, difference, half, sum, 4. A distinct feature: Adagrad's square, sum, root, quotient, product and
    difference, 6; with other ranks it is put among theirs, scaled by the share and summed, 3.
    """
    entries = 8 * FIELDS * batch / n_ranks + 4 * batch / n_ranks
    return (k + 1) * (entries + (6 if n_ranks == 1 else 9) * distinct(batch))


def seconds_of_fit(X, y, k, max_iter):
    """Return the seconds of a fit, by itself or with the other ranks."""
    model = FMRegressor(k, batch_size=BATCH, early_stopping=False, max_iter=max_iter, tol=0, random_state=0)
    start = time.perf_counter()
    if dist.get_world_size() == 1:
        model.fit(X, y)
    else:
        with data_parallel():
            model.fit(X, y)
    return time.perf_counter() - start


def measure(n, k):
    """Return milliseconds and bytes of a step, the bytes counted at the collectives."""
    rank, n_ranks, given = dist.get_rank(), dist.get_world_size(), []
    X, y = rows(n // n_ranks, rank)
    steps = -(-(n // n_ranks * n_ranks) // BATCH)
    seconds_of_fit(X, y, k, 1)
    seconds = min(seconds_of_fit(X, y, k, 4) - seconds_of_fit(X, y, k, 1) for _ in range(3)) / (3 * steps)
    for name, at in (("all_reduce", 0), ("all_gather", 1)):
        collective = getattr(dist, name)
        setattr(dist, name, lambda *a, c=collective, at=at, **o: (given.append(a[at].nbytes), c(*a, **o))[1])
    seconds_of_fit(X, y, k, 1)
    return {"ranks": n_ranks, "k": k, "ms_per_step": 1e3 * seconds, "bytes": sum(given) / steps}


def measure_exchange(k):
    """Return the milliseconds of what a step exchanges, alone: count, indices, gradients."""
    n_ranks = dist.get_world_size()
    count, mine = torch.zeros(1, dtype=torch.long), torch.zeros(round(distinct(BATCH / n_ranks)), dtype=torch.long)
    gradients = torch.zeros(round(distinct(BATCH) * (k + 1)) + 2)
    found = []
    for _ in range(200):
        start = time.perf_counter()
        for each in (count, mine):
            dist.all_gather([torch.zeros_like(each) for _ in range(n_ranks)], each)
        dist.all_reduce(gradients)
        found.append(time.perf_counter() - start)
    return {"ranks": n_ranks, "k": k, "exchange_ms": 1e3 * float(np.median(found))}


def launch(n_ranks, n, k):
    """Return what rank 0 of so many measured, a fit's step and its exchange."""
    address = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(n_ranks)]
    command = [sys.executable, "-m", "torch.distributed.run", *address, __file__, "--rows", str(n), "--one", str(k)]
    output = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return json.loads(output.stdout.splitlines()[-1])


def line_through(x, y):
    """Return height at zero and slope of the line through two points."""
    slope = (y[1] - y[0]) / (x[1] - x[0])
    return y[0] - slope * x[0], slope


def write(line):
    """Print a line of JSON, numbers to four digits."""
    rounded = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in line.items()}
    print(json.dumps(rounded), flush=True)


def compare(n, repeat):
    """Measure one and two ranks in turn, and print the best of each beside the model, then the plan."""
    found = [launch(r, n, k) for _ in range(repeat) for k in SIZES for r in (1, 2)]
    of = lambda r, k, what: min(f[what] for f in found if (f["ranks"], f["k"]) == (r, k))  # noqa: E731
    ends = SIZES[0], SIZES[-1]
    overhead, per_flop = line_through([flops(1, k) for k in ends], [of(1, k, "ms_per_step") for k in ends])
    start, per_byte = line_through([wire(2, k) for k in ends], [of(2, k, "exchange_ms") for k in ends])
    write({"overhead_ms": overhead, "gflops": 1e-6 / per_flop, "exchange_ms": start, "GB/s": 1e-6 / per_byte})
    for r, k in product((1, 2), SIZES):
        exchange = (start + per_byte * wire(2, k)) if r > 1 else 0
        line = {"ranks": r, "k": k, "ms_of_model": overhead + per_flop * flops(r, k) + exchange}
        line |= {name: of(r, k, name) for name in ("ms_per_step", "exchange_ms", "bytes")}
        write(line | {"bytes_of_model": payload(r, k)})
    plan(overhead, per_flop)


def plan(overhead, per_flop):
    """Print what the model says of more ranks, whose batch grows with them."""
    for k, r in product((SIZES[0], SIZES[-1]), (1, 2, 4, 8, 16, 32, 64)):
        messages = 4 * (r - 1)  # of the two gathers and the ring, one after another
        sent = wire(r, k, BATCH * r) if r > 1 else 0
        exchange = 1e3 * (messages * NETWORK["latency"] + sent / NETWORK["bandwidth"])
        step = overhead + per_flop * flops(r, k, BATCH * r) + exchange
        line = {"planned_ranks": r, "k": k, "batch": BATCH * r, "MB_sent": sent / 1e6, "exchange_ms": exchange}
        speedup = r * (overhead + per_flop * flops(1, k)) / step
        write(line | {"ms_per_step": step, "speedup": speedup})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        warnings.simplefilter("ignore")
        dist.init_process_group("gloo")
        line = measure(options.rows, options.one) | measure_exchange(options.one)
        if dist.get_rank() == 0:
            print(json.dumps(line), flush=True)
        dist.barrier()
        dist.destroy_process_group()
    else:
        compare(options.rows, options.repeat)
