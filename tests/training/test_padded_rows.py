"""Batches are padded to a few lengths, which does not change what is in them."""

import numpy as np
import pytest
import torch
from waits import Waits

from skafm._options import EXPERIMENTAL_CUDA
from skafm._training.batching import CSRRows
from skafm._training.padded_rows import PaddedRows


def rows_of(lengths, n_features=20, ones=False):
    """Return rows of these numbers of entries, of values that tell the features."""
    X = np.zeros((len(lengths), n_features))
    for number, length in enumerate(lengths):
        X[number, number % 3 : number % 3 + length] = 1 if ones else 10 + np.arange(length)
    return CSRRows.from_scipy(X, torch.device("cpu"))


@pytest.fixture
def experimental(monkeypatch):
    """Turn on what is not measured."""
    monkeypatch.setenv(EXPERIMENTAL_CUDA, "1")


ONE_LONG = [3] * 400 + [17]


def test_rows_are_padded_to_the_longest_by_default():
    assert PaddedRows.of(rows_of([3, 4, 4, 5] * 3), 4).lengths == [5]


def test_many_short_rows_do_not_suit_by_default():
    assert PaddedRows.of(rows_of(ONE_LONG), 8) is None


@pytest.mark.usefixtures("experimental")
@pytest.mark.parametrize(
    ("lengths", "batch_size", "expected"),
    [
        (ONE_LONG, 8, [3, 5, 9, 17]),
        (ONE_LONG, 400, None),  # every batch has the longest row
        ([1, 0, 1], 2, None),  # no pairs
        ([3, 3, 0, 0], 2, None),  # a batch may be empty
        ([3, 3, 0, 3], 2, [2, 3]),
        ([2, 2], 2, [2]),
    ],
)
def test_lengths_are_few_where_it_is_asked_for(lengths, batch_size, expected):
    found = PaddedRows.of(rows_of(lengths), batch_size)
    assert (None if found is None else found.lengths) == expected


def test_batch_has_the_shortest_length_that_its_rows_fit():
    padded = PaddedRows(rows_of([1, 2, 5, 3, 4, 0]), [2, 4, 5])
    assert padded.lengths_of(torch.tensor([0, 1, 3, 5, 4, 2]), [2, 2, 2]) == [2, 4, 5]


def test_lengths_of_an_epoch_take_one_wait():
    padded = PaddedRows(rows_of([1, 2, 5, 3, 4, 0]), [2, 4, 5])
    with Waits() as waits:
        padded.lengths_of(torch.arange(6), [2, 2, 2])
    assert waits.seen == ["repeat_interleave"]  # of numbers that the host has; and the lengths, as a list


@pytest.mark.parametrize("ones", [False, True])
def test_padded_batch_has_the_entries_of_its_rows(ones):
    rows = rows_of([3, 1, 2, 0, 0], ones=ones)
    padded, numbers = PaddedRows(rows, [2, 4]), torch.tensor([3, 2, 0, 4])
    with Waits() as waits:
        indices, values = padded.take(numbers, 4)
    assert waits.seen == []
    dense = torch.zeros(4, 20, dtype=torch.float64).scatter_add_(1, indices.long(), values)
    batch = rows.take(numbers)
    entry_rows = torch.arange(4).repeat_interleave(batch.offsets.diff())
    expected = torch.zeros(4, 20, dtype=torch.float64)
    expected[entry_rows, batch.indices.long()] = 1.0 if batch.values is None else batch.values
    assert torch.equal(dense, expected)
    assert set(indices.unique().tolist()) == set(batch.indices.tolist())  # padding brings no other feature


def test_rows_of_one_length_are_views():
    rows = rows_of([3, 3, 3])
    indices, values = PaddedRows(rows, [3]).take(torch.tensor([2, 0]), 3)
    assert indices.tolist() == [[2, 3, 4], [0, 1, 2]]
    assert values.tolist() == [[10, 11, 12], [10, 11, 12]]
