"""Feature importances: the sample of rows and outputs, and what ranks have in common."""

import numpy as np
import pytest
import torch
from conftest import ragged_matrix
from scipy import sparse

from skafm._training import importance
from skafm._training.batching import CSRRows, Dataset
from skafm._training.collectives import SingleProcess
from skafm.nn import FM

CPU = torch.device("cpu")


class Twins(SingleProcess):
    """Two ranks with the same rows."""

    def all_gather(self, value):
        return [value, value]


def dataset(rows, group=None, weight=None):
    """Return rows as a data set; importances do not depend on the targets."""
    rows = CSRRows.from_scipy(sparse.csr_array(rows), CPU)
    weight = None if weight is None else torch.tensor(weight)
    return Dataset(rows, torch.zeros(len(rows)), weight, group or SingleProcess())


def model(n_outputs=None):
    generator = torch.Generator().manual_seed(0)
    made = FM(9, 4, n_outputs, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(generator=generator)
    return made


def importances(data, n_outputs=None, scale=1.0, seed=0):
    return importance.feature_importances(model(n_outputs), data, scale, torch.Generator().manual_seed(seed), 2**30)


def test_importances_equal_a_sum_by_hand():
    w, V = (p.detach().numpy() for p in (model().linear.weight, model().factors))
    rows = np.zeros((2, 9))
    rows[0, [1, 4]], rows[1, [4]] = (2.0, -1.0), (3.0,)
    pair = V[1] @ V[4] * 2.0 * -1.0
    expected = np.zeros(9)
    expected[1] = abs(2.0 * w[1] + pair) / 4
    expected[4] = (abs(-1.0 * w[4] + pair) + 3 * abs(3.0 * w[4])) / 4
    np.testing.assert_allclose(importances(dataset(rows, weight=[1.0, 3.0])), expected, rtol=1e-12)


@pytest.mark.parametrize("n_outputs", [None, 3])
def test_rows_without_an_entry_give_zeros(n_outputs):
    assert importances(dataset(np.zeros((4, 9))), n_outputs).tolist() == [0.0] * 9


def test_each_output_has_its_unit():
    X, scale = ragged_matrix(), np.array([1.0, 10.0, 0.0])
    raw = lambda rows: model(3)(*dataset(rows).rows.slice(0, len(X))).detach().numpy()  # noqa: E731
    removals = np.array([raw(X) - raw(X * (np.arange(9) != i)) for i in range(9)])  # (9, 60, 3)
    expected = (abs(removals) * scale).mean((1, 2))
    np.testing.assert_allclose(importances(dataset(X), 3, scale), expected, rtol=1e-10)


@pytest.mark.parametrize("n_outputs", [None, 3])
def test_sample_has_few_entries_and_the_expectation_of_all(n_outputs, monkeypatch):
    data = dataset(ragged_matrix(), weight=np.linspace(0.5, 1.5, 60))
    expected, taken, take = importances(data, n_outputs), [], data.rows.take
    monkeypatch.setattr(importance, "_MAX_ENTRIES", 100)
    monkeypatch.setattr(data.rows, "take", lambda rows: taken.append(take(rows)) or taken[-1])
    samples = [importances(data, n_outputs, seed=seed) for seed in range(1000)]
    assert np.mean([len(batch.indices) for batch in taken]) == pytest.approx(100, rel=0.1)
    error = np.std(samples, axis=0) / len(samples) ** 0.5
    assert (abs(np.mean(samples, axis=0) - expected) < 5 * error + 0.01 * expected).all()  # a ratio has a little bias


def test_all_rows_are_taken_up_to_the_limit(monkeypatch):
    data = dataset(ragged_matrix())
    expected = importances(data, seed=0)
    monkeypatch.setattr(importance, "_MAX_ENTRIES", len(data.rows.indices))
    assert np.array_equal(importances(data, seed=1), expected)
    monkeypatch.setattr(importance, "_MAX_ENTRIES", len(data.rows.indices) - 1)
    assert not np.allclose(importances(data, seed=1), expected)


def test_ranks_share_the_limit_and_the_mean(monkeypatch):
    rows = ragged_matrix()
    one, two = dataset(rows), dataset(rows, Twins())
    np.testing.assert_allclose(importances(two), importances(one), rtol=1e-12)
    taken, take = [], two.rows.take
    monkeypatch.setattr(two.rows, "take", lambda drawn: taken.append(len(drawn)) or take(drawn))
    monkeypatch.setattr(importance, "_MAX_ENTRIES", len(two.rows.indices))
    importances(two)
    assert taken == [30]


def test_a_rank_draws_a_row_at_least(monkeypatch):
    monkeypatch.setattr(importance, "_MAX_ENTRIES", 1)
    assert np.isfinite(importances(dataset(ragged_matrix()))).all()


@pytest.mark.parametrize("limit", [100, 2**16])
def test_tensors_are_created_on_the_device_of_the_rows(limit, monkeypatch):
    monkeypatch.setattr(importance, "_MAX_ENTRIES", limit)
    made, data, generator = model(3), dataset(ragged_matrix()), torch.Generator().manual_seed(0)
    expected = importances(data, 3)
    with torch.device("meta"):  # where a tensor goes that is given no device; it has no data to compute with
        found = importance.feature_importances(made, data, 1.0, generator, 2**30)
    assert np.array_equal(found, expected)
