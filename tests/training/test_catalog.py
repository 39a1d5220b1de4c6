"""Softmax over all items of a catalog: scores, the objective of a step, known items, ranks."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.func import functional_call

from skafm._training.batching import CSRRows, Dataset
from skafm._training.catalog import CompetingItems
from skafm._training.loop import catalog_losses, compute_step
from skafm._training.losses import Objective, log_loss
from skafm._training.negative_sampling import KnownItems
from skafm._training.ranking_losses import rank_gain
from skafm.metrics import average_precision_at_k, hit_rate_at_k, ndcg_at_k, recall_at_k, reciprocal_rank_at_k
from skafm.nn import FM

N, ITEMS, FEATURES = 6, 4, 9
PENALTIES = {"linear.weight": 0.3, "factors": 0.2}
GROUP, ITEM = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 3, 1, 1, 2, 0])


@pytest.fixture
def model():
    module = FM(FEATURES, 3, dtype=torch.float64)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return module


@pytest.fixture
def rows():
    """Contexts in five columns, items in four, all with values other than 1, one of each empty."""
    rng = np.random.default_rng(0)
    X = [rng.integers(0, 2, shape) * rng.normal(size=shape) for shape in ((N, 5), (ITEMS, 4))]
    X[0][1], X[1][2] = 0, 0
    contexts, items = np.hstack([X[0], np.zeros((N, 4))]), np.hstack([np.zeros((ITEMS, 5)), X[1]])
    return sparse.csr_array(contexts), sparse.csr_array(items)


def dataset(rows, *, known=True, weight=None):
    known = KnownItems(GROUP, ITEM, ITEMS) if known else None
    all_items = CompetingItems(*rows, ITEM, GROUP, known)
    own = CSRRows.from_scipy(all_items.matrix(), torch.device("cpu"))
    return all_items.attach(Dataset(own, torch.zeros(N, dtype=torch.float64), weight))


def scores_by_rows(model, rows):
    """The raw score of each context with each item, by the rows of both: (N, ITEMS)."""
    contexts, items = (X.toarray() for X in rows)
    X = sparse.csr_array((contexts[:, None] + items).reshape(-1, FEATURES))
    return model(*CSRRows.from_scipy(X, torch.device("cpu")).slice(0, N * ITEMS)).view(N, ITEMS)


def loss_by_loops(scores, row, known):
    """Cross entropy of a row's item and those that its group does not know."""
    others = [i for i in range(ITEMS) if i != ITEM[row] and not (known and i in ITEM[GROUP[row] == GROUP])]
    return torch.logsumexp(scores[row, [ITEM[row], *others]], 0) - scores[row, ITEM[row]]


def test_scores_are_those_of_the_rows_of_context_and_item(model, rows):
    data = dataset(rows)
    order = torch.tensor([4, 1, 0])
    found = model(*data.take(order), **data.options)
    torch.testing.assert_close(found, scores_by_rows(model, rows)[order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_step_descends_the_documented_objective(known, weighted, model, rows):
    weight = torch.rand(N, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) if weighted else None
    data, scores = dataset(rows, known=known, weight=weight), scores_by_rows(model, rows)
    X = rows[0].toarray() + rows[1].toarray()[ITEM]
    expected = torch.zeros((), dtype=torch.float64)
    for row in range(N):
        term = loss_by_loops(scores, row, known)
        for name, penalty in PENALTIES.items():
            term = term + penalty * (dict(model.named_parameters())[name][X[row] != 0] ** 2).sum()
        expected = expected + (1 if weight is None else weight[row]) * term / N
    gradients = torch.autograd.grad(expected, [model.factors, model.linear.weight])
    step = compute_step(model, data, torch.arange(N), Objective(log_loss, PENALTIES), None)
    assert float(step.loss) == pytest.approx(float(expected.detach()), rel=1e-12)
    for name, wanted in zip(("factors", "linear.weight"), gradients, strict=True):
        torch.testing.assert_close(step.gradients[name], wanted[step.features], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 4, 6])
def test_losses_of_rows_do_not_depend_on_the_batches(batch_size, model, rows):
    data, scores = dataset(rows), scores_by_rows(model, rows)
    expected = torch.stack([loss_by_loops(scores, row, known=True) for row in range(N)])
    found = catalog_losses(model, data, log_loss, batch_size, constant=False)
    torch.testing.assert_close(found, expected.detach())
    constant = catalog_losses(model, data, log_loss, batch_size, constant=True)
    others = [set(range(ITEMS)) - set(ITEM[group == GROUP]) for group in GROUP]
    n_competitors = [1 + len(each) for each in others]
    torch.testing.assert_close(constant, torch.tensor(n_competitors, dtype=torch.float64).log())


def test_batches_fit_the_memory(rows):
    catalog = dataset(rows).catalog
    assert catalog.max_batch_size(2**20) == 2**20 // (8 * 8 * ITEMS)
    assert catalog.max_batch_size(1) == 1


def test_dropout_keeps_the_mean_score(rows, model):
    dropped = FM(FEATURES, 3, dropout=0.5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).train()
    data, parameters = dataset(rows), dict(model.named_parameters())
    with torch.no_grad():
        batch = data.take(torch.zeros(5000, dtype=torch.int64))  # the first row, with other masks
        scores = functional_call(dropped, parameters, tuple(batch), data.options)
    assert len(scores[:, 0].round(decimals=9).unique()) == 8
    torch.testing.assert_close(scores.mean(0), scores_by_rows(model, rows)[0].detach(), rtol=0.05, atol=0.05)


METRICS = {
    "ndcg": ndcg_at_k,
    "hit_rate": hit_rate_at_k,
    "recall": recall_at_k,
    "reciprocal_rank": reciprocal_rank_at_k,
    "average_precision": average_precision_at_k,
}


@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize("metric", METRICS)
def test_gain_of_a_rank_is_the_metric_of_a_query_with_one_relevant_item(metric, k):
    rng = np.random.default_rng(0)
    raw, item = rng.normal(size=(40, 7)), rng.integers(0, 7, 40)
    gains = rank_gain(metric, k)(torch.tensor(raw), torch.tensor(item, dtype=torch.float64))
    relevance = np.eye(7)[item].ravel()
    expected = METRICS[metric](relevance, raw.ravel(), np.repeat(np.arange(40), 7), k=k)
    assert float(gains.mean()) == pytest.approx(expected, abs=1e-12)
