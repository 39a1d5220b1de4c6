"""Which rows are in which batch of an epoch."""

import numpy as np
import pytest
import torch

from skafm._training.batching import CSRRows, Dataset
from skafm._training.collectives import SingleProcess
from skafm._training.epoch_batches import make_batches


class OneOfTwo(SingleProcess):
    """A rank beside another one, whose batches have ``other`` rows each."""

    def __init__(self, n, other):
        self.n, self.other = n, other

    def all_gather(self, value):
        return [value, [self.other] * len(value) if isinstance(value, list) else self.n]


def dataset(query, group=None):
    query = torch.as_tensor(query)
    rows = CSRRows.from_scipy(np.ones((len(query), 1)), torch.device("cpu"))
    options = {} if group is None else {"group": group}
    return Dataset(rows, torch.zeros(len(query), 3), None, query=query, **options)


def draw(query, batch_size, *, shuffle=True, seed=0, group=None):
    """Return the rows of each batch of an epoch."""
    batches = make_batches(dataset(query, group), batch_size, shuffle=shuffle)
    order, sizes = batches.draw(torch.Generator().manual_seed(seed))
    assert max(own for own, _ in sizes) <= batches.most_rows
    assert len(sizes) == batches.n_steps
    return [each.tolist() for each in torch.split(order, [own for own, _ in sizes])]


QUERY = np.random.default_rng(0).permutation(np.repeat(np.arange(40), np.arange(40) % 7 + 1))


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_have_every_row_once(shuffle):
    rows = np.concatenate(draw(QUERY, 10, shuffle=shuffle))
    assert sorted(rows) == list(range(len(QUERY)))


@pytest.mark.parametrize("shuffle", [True, False])
def test_query_is_in_one_batch(shuffle):
    batches = [set(QUERY[rows]) for rows in draw(QUERY, 10, shuffle=shuffle)]
    assert sum(map(len, batches)) == 40


def test_batches_have_about_as_many_rows_as_they_should():
    sizes = [len(rows) for rows in draw(QUERY, 20)]
    assert np.mean(sizes) == pytest.approx(20, rel=0.1)
    assert max(sizes) <= 20 + 7


def test_query_longer_than_a_batch_is_not_cut():
    query = np.repeat([0, 1, 2, 3], [3, 50, 2, 5])
    (long,) = (rows for rows in draw(query, 10) if 1 in query[rows])
    assert set(np.flatnonzero(query == 1)) <= set(long)


def test_each_epoch_has_other_batches_and_another_order_in_a_query():
    first, second = draw(QUERY, 10), draw(QUERY, 10, seed=1)
    assert [set(QUERY[rows]) for rows in first] != [set(QUERY[rows]) for rows in second]
    orders = [[row for rows in epoch for row in rows if QUERY[row] == 6] for epoch in (first, second)]
    assert orders[0] != orders[1]


def test_batches_of_queries_without_shuffle_are_in_the_order_of_the_queries():
    rows = np.concatenate(draw(QUERY, 10, shuffle=False)).tolist()
    assert rows == sorted(range(len(QUERY)), key=lambda row: (QUERY[row], row))


def test_ranks_take_as_many_steps_and_know_the_rows_of_all():
    group = OneOfTwo(n=100, other=6)
    batches = make_batches(dataset(QUERY, group), 10, shuffle=True)
    _, sizes = batches.draw(torch.Generator().manual_seed(0))
    assert len(sizes) == -(-(len(QUERY) + 100) // 10)
    assert all(total == own + 6 for own, total in sizes)
