"""The terms of DeepFM, and batch normalization in its hidden layers."""

import numpy as np
import pytest
import reference
import torch

from skafm.nn import DeepFM
from skafm.nn._layers import normalize_batch

FIELDS = [0, 0, 1, 2, 1, 2, 0, 3, 3]


@pytest.fixture
def module():
    """A parallel AFM to train, whose parameters all have a value that matters."""
    module = DeepFM(FIELDS, 3, (5, 4), 2, batch_norm=True, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.normal_(generator=generator)
    return module.train()


@pytest.fixture
def weight():
    """Sample weights of the batch."""
    return torch.rand(20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def inputs_of_first_layer(module, X):
    """Return what the first hidden layer normalizes."""
    mlp = module.deep.mlp
    embedded = [reference.embed(x, module.factors.detach().numpy(), FIELDS) for x in X]
    return np.array(embedded) @ mlp.coefs[0].detach().numpy() + mlp.intercepts[0].detach().numpy()  # (B, 5)


def test_first_batch_sets_the_running_mean_and_variance(module, batch):
    X, csr = batch
    hidden, norm = inputs_of_first_layer(module, X), module.deep.mlp.norm
    module(*csr)
    np.testing.assert_allclose(norm.means[0].detach(), hidden.mean(0), rtol=1e-10)
    np.testing.assert_allclose(norm.variances[0].detach(), hidden.var(0), rtol=1e-10)


def test_running_moments_are_weighted(module, weight, batch):
    X, csr = batch
    hidden, norm = inputs_of_first_layer(module, X), module.deep.mlp.norm
    module(*csr, weight=weight)
    mean = np.average(hidden, axis=0, weights=weight)
    np.testing.assert_allclose(norm.means[0].detach(), mean, rtol=1e-10)
    variance = np.average((hidden - mean) ** 2, axis=0, weights=weight)
    np.testing.assert_allclose(norm.variances[0].detach(), variance, rtol=1e-10)


def test_running_moments_are_those_of_all_of_the_first_batches(module, batch):
    X, csr = batch
    first, norm = inputs_of_first_layer(module, X), module.deep.mlp.norm
    module(*csr)
    module.deep.mlp.intercepts[0].detach().add_(3.0)
    module(*csr)
    np.testing.assert_allclose(norm.means[0].detach(), first.mean(0) + 1.5, rtol=1e-10)
    assert float(norm.n_batches.detach()) == 2


def test_equal_weights_normalize_as_none_do():
    z = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scale, shift = torch.linspace(0.5, 2, 4).double(), torch.linspace(-1, 1, 4).double()
    found = normalize_batch(z, None, scale, shift)
    for each, expected in zip(found, normalize_batch(z, torch.full((30,), 2.0).double(), scale, shift), strict=True):
        torch.testing.assert_close(each, expected, rtol=1e-10, atol=1e-12)


def test_constant_inputs_have_no_negative_variance():
    _, mean, variance = normalize_batch(torch.full((7, 2), 0.1), None, torch.ones(2), torch.zeros(2))
    np.testing.assert_allclose(mean, 0.1, rtol=1e-6)
    assert (variance >= 0).all()
    assert variance.max() < 1e-9


def test_terms_sum_to_the_raw_score(module, batch):
    _, csr = batch
    module.train(False)
    terms, pairs = module.linear(*csr) + module.deep_term(*csr), module.pair_terms(*csr)
    expected = terms.detach().index_add(0, pairs.rows, pairs.attention * pairs.interaction)
    torch.testing.assert_close(module(*csr).detach(), expected, rtol=1e-10, atol=1e-12)
