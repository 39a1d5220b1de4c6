"""Batches and parameters of attention over pairs, for the tests of ``skafm.nn._pairs``."""

import numpy as np
import torch

from skafm.nn import functional

LENGTHS = {
    "uniform": [10] * 50,
    "ragged": [0, 1, 5, 2, 30, 0, 3, 1, 12, 7, 40, 0],
    "without a pair": [0, 1, 1, 0],
    "no row": [],
    "one row": [3],
}
VALUES = {
    "one-hot": lambda _rng, n: np.ones(n),
    "few levels": lambda rng, n: rng.choice([-1.0, 0.5, 1.0], n),
    "real-valued": lambda rng, n: rng.normal(size=n),
}


def draw_batch(lengths, values, n_features=45, seed=0):
    """Return rows of these lengths as indices, values and offsets."""
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.permutation(n_features)[:length]) for length in lengths]
    indices = np.concatenate([*rows, []]).astype(np.int64)
    offsets = np.r_[0, np.cumsum(lengths, dtype=np.int64)]
    return torch.from_numpy(indices), torch.from_numpy(values(rng, len(indices))), torch.from_numpy(offsets)


def draw_parameters(k=7, t=5, n_features=45, dtype=torch.float64, outputs=()):
    """Return V, W, b, h and p."""
    rng = np.random.default_rng(1)
    shapes = [(n_features, k), (t, k), (t,), (t,), (*outputs, k)]
    return [torch.tensor(0.7 * rng.normal(size=shape), dtype=dtype, requires_grad=True) for shape in shapes]


def draw_mask(lengths, k, dtype=torch.float64):
    """Return a dropout mask."""
    shape, generator = (len(lengths), k), torch.Generator().manual_seed(0)
    return functional.dropout_mask(shape, 0.3, generator, torch.empty(0, dtype=dtype))
