"""The fast linear and interaction terms against the plain ones."""

import numpy as np
import pytest
import torch
from scipy import sparse

from skafm.nn import entries, functional


def draw(n_features=9, k=3):
    return torch.tensor(np.random.default_rng(1).normal(size=(n_features, k)), requires_grad=True)


def weighted(function, table):
    value = function(table)
    return value.detach(), torch.autograd.grad(value @ torch.linspace(-1, 2, len(value)).double(), table)[0]


def columns(csr, given):
    return entries.columns_of(*csr, 9) if given else None


@pytest.mark.parametrize("given", [False, True], ids=["columns found", "columns given"])
def test_linear_equals_the_plain_version(given, batch):
    _, csr = batch
    weight = draw()[:, 0].detach().requires_grad_()
    plain = weighted(lambda w: functional.linear(w, *csr), weight)
    fast = weighted(lambda w: entries.linear(w, *csr, columns(csr, given)), weight)
    for expected, actual in zip(plain, fast, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("given", [False, True], ids=["columns found", "columns given"])
@pytest.mark.parametrize("p", [0.0, 0.4])
def test_interaction_equals_the_plain_version(given, p, batch):
    _, csr = batch
    keep = functional.dropout_mask((20, 3), p, torch.Generator().manual_seed(0), csr[1]) if p else None

    def plain_version(factors):
        pooled = functional.bi_interaction(factors, *csr)
        return (pooled if keep is None else pooled * keep).sum(1)

    plain = weighted(plain_version, draw())
    fast = weighted(lambda V: entries.interaction(V, *csr, columns(csr, given), keep), draw())
    for expected, actual in zip(plain, fast, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


def test_columns_are_the_transposed_batch(batch):
    X, csr = batch
    rows, values, starts = entries.columns_of(*csr, 9)
    transposed = sparse.csr_array((values, rows, starts), shape=(9, 20))
    assert np.array_equal(transposed.toarray(), X.T)
