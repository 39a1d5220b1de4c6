"""Rows of a CSR matrix on the device, batches of them, and their features."""

import numpy as np
import pytest
import torch
from conftest import ragged_matrix
from scipy import sparse

from skafm._training.batching import Batch, CSRRows, compact_features, split_batch

CPU = torch.device("cpu")


def dense(batch, n_features):
    values = torch.ones(len(batch.indices)) if batch.values is None else batch.values
    X = torch.zeros(len(batch.offsets) - 1, n_features, dtype=values.dtype)
    for row, (start, stop) in enumerate(zip(batch.offsets[:-1], batch.offsets[1:], strict=True)):
        X[row, batch.indices[start:stop].long()] = values[start:stop]
    return X.numpy()


def test_take_returns_the_rows_in_the_given_order():
    X = ragged_matrix(25)
    chosen = torch.tensor([7, 0, 24, 7, 3])
    assert np.array_equal(dense(CSRRows.from_scipy(X, CPU).take(chosen), 9), X[chosen])


@pytest.mark.parametrize(("start", "stop"), [(0, 25), (3, 11), (0, 1), (10, 11)])
def test_slice_returns_the_rows(start, stop):
    X = ragged_matrix(25)
    assert np.array_equal(dense(CSRRows.from_scipy(X, CPU).slice(start, stop), 9), X[start:stop])


def test_slice_shares_the_memory_of_X():
    X = sparse.csr_array(ragged_matrix(25))
    batch = CSRRows.from_scipy(X, CPU).slice(0, 25)
    assert batch.values.data_ptr() == X.data.ctypes.data
    assert batch.indices.data_ptr() == X.indices.ctypes.data


def test_duplicates_are_summed_and_zeros_dropped():
    X = sparse.csr_matrix(([1.0, 0.0, 2.0, 5.0, -5.0], [2, 0, 2, 1, 1], [0, 3, 5]), shape=(2, 3))
    rows = CSRRows.from_scipy(X, CPU)
    assert rows.indices.tolist() == [2]
    assert rows.values.tolist() == [3.0]
    assert rows.indptr.tolist() == [0, 1, 1]


def test_take_of_equally_long_rows():
    X = sparse.csr_array(np.eye(7)[np.arange(20) % 7] + np.eye(7)[np.arange(20) % 5])
    X = X[np.diff(X.indptr) == 2]
    rows = CSRRows.from_scipy(X, CPU)
    assert rows.row_length == 2
    chosen = torch.tensor([5, 0, 5, 3])
    assert np.array_equal(dense(rows.take(chosen), 7), X.toarray()[chosen])


@pytest.mark.parametrize(
    ("n_rows", "n_features", "path"),
    [(25, 9, "_by_sorting"), (3000, 9, "_by_counting"), (3000, 100_000, "_by_sorting")],
    ids=["few entries", "more entries than features", "more features than entries"],
)
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("integer", [np.int32, np.int64])
def test_compact_features_renumbers_the_features(n_rows, n_features, path, binary, integer, monkeypatch):
    X = ragged_matrix(n_rows)
    X[:, [2, 5]] = 0
    csr = sparse.csr_array((X != 0).astype(float) if binary else X)
    csr.indices, csr.indptr = csr.indices.astype(integer), csr.indptr.astype(integer)
    batch = CSRRows.from_scipy(csr, CPU).slice(0, n_rows)
    for other in {"_by_sorting", "_by_counting"} - {path}:
        monkeypatch.delattr(f"skafm._training.batching.{other}")
    features, compact, (rows, values, offsets) = compact_features(batch, n_features)
    assert (values is None) is (compact.values is None) is binary
    assert features.tolist() == [0, 1, 3, 4, 6, 7, 8]
    assert torch.equal(features[compact.indices], batch.indices.long())
    assert compact.offsets.dtype == compact.indices.dtype  # or embedding_bag converts one of them in each call
    assert np.array_equal(dense(Batch(rows, values, offsets), n_rows), csr.toarray().T[features])


@pytest.mark.parametrize("budget", [1, 10, 25, 1000])
def test_split_keeps_within_the_budget_and_loses_no_row(budget):
    X = ragged_matrix(25)
    batch = CSRRows.from_scipy(X, CPU).slice(0, 25)
    costs = batch.offsets.diff() + 1
    parts = list(split_batch(batch, costs, budget))
    assert all(int(costs[rows].sum()) <= budget or rows.stop - rows.start == 1 for rows, _ in parts)
    assert [rows.start for rows, _ in parts[1:]] == [rows.stop for rows, _ in parts[:-1]]
    assert np.array_equal(np.vstack([dense(part, 9) for _, part in parts]), X)


def test_split_returns_a_batch_within_the_budget_itself():
    batch = CSRRows.from_scipy(ragged_matrix(25), CPU).slice(0, 25)
    ((rows, part),) = split_batch(batch, torch.ones(25), 25)
    assert rows == slice(0, 25)
    assert part is batch
