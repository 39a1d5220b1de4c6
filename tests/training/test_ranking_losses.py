"""Losses of whole queries: by hand, by loops, and what holds of every one."""

import math
from collections import defaultdict
from itertools import product

import numpy as np
import pytest
import torch

from skafm._training import ranking_losses
from skafm._training.ranking_losses import RANKING_LOSSES, lambdarank, make_ranking_loss, pairwise, softmax

every = pytest.mark.parametrize("name", RANKING_LOSSES)
over_pairs = pytest.mark.parametrize("name", ["pairwise", "lambdarank"])


def double(values):
    return torch.tensor(np.asarray(values, np.float64))


def draw(sizes=(1, 7, 2, 12, 5), seed=0):
    """Return raw scores, relevance, query and weight of rows in any order."""
    rng = np.random.default_rng(seed)
    query = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(query)
    relevance = rng.integers(0, 4, n).astype(float)
    relevance[query == 2] = 1.0  # one grade
    return double(rng.normal(size=n)), double(relevance), torch.tensor(query), double(rng.uniform(0.5, 2.0, n))


def slow(name, raw, relevance, query, weight, k=None):
    """Return the loss of each query by loops, as a function of the raw scores."""
    rows = defaultdict(list)
    for row, q in enumerate(query.tolist()):
        rows[q].append(row)
    return torch.stack([slow_query(name, raw, relevance, weight, rows[q], k) for q in sorted(rows)])


def slow_query(name, raw, y, c, rows, k):
    if name == "softmax":
        partition = sum(c[j] * raw[j].exp() for j in rows)
        gain = sum(c[j] * y[j] for j in rows)
        return sum(-c[i] * y[i] / gain * (raw[i].exp() / partition).log() for i in rows) if gain else raw.sum() * 0
    scores = raw.tolist()
    ranks = {row: 1 + sum(scores[other] > scores[row] for other in rows) for row in rows}
    discount = {row: 1 / math.log2(1 + rank) if k is None or rank <= k else 0 for row, rank in ranks.items()}
    total, norm = raw.sum() * 0, 0.0
    for i, j in product(rows, rows):
        if y[i] > y[j]:
            weight = float(c[i] * c[j])
            if name == "lambdarank":
                weight *= float(y[i] - y[j]) * abs(discount[i] - discount[j])
            total = total + weight * (1 + (raw[j] - raw[i]).exp()).log()
            norm += weight
    return total / norm if norm else total


# --- values -----------------------------------------------------------------------------------------------------------


def test_pairwise_loss_of_a_query_by_hand():
    raw, relevance = double([0.0, 1.0, 0.0]), double([1, 0, 0])
    found = pairwise(raw, relevance, torch.zeros(3, dtype=torch.int64), double([1, 1, 3]))
    assert float(found) == pytest.approx((math.log(1 + math.e) + 3 * math.log(2)) / 4)


def test_softmax_loss_of_a_query_by_hand():
    found = softmax(
        double([0.0, 0.0, math.log(2)]), double([1, 0, 3]), torch.zeros(3, dtype=torch.int64), torch.ones(3)
    )
    assert float(found) == pytest.approx(0.25 * math.log(4) + 0.75 * math.log(2))


def test_lambdarank_loss_of_a_query_by_hand():
    relevance, query = double([2, 0, 1]), torch.zeros(3, dtype=torch.int64)
    found = lambdarank(double([1.0, 3.0, 2.0]), relevance, query, torch.ones(3))  # ranks 3, 1, 2
    d = [1 / math.log2(1 + rank) for rank in (3, 1, 2)]
    weights = {(0, 1): 2 * (d[1] - d[0]), (0, 2): d[2] - d[0], (2, 1): d[1] - d[2]}
    losses = {(0, 1): math.log(1 + math.exp(2)), (0, 2): math.log(1 + math.e), (2, 1): math.log(1 + math.e)}
    assert float(found) == pytest.approx(sum(weights[p] * losses[p] for p in weights) / sum(weights.values()))


def test_pairwise_loss_of_two_rows_is_that_of_bpr():
    positive, negative = torch.tensor(0.7), torch.tensor(-0.2)
    query, both = torch.zeros(2, dtype=torch.int64), torch.stack([negative, positive])
    expected = -torch.log(torch.sigmoid(positive - negative))
    torch.testing.assert_close(pairwise(both, torch.tensor([0.0, 1.0]), query, torch.ones(2))[0], expected)


@every
def test_ranking_losses_equal_the_loops(name):
    data = draw()
    torch.testing.assert_close(RANKING_LOSSES[name](*data), slow(name, *data), rtol=1e-10, atol=1e-12)


def test_lambdarank_at_k_equals_the_loops():
    data = draw()
    torch.testing.assert_close(lambdarank(*data, k=3), slow("lambdarank", *data, k=3), rtol=1e-10, atol=1e-12)


@every
def test_slopes_of_ranking_losses_are_those_of_the_loops(name):
    raw, *rest = draw()
    raw.requires_grad_()
    shares = double([0.3, 1.0, 2.0, 0.7, -1.0])  # of the queries in an objective
    found, expected = (
        torch.autograd.grad(shares @ losses, raw)[0]
        for losses in (RANKING_LOSSES[name](raw, *rest), slow(name, raw, *rest))
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("function", [pairwise, softmax])
def test_slopes_are_those_of_finite_differences(function):
    raw, *rest = draw((4, 5))
    assert torch.autograd.gradcheck(lambda each: function(each, *rest), raw.requires_grad_())


# --- what holds of each -----------------------------------------------------------------------------------------------


@every
def test_order_of_rows_does_not_matter(name):
    data, order = draw(), torch.randperm(27, generator=torch.Generator().manual_seed(0))
    found = RANKING_LOSSES[name](*(each[order] for each in data))
    torch.testing.assert_close(found, RANKING_LOSSES[name](*data), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("function", [pairwise, softmax])
def test_row_of_weight_two_counts_as_two_rows(function):
    raw, relevance, query, _ = draw()
    weight = 1.0 + (torch.arange(len(raw)) % 3 == 0)
    rows = torch.arange(len(raw)).repeat_interleave(weight.long())
    repeated = function(raw[rows], relevance[rows], query[rows], torch.ones(len(rows), dtype=torch.float64))
    torch.testing.assert_close(repeated, function(raw, relevance, query, weight.double()), rtol=1e-10, atol=1e-12)


@every
def test_what_all_scores_of_a_query_are_moved_by_does_not_matter(name):
    raw, relevance, query, weight = draw()
    moved = RANKING_LOSSES[name](raw + 1000.0 * query, relevance, query, weight)
    torch.testing.assert_close(moved, RANKING_LOSSES[name](raw, relevance, query, weight), rtol=1e-9, atol=1e-9)


@over_pairs
def test_query_of_one_grade_has_neither_loss_nor_slope(name):
    raw, _, query, weight = draw((3, 4))
    losses = RANKING_LOSSES[name](raw.requires_grad_(), torch.ones(7, dtype=torch.float64), query, weight)
    assert losses.tolist() == [0, 0]
    assert not torch.autograd.grad(losses.sum(), raw)[0].any()


@every
@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_large_scores_give_finite_losses_and_slopes(name, scale):
    raw, relevance, query, weight = (each.float() if each.is_floating_point() else each for each in draw())
    raw = (scale * raw).requires_grad_()
    losses = RANKING_LOSSES[name](raw, relevance, query, weight)
    assert losses.isfinite().all()
    assert torch.autograd.grad(losses.sum(), raw)[0].isfinite().all()


@every
def test_loss_of_a_row_is_that_of_its_query(name):
    raw, relevance, query, weight = draw()
    numbers = double([40, 7, 300, 5, 6])[query]
    losses = make_ranking_loss(name)(raw, torch.stack([relevance, numbers, weight], 1))
    torch.testing.assert_close(losses, RANKING_LOSSES[name](raw, relevance, query, weight)[query], rtol=1e-12, atol=0)


@every
def test_no_rows_have_no_losses(name):
    assert make_ranking_loss(name)(torch.zeros(0), torch.zeros(0, 3)).shape == (0,)


# --- bounded memory ---------------------------------------------------------------------------------------------------


@over_pairs
def test_losses_do_not_depend_on_how_many_pairs_are_computed_at_once(name, monkeypatch):
    data = draw()
    expected = RANKING_LOSSES[name](*data)
    monkeypatch.setattr(ranking_losses, "_CHUNK", 7)
    torch.testing.assert_close(RANKING_LOSSES[name](*data), expected, rtol=1e-12, atol=1e-12)


def test_rows_of_a_long_query_are_compared_within_parts(monkeypatch):
    monkeypatch.setattr(ranking_losses, "PART", 10)
    raw, relevance, query, weight = draw((95, 6))
    compared = []

    def record(i, j):
        compared.append(torch.stack([i, j]))
        return weight[i] * weight[j]

    ranking_losses._mean_over_pairs(raw, relevance, query, record)
    i, j = torch.cat(compared, 1)
    long = query[i] == 0
    opponents = torch.cat([i[long], j[long]]).bincount(minlength=101)[query == 0]
    assert opponents.max() <= 9
    assert opponents.min() >= 4  # of every grade there are rows in every part
    assert len(i[~long]) == sum(
        relevance[a] > relevance[b] for a in (query == 1).nonzero() for b in (query == 1).nonzero()
    )


def test_time_and_memory_of_a_long_query_are_linear_in_its_rows(monkeypatch):
    n, seen = 30_000, []
    split = ranking_losses.split_costs
    monkeypatch.setattr(ranking_losses, "split_costs", lambda counts, most: seen.append(counts) or split(counts, most))
    relevance = (torch.arange(n) % 300 == 0).float()
    pairwise(torch.zeros(n), relevance, torch.zeros(n, dtype=torch.int64), torch.ones(n))
    assert int(seen[0].max()) <= ranking_losses.PART
    assert int(seen[0].sum()) <= n * ranking_losses.PART // 4
