"""Formulas on rows of one length equal those on ragged rows, in value and gradients."""

import numpy as np
import pytest
import torch

from skafm.nn import _entries, functional
from skafm.nn._pairs import attend_to_entries

B, K, T = 3, 4, 5
lengths = pytest.mark.parametrize("m", [2, 3, 6])


def draw(m):
    """Return entries (B, m, k) and W, b and h."""
    generator = torch.Generator().manual_seed(m)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((B, m, K), (T, K), (T,), (T,))]


def ragged(entries):
    """Return the table in which each entry is a feature, and the batch of these."""
    n, m, _ = entries.shape
    return entries.flatten(0, 1), torch.arange(n * m), None, torch.arange(0, n * m + 1, m)


@lengths
def test_attention_equals_the_reference(m):
    entries, *network = draw(m)
    table, *batch = ragged(entries)
    expected = functional.attentional_pooling(table, *network, *batch)
    np.testing.assert_allclose(attend_to_entries(entries, *network), expected, rtol=1e-10, atol=1e-12)


@lengths
def test_attention_passes_gradcheck(m):
    tensors = [each.requires_grad_() for each in draw(m)]
    assert torch.autograd.gradcheck(attend_to_entries, tensors)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_attention_is_that_of_the_entries_that_exist(length):
    entries, *network = draw(4)
    exists = torch.arange(4) < length
    pooled = attend_to_entries(entries * exists.unsqueeze(1), *network, exists.expand(B, -1))
    table, *batch = ragged(entries[:, :length])
    expected = functional.attentional_pooling(table, *network, *batch)
    np.testing.assert_allclose(pooled, expected, rtol=1e-10, atol=1e-12)


def test_attention_is_uniform_without_h():
    entries, weight, bias, _ = draw(3)
    pooled = attend_to_entries(entries, weight, bias, torch.zeros(T).double())
    np.testing.assert_allclose(3 * pooled, _entries.bi_interaction(entries), rtol=1e-10)


def test_attention_differs_between_pairs():
    entries, *network = draw(3)
    assert not torch.allclose(3 * attend_to_entries(entries, *network), _entries.bi_interaction(entries))


@pytest.mark.parametrize("index", range(4))
def test_gradients_of_attention_by_narrow_products_are_close(index):
    exact, narrow = (
        torch.autograd.grad(attend_to_entries(*tensors, None, dtype).square().sum(), tensors)[index]
        for dtype in (None, torch.bfloat16)
        for tensors in [[each.requires_grad_() for each in draw(6)]]
    )
    assert float((exact - narrow).norm() / exact.norm()) < 0.1
    assert not torch.equal(exact, narrow)


@lengths
def test_bi_interaction_equals_the_reference(m):
    entries, *_ = draw(m)
    table, indices, _, offsets = ragged(entries)
    expected = functional.bi_interaction(table, indices, torch.ones(len(table)).double(), offsets)
    np.testing.assert_allclose(_entries.bi_interaction(entries), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4)])
def test_values_multiply_the_entries_of_any_shape(shape):
    entries, values = torch.randn(shape), torch.randn(2, 3)
    product = _entries.multiply(entries, values)
    assert torch.equal(product[1, 2], entries[1, 2] * values[1, 2])
    assert _entries.multiply(entries, None) is entries
