"""How near a step of AFM in reduced precision comes to the least it can take, as JSON lines, and to DeepCTR-Torch's.

    python tests/benchmarks/limit.py --data FOLDER [--name frappe] [--factors 256] [--batch 128] [--rounds 40]

Milliseconds a step, dropout 0.2 and t = k, medians over rounds in which all take turns: ``products``, the three
products of the attention network over the distinct pairs of a batch, in bfloat16; ``pairs``, these and all else that
is done to those pairs' k numbers without dropout, in as few calls as torch allows, the pairs being known and all
buffers at hand; ``skafm``, a step of ``fit``; ``quarter``, a fourth of DeepCTR-Torch's step where it is installed. One
line for the rounds in which the cores share a cache, one for those in which they do not: ``exchange_us``, how long it
takes to read 1.5 MB of which another core wrote every byte, is below or above 100 before and after the round.
"""

import argparse
import contextlib
import io
import json
import time
import warnings
from importlib.util import find_spec

import numpy as np
import torch
from quality import load
from sklearn.exceptions import ConvergenceWarning
from speed import deepctr_afm

from skafm import AFMRegressor
from skafm._training.batching import CSRRows, compact_features
from skafm.nn._pairs.dedup import distinct_pairs, pair_positions

warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is the point


def milliseconds(work, steps):
    """Return the milliseconds a step."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        work()
    return (time.perf_counter() - start) * 1e3 / steps


def exchange(n=1536, repeats=10):
    """Return the microseconds to copy n rows of 1 kB whose halves the two cores have just written the other way."""
    there, back = torch.rand(n, 256), torch.empty(n, 256)
    swapped, seconds = torch.arange(n).roll(n // 2), []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.index_select(there, 0, swapped, out=back)
        torch.index_select(back, 0, swapped, out=there)
        seconds.append((time.perf_counter() - start) / 2)
    return np.median(seconds) * 1e6


def batches(X, size):
    """Return the distinct pairs of each batch, left and right (D,), and how many distinct features it has."""
    rows, found = CSRRows.from_scipy(X, torch.device("cpu")), []
    for chosen in torch.arange(len(rows)).split(size):
        features, batch, _ = compact_features(rows.take(chosen), X.shape[1])
        positions = pair_positions(batch.offsets, len(batch.indices), rows.row_length)
        pairs = distinct_pairs(batch.indices, positions, len(features))
        found.append((pairs.left, pairs.right, len(features)))
    return found


class Least:
    """The work on the pairs of batches, in buffers that are kept."""

    def __init__(self, found, k):
        self.found, n = found, max(len(left) for left, _, _ in found)
        self.weight, self.bias, self.h, self.p = torch.rand(k, k), torch.rand(k), torch.rand(k), torch.rand(k)
        self.low_weight = self.weight.bfloat16()
        self.product, self.right, self.hidden = (torch.rand(n, k) for _ in range(3))
        self.low, self.low_hidden = (torch.rand(n, k).bfloat16() for _ in range(2))
        self.entries = [torch.rand(n_features, k) for _, _, n_features in found]

    def products(self):
        """Multiply."""
        for left, _, _ in self.found:
            low, hidden = self.low[: len(left)], self.low_hidden[: len(left)]
            torch.mm(low, self.low_weight.T, out=hidden)
            torch.mm(hidden.T, low)
            torch.mm(hidden, self.low_weight, out=low)

    def pairs(self):
        """Do what the formulas of skafm.nn._pairs ask for, the softmax apart."""
        for (left, right, _), entries in zip(self.found, self.entries, strict=True):
            buffers = self.product, self.right, self.hidden, self.low, self.low_hidden
            product, second, hidden, low, low_hidden = (each[: len(left)] for each in buffers)
            torch.index_select(entries, 0, left, out=product)
            torch.index_select(entries, 0, right, out=second)
            low.copy_(product.mul_(second))
            torch.mm(low, self.low_weight.T, out=low_hidden)
            hidden.copy_(low_hidden).add_(self.bias).relu_()
            signs = torch.empty_like(hidden, dtype=torch.bool).copy_(hidden)
            hidden.mul_(self.h).sum(1)
            g = (product * self.p).sum(1, keepdim=True)  # stands for the gradients of logits and scores
            low_hidden.view(torch.int16).copy_(signs.view(torch.uint8)).mul_(g.bfloat16().view(torch.int16))
            low_hidden.sum(0)
            torch.mm(low_hidden.T, low)
            g_product = (g * self.p).add_(product.copy_(torch.mm(low_hidden, self.low_weight, out=low)))
            gradient = torch.zeros_like(entries).index_add_(0, left, second.mul_(g_product))
            gradient.index_add_(0, right, g_product.mul_(torch.index_select(entries, 0, left, out=product)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--name", default="frappe")
    parser.add_argument("--factors", type=int, default=256)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    k, batch, steps = options.factors, options.batch, 50
    X, y, _, _ = load(options.data, options.name)
    some = np.random.default_rng(0).permutation(len(y))[: steps * batch]
    X, y = X[some], y[some]
    least = Least(batches(X, batch), k)
    settings = {"batch_size": batch, "max_iter": 1, "early_stopping": False, "reduced_precision": True}
    model = AFMRegressor(k, attention_size=k, dropout=0.2, **settings)
    work = {"products": least.products, "pairs": least.pairs, "skafm": lambda: model.fit(X, y)}
    if find_spec("deepctr_torch"):
        peer, as_input = deepctr_afm(X, k)
        peer.compile("adagrad", "mse")
        fields = as_input(X)
        work["quarter"] = lambda: peer.fit(fields, y, batch_size=batch, epochs=1, verbose=0)
    measured = {True: [], False: []}
    for _ in range(options.rounds):
        before = exchange()
        round_ = {name: milliseconds(each, steps) / (4 if name == "quarter" else 1) for name, each in work.items()}
        if (before < 100) == (exchange() < 100):
            measured[before < 100].append({"exchange_us": before, **round_})
    for shared, rounds in measured.items():
        if rounds:
            figures = {name: round(float(np.median([each[name] for each in rounds])), 2) for name in rounds[0]}
            about = {"batch": batch, "cores_share_a_cache": shared, "rounds": len(rounds)}
            print(json.dumps({**about, **figures}), flush=True)
