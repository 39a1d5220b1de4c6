"""Whether training on CUDA computes what it should: the first section of ``cuda_bars.py``."""

import contextlib
import os
from itertools import islice

import numpy as np
import torch

from skafm._options import EXPERIMENTAL_CUDA
from skafm._training import fixed_steps
from skafm._training.batching import CSRRows, Dataset
from skafm._training.loop import BatchConfig
from skafm._training.losses import make_loss
from skafm._training.trainer import Trainer
from skafm.nn import AFM, FM, NFM, functional
from skafm.nn._pairs import fused

BOUNDS = {"float64": 1e-9, "float32": 1e-4, "tf32": 5e-2, "bfloat16": 1e-1}
GRADIENTS = ("pooled", "g_entries", "g_weight", "g_bias", "g_projection")
MODELS = {"FM": (FM, (5,)), "AFM": (AFM, (5, 6)), "NFM": (NFM, (5, (4,))), "deep AFM": (NFM, (5, (4,), 6))}


@contextlib.contextmanager
def ways(device, pairs):
    """Train by steps of fixed shapes on a device, its pairs "plain" or "fused"; by those of the loop if it is None."""
    before = fixed_steps.DEVICE_TYPES, fused.suit, os.environ.get(EXPERIMENTAL_CUDA, "0")
    fixed_steps.DEVICE_TYPES, os.environ[EXPERIMENTAL_CUDA] = {device}, "1" if pairs == "fused" else "0"
    if device == "cpu" and pairs == "fused":  # a dry run, in Triton's interpreter
        fused.suit = lambda *_: True
    try:
        yield
    finally:
        fixed_steps.DEVICE_TYPES, fused.suit, os.environ[EXPERIMENTAL_CUDA] = before


@contextlib.contextmanager
def precision(name):
    """Have torch multiply float32 matrices in TF32, if that is the name."""
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


def gradients(pool, tensors, q):
    """Return pooled vectors and their gradients, in float64 on the CPU."""
    tensors = [each.detach().requires_grad_() for each in tensors]
    pooled = pool(*tensors)
    found = (pooled, *torch.autograd.grad((pooled * q.to(pooled)).sum(), tensors))
    return [each.detach().cpu().double() for each in found]


def check_pairs(report, device, lengths, k, t, name):
    """Report the relative errors of the fused pairs of rows of these lengths."""
    draws, n, m = torch.Generator().manual_seed(0), len(lengths), max(lengths)
    shapes = ((n, m, k), (t, k), (t,), (t,), (n, k))
    *inputs, q = (torch.randn(shape, generator=draws, dtype=torch.float64) / shape[-1] ** 0.25 for shape in shapes)
    exists, offsets = torch.arange(m) < torch.tensor(lengths).unsqueeze(1), torch.tensor([0, *lengths]).cumsum(0)

    def reference(entries, *network):
        table = entries[exists]
        return functional.attentional_pooling(table, *network, torch.arange(len(table)), None, offsets)

    def by_kernels(entries, *network):
        there = exists.to(device)
        return fused.attentional_pooling(
            entries * there.unsqueeze(2), *network, there, torch.bfloat16 if name == "bfloat16" else None
        )

    with precision(name):
        found = gradients(by_kernels, [each.to(device, torch.float32) for each in inputs], q)
    exact = gradients(reference, inputs, q)
    errors = {key: float((a - b).norm() / b.norm()) for key, a, b in zip(GRADIENTS, found, exact, strict=True)}
    about = {"what": "pairs", "precision": name, "lengths": sorted(set(lengths)), "k": k, "t": t}
    report("check", **about, **errors, right=max(errors.values()) < BOUNDS[name])


def dataset(device, dtype, *, uneven, n=8):
    """Return rows of one to four entries of real values, one of none and one of eight if uneven, and their targets."""
    rng, X = np.random.default_rng(0), np.zeros((n, 12))
    for number, row in enumerate(X):
        length = {1: 8, 6: 0}[number] if uneven and number in {1, 6} else 1 + number % 4 if number % 3 == 0 else 4
        row[rng.choice(11, length, replace=False)] = rng.normal(size=length)
    rows = CSRRows.from_scipy(X.astype(dtype), torch.device(device))
    return Dataset(rows, torch.tensor(rng.normal(size=n).astype(dtype), device=device), None)


def train(kind, sizes, device, dtype, dropout=0.0, *, uneven=False, n_epochs=8):
    """Return the parameters after some epochs of two batches."""
    generator = torch.Generator(device).manual_seed(0)
    like = {"dropout": dropout, "generator": generator, "device": device, "dtype": getattr(torch, np.dtype(dtype).name)}
    model = kind(12, *sizes, **like)
    for seed, parameter in enumerate(model.parameters()):
        values = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        parameter.data.copy_(0.5 * values)
    config = BatchConfig(4, shuffle=False, memory=2**30)
    trainer = Trainer(model, generator, make_loss("squared_error"), {"factors": 0.1}, "adagrad", 0.05, config)
    list(islice(trainer.epochs(dataset(device, dtype, uneven=uneven)), n_epochs))
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().cpu().double()


def check_training(report, device):
    """Compare steps, of which the last are replays of graphs, with those of the loop on the CPU."""
    for name, (kind, sizes) in MODELS.items():
        for pairs, uneven in (("plain", False), ("fused", False), ("fused", True)):
            with ways(None, "plain"):
                expected = train(kind, sizes, "cpu", np.float64, uneven=uneven)
            for dtype in ("float64", "float32"):
                with ways(device, pairs):
                    own = train(kind, sizes, device, dtype, uneven=uneven)
                error = float((own - expected).abs().max())
                about = {"what": "training", "model": name, "pairs": pairs, "uneven": uneven, "precision": dtype}
                report("check", **about, largest_difference=error, right=error < BOUNDS[dtype] * 10)


def check_dropout(report, device):
    """Compare two trainings with dropout, whose draws must be the same, and one without."""
    for pairs in ("plain", "fused"):
        with ways(device, pairs):
            first, second, without = (train(AFM, (5, 6), device, np.float32, p) for p in (0.5, 0.5, 0.0))
        same, error = bool(torch.equal(first, second)), float((first - second).abs().max())
        right = error < BOUNDS["float32"] and not torch.allclose(first, without, atol=1e-3)
        report("check", what="dropout", pairs=pairs, same_bits=same, largest_difference=error, right=right)


def check(report, device, *, dry):
    """Report all checks."""
    cases = [([0, 1, 2, 10, 13, 64], 37, 33), ([10] * 64, 256, 256)]
    for name in ("float32", "tf32") if dry else ("float32", "tf32", "bfloat16"):  # the interpreter has no bfloat16
        for lengths, k, t in [([0, 1, 2, 6], 5, 7)] if dry else cases:
            check_pairs(report, device, lengths, k, t, name)
    check_training(report, device)
    check_dropout(report, device)
