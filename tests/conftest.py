"""Data that several tests share."""

import os
from importlib.metadata import version
from importlib.util import find_spec

if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: more threads would wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import is_classifier

pytest.register_assert_rewrite(
    *(
        f"contract_{part}"
        for part in ("common", "explain", "fit", "importance", "loss", "module", "predict", "recommend", "store")
    )
)
if not torch.cuda.is_available():  # Triton then interprets its kernels, if it knows before its import
    os.environ.setdefault("TRITON_INTERPRET", "1")
_triton = [int(part) for part in version("triton").split(".")[:2]] if find_spec("triton") else [0, 0]
_interprets = _triton >= [3, 9] and not torch.cuda.is_available()  # earlier interpreters fail with NumPy 2.4
interpreted = pytest.mark.skipif(not _interprets, reason="needs the interpreter of Triton 3.9")
with_triton = (
    interpreted if not torch.cuda.is_available() else pytest.mark.skipif(_triton == [0, 0], reason="no Triton")
)
_needs_cuda = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="has no CUDA")]
on_each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=_needs_cuda)])


def cuda(test):
    """Run a test where there is a CUDA device."""
    for mark in _needs_cuda:
        test = mark(test)
    return test


def ragged_matrix(n_samples=60, n_features=9, dtype=np.float64, seed=0):
    """Return a dense matrix whose rows have 0, 1, 2, ... entries, real-valued and negative."""
    rng = np.random.default_rng(seed)
    X = np.zeros((n_samples, n_features), dtype)
    for row in range(n_samples):
        features = rng.choice(n_features, size=row % (n_features + 1), replace=False)
        X[row, features] = rng.normal(size=len(features))
    return X


@pytest.fixture
def ragged():
    """X (60, 9) of ragged real-valued rows, and a y with interactions."""
    X = ragged_matrix()
    y = X[:, 0] - 2 * X[:, 1] * X[:, 2] + X[:, 3] * X[:, 4] + 0.5
    return X, y


@pytest.fixture
def batch():
    """Ragged rows of 0 to 9 entries: dense, and as (indices, values, offsets)."""
    X = ragged_matrix(n_samples=20)
    csr = sparse.csr_array(X)
    return X, (torch.from_numpy(csr.indices).long(), torch.from_numpy(csr.data), torch.from_numpy(csr.indptr).long())


@pytest.fixture
def xor():
    """One-hot XOR of two binary fields, which no linear model can see."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, size=(400, 2))
    X = sparse.csr_array(np.hstack([bits, 1 - bits]).astype(np.float64))
    return X, (bits[:, 0] ^ bits[:, 1]).astype(np.float64)


@pytest.fixture
def data():
    """Return a function that gives 400 one-hot rows of three fields, and targets for the task of an estimator."""
    rng = np.random.default_rng(0)
    fields = rng.integers(0, 5, size=(400, 3))
    X = np.hstack([np.eye(5)[column] for column in fields.T])
    y = rng.normal(size=(5, 5))[fields[:, 0], fields[:, 1]] + rng.normal(size=400)
    return lambda Estimator: (X, (y > 0.5).astype(int) if is_classifier(Estimator()) else y)


@pytest.fixture
def no_window():
    """Draw without a window, and close all figures."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = pyplot.get_backend()
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")
    pyplot.switch_backend(before)
