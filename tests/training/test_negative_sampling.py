"""Items of negative rows: how often each is drawn, and which rows they make."""

import numpy as np
import pytest
import torch
from scipy import sparse

from skafm._training import negative_sampling
from skafm._training.batching import CSRRows, Dataset
from skafm._training.negative_sampling import ImplicitRows, KnownItems, NegativeSampler
from skafm._training.ranking_losses import softmax

PROBABILITY = np.array([4.0, 1.0, 3.0, 2.0, 0.5])
KNOWN = KnownItems(np.array([0, 0, 1, 2, 2, 2, 2]), np.array([0, 2, 1, 0, 1, 2, 3]), 5)
"""Query 0 knows items 0 and 2, query 1 item 1, query 2 all but the rarest."""


def chances(query, known):
    """Return the probabilities of the items of a query."""
    chance = np.where(known.contains(np.full(5, query), np.arange(5)), 0, PROBABILITY) if known else PROBABILITY
    return chance / chance.sum()


@pytest.mark.parametrize("rounds", [0, 1, 20])
@pytest.mark.parametrize("query", [0, 1, 2])
@pytest.mark.parametrize("known", [None, KNOWN], ids=["all", "not known"])
def test_items_are_drawn_by_their_probabilities(known, query, rounds, monkeypatch):
    monkeypatch.setattr(negative_sampling, "_MAX_ROUNDS", rounds)
    n, expected = 20_000, chances(query, known)
    drawn = NegativeSampler(PROBABILITY, known, np.random.default_rng(0)).draw(np.full(n, query))
    counts = np.bincount(drawn, minlength=5)
    assert not counts[expected == 0].any()
    np.testing.assert_allclose(counts / n, expected, atol=4 * np.sqrt(0.25 / n))


def test_draws_do_not_depend_on_how_many_are_left_at_once(monkeypatch):
    monkeypatch.setattr(negative_sampling, "_MAX_ROUNDS", 0)
    query = np.tile([0, 1, 2], 100)
    draws = []
    for chunk in (1, 2**24):
        monkeypatch.setattr(negative_sampling, "_CHUNK", chunk)
        draws.append(NegativeSampler(PROBABILITY, KNOWN, np.random.default_rng(0)).draw(query))
    assert np.array_equal(*draws)


def rows(*, correct=False, n_negatives=3):
    """Return three observed rows: two columns of contexts, and two of items, the second a feature."""
    contexts = sparse.csr_array([[1.0, 0, 0, 0], [0, 2, 0, 0], [1, 1, 0, 0]])
    items = sparse.csr_array([[0.0, 0, 1, 0], [0, 0, 2, 5], [0, 0, 3, 0], [0, 0, 4, 7], [0, 0, 0, 6]])
    sampler = NegativeSampler(PROBABILITY, KNOWN, np.random.default_rng(0))
    return ImplicitRows(
        contexts, items, np.array([2, 1, 3]), np.array([0, 1, 2]), n_negatives, sampler, correct=correct
    )


def test_negative_rows_follow_the_observed_one_with_its_context_and_other_items():
    each = rows()
    item = each.draw()
    assert item[::4].tolist() == [2, 1, 3]
    assert not KNOWN.contains(np.repeat([0, 1, 2], 3), item.reshape(3, 4)[:, 1:].ravel()).any()
    found = each.matrix(item).toarray()
    np.testing.assert_array_equal(found[:, :2], np.repeat(each.contexts.toarray()[:, :2], 4, axis=0))
    np.testing.assert_array_equal(found[:, 2:], each.items.toarray()[item, 2:])


def dataset(each):
    item = each.draw()
    target = torch.tensor(np.column_stack([np.tile([1.0, 0, 0, 0], 3), np.repeat([0.0, 1, 2], 4), np.ones(12)]))
    return Dataset(CSRRows.from_scipy(each.matrix(item), torch.device("cpu")), target, None)


def test_each_epoch_has_other_negative_rows():
    each = rows()
    first = dataset(each)
    second = each.renew(first)
    third = each.renew(second)
    assert len(first.rows) == len(second.rows) == len(third.rows) == 12
    values = [data.rows.slice(0, 12).values.tolist() for data in (first, second, third)]
    assert values[0] != values[1] != values[2]
    assert torch.equal(third.target, first.target)


def test_weights_correct_for_how_often_items_are_drawn():
    each = rows(correct=True)
    found = each.renew(dataset(each))
    batch = found.rows.slice(0, 12)
    dense = sparse.csr_array((batch.values.numpy(), batch.indices.numpy(), batch.offsets.numpy()), (12, 4)).toarray()
    item = [next(i for i in range(5) if np.array_equal(each.items.toarray()[i, 2:], row[2:])) for row in dense]
    np.testing.assert_allclose(found.target[:, 2], 1 / PROBABILITY[item])


def test_corrected_softmax_of_many_draws_is_that_of_all_items():
    score, rng = torch.tensor([0.3, -1.0, 0.7, 0.1, 2.0], dtype=torch.float64), np.random.default_rng(0)
    drawn = NegativeSampler(PROBABILITY, None, rng).draw(np.zeros(50_000, np.int64))
    item = np.r_[2, drawn]
    weight, relevance = torch.tensor(1 / PROBABILITY[item]), torch.zeros(len(item), dtype=torch.float64)
    relevance[0] = 1.0
    raw = score[item].requires_grad_()
    loss = softmax(raw, relevance, torch.zeros(len(item), dtype=torch.int64), weight)
    slope = torch.autograd.grad(loss.sum(), raw)[0]
    found = np.bincount(item, slope.numpy(), minlength=5)  # of the item's score
    expected = score.softmax(0).numpy() - np.eye(5)[2]
    np.testing.assert_allclose(found, expected, atol=0.02)
