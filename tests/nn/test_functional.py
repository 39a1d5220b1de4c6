import numpy as np
import pytest
import reference
import torch
from conftest import on_each_device

from skafm.nn import functional


def parameters(n_features=9, k=3, t=4, seed=1):
    """Return V, W, b, h as float64 tensors that ask for gradients."""
    rng = np.random.default_rng(seed)
    shapes = [(n_features, k), (t, k), (t,), (t,)]
    return [torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes]


def interactions_of(batch, factors):
    indices, values, offsets = batch
    left, right, rows = functional.pairs(offsets)
    embedded = factors[indices] * values[:, None]
    return embedded[left] * embedded[right], rows


def test_linear_equals_loop(batch):
    X, csr = batch
    weight = np.random.default_rng(0).normal(size=9)
    expected = [reference.linear(x, 0.0, weight) for x in X]
    np.testing.assert_allclose(functional.linear(torch.tensor(weight), *csr), expected, rtol=1e-10)


def test_bi_interaction_equals_loop(batch):
    X, csr = batch
    factors = parameters()[0].detach()
    expected = [reference.fm(x, 0.0, np.zeros(9), factors.numpy()) for x in X]
    np.testing.assert_allclose(functional.bi_interaction(factors, *csr).sum(1), expected, rtol=1e-10, atol=1e-12)


def test_bi_interaction_by_hand():
    # x = (2, 3), v_0 = (1, 4), v_1 = (5, -1): (1 * 5, 4 * -1) * 2 * 3
    factors = torch.tensor([[1.0, 4.0], [5.0, -1.0]])
    pooled = functional.bi_interaction(factors, torch.tensor([0, 1]), torch.tensor([2.0, 3.0]), torch.tensor([0, 2]))
    assert pooled.tolist() == [[30.0, -24.0]]


def test_pairs_by_hand():
    left, right, rows = functional.pairs(torch.tensor([0, 3, 3, 4, 6]))
    assert left.tolist() == [0, 0, 1, 4]
    assert right.tolist() == [1, 2, 2, 5]
    assert rows.tolist() == [0, 0, 0, 3]


def test_parts_of_the_pairs_make_the_whole():
    offsets = torch.tensor([0, 3, 3, 4, 6])
    parts = [functional.pairs(offsets, part=part) for part in (slice(0, 1), slice(1, 5), slice(5, 6))]
    for whole, some in zip(functional.pairs(offsets), zip(*parts, strict=True), strict=True):
        assert torch.equal(torch.cat(some), whole)


def test_attention_logits_by_hand():
    # W e + b = (2 - 3 + 1, 4 + 6 + 1) = (0, 11); h' = 5 * 0 + 0.5 * 11
    e, weight = torch.tensor([[2.0, 3.0]]), torch.tensor([[1.0, -1.0], [2.0, 2.0]])
    logits = functional.attention_logits(e, weight, torch.tensor([1.0, 1.0]), torch.tensor([5.0, 0.5]))
    assert logits.tolist() == [5.5]


def test_attention_equals_loop(batch):
    X, csr = batch
    V, W, b, h = (parameter.detach() for parameter in parameters())
    interactions, rows = interactions_of(csr, V)
    logits = functional.attention_logits(interactions, W, b, h)
    attention, _ = functional.segment_softmax(logits, rows, len(X))
    expected = np.concatenate([reference.attention(x, V.numpy(), W.numpy(), b.numpy(), h.numpy())[2] for x in X])
    np.testing.assert_allclose(attention, expected, rtol=1e-10)


def test_attention_sums_to_one_and_differs_between_pairs(batch):
    X, csr = batch
    V, W, b, h = (parameter.detach() for parameter in parameters())
    interactions, rows = interactions_of(csr, V)
    attention, _ = functional.segment_softmax(functional.attention_logits(interactions, W, b, h), rows, len(X))
    sums = torch.zeros(len(X), dtype=torch.float64).index_add(0, rows, attention)
    n_pairs = torch.bincount(rows, minlength=len(X))
    np.testing.assert_allclose(sums[n_pairs > 0], 1.0, rtol=1e-12)
    for row in torch.nonzero(n_pairs > 1).flatten():
        assert attention[rows == row].std() > 1e-3


def test_attention_uniform_when_h_is_zero(batch):
    X, csr = batch
    V, W, b, h = parameters()
    interactions, rows = interactions_of(csr, V)
    logits = functional.attention_logits(interactions, W, b, torch.zeros_like(h))
    attention, _ = functional.segment_softmax(logits, rows, len(X))
    np.testing.assert_allclose(attention.detach(), 1 / torch.bincount(rows)[rows])


def test_segment_softmax_survives_logits_that_overflow_exp():
    logits, rows = torch.tensor([1e4, 1e4, -1e4, 7.0]), torch.tensor([0, 0, 0, 2])
    attention, logsumexp = functional.segment_softmax(logits, rows, 3)
    assert attention.tolist() == [0.5, 0.5, 0.0, 1.0]
    assert logsumexp.tolist() == pytest.approx([1e4 + np.log(2), -np.inf, 7.0])


def test_pool_equals_loop(batch):
    X, csr = batch
    V, W, b, h = (parameter.detach() for parameter in parameters())
    interactions, rows = interactions_of(csr, V)
    logits = functional.attention_logits(interactions, W, b, h)
    attention, _ = functional.segment_softmax(logits, rows, len(X))
    pooled = functional.pool(interactions, attention, rows, len(X))
    for x, row in zip(X, pooled, strict=True):
        _, vectors, weights = reference.attention(x, V.numpy(), W.numpy(), b.numpy(), h.numpy())
        expected = sum((a * e for a, e in zip(weights, vectors, strict=True)), np.zeros(3))
        np.testing.assert_allclose(row, expected, rtol=1e-10, atol=1e-14)


def test_linear_gradcheck(batch):
    _, csr = batch
    weight = torch.linspace(-1, 1, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: functional.linear(w, *csr), weight)


def test_bi_interaction_gradcheck(batch):
    _, csr = batch
    assert torch.autograd.gradcheck(lambda V: functional.bi_interaction(V, *csr), parameters()[0])


def test_attention_gradcheck(batch):
    X, csr = batch

    def pooled(V, W, b, h):
        interactions, rows = interactions_of(csr, V)
        logits = functional.attention_logits(interactions, W, b, h)
        attention, _ = functional.segment_softmax(logits, rows, len(X))
        return functional.pool(interactions, attention, rows, len(X))

    assert torch.autograd.gradcheck(pooled, parameters())


def draw_mask(shape, p, device):
    generator = torch.Generator(device).manual_seed(0)
    return functional.dropout_mask(shape, p, generator, torch.empty(0, device=device)).cpu()


@on_each_device
@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_dropout_mask_drops_its_share_and_has_mean_one(p, device):
    mask = draw_mask((300, 333), p, device)
    # The share's standard deviation is at most 0.0016.
    assert abs((mask == 0).double().mean() - p) < 0.01
    np.testing.assert_allclose(mask[mask != 0], 1 / (1 - p), rtol=1e-4)


@on_each_device
def test_dropout_mask_draws_are_independent(device):
    mask = draw_mask((1000, 16), 0.5, device) - 1
    correlation = mask.T @ mask / 1000 - torch.eye(16)  # of standard deviation 0.03
    assert correlation.abs().max() < 0.2
