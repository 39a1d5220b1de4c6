"""Batch normalization in the residual units of DeepCross."""

import numpy as np
import pytest
import reference
import torch

from skafm.nn import DeepCross

FIELDS = [0, 0, 1, 2, 1, 2, 0, 3, 3]


@pytest.fixture
def module():
    """A model to train, whose parameters all have a value that matters."""
    module, generator = DeepCross(FIELDS, 3, (5, 4), dtype=torch.float64), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "variances" in name or "n_batches" in name:
                parameter.uniform_(0.5, 2.0, generator=generator)
            elif parameter.is_floating_point():
                parameter.normal_(generator=generator)
    return module.train()


@pytest.fixture
def weight():
    """Sample weights of the batch."""
    return torch.rand(20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def moments(module, X, weight):
    """Return weighted mean and variance of the first unit's hidden layer."""
    embedded = [reference.embed(x, module.factors.detach().numpy(), FIELDS) for x in X]
    hidden = np.array(embedded) @ module.units.coefs_in[0].detach().numpy()  # (B, 5)
    mean = np.average(hidden, axis=0, weights=weight)
    return mean, np.average((hidden - mean) ** 2, axis=0, weights=weight)


def test_first_batch_sets_the_running_mean_and_variance(module, weight, batch):
    X, csr = batch
    mean, variance = moments(module, X, weight)
    module.units.norm.n_batches.detach().zero_()
    module(*csr, weight=weight)
    np.testing.assert_allclose(module.units.norm.means[0].detach(), mean, rtol=1e-7)
    np.testing.assert_allclose(module.units.norm.variances[0].detach(), variance, rtol=1e-7)


def test_running_mean_depends_on_the_ratios_of_the_weights_only(module, weight, batch):
    X, csr = batch
    mean, _ = moments(module, X, weight)
    module.units.norm.n_batches.detach().zero_()
    for number in range(1, 12):
        module(*csr, weight=weight * number)
    np.testing.assert_allclose(module.units.norm.means[0].detach(), mean, rtol=1e-7)
    assert float(module.units.norm.n_batches.detach()) == 11


def test_running_mean_moves_by_a_tenth_after_ten_batches(module, weight, batch):
    X, csr = batch
    mean, _ = moments(module, X, weight)
    module.units.norm.n_batches.detach().fill_(20)
    before = module.units.norm.means[0].detach().numpy().copy()
    module(*csr, weight=weight)
    np.testing.assert_allclose(module.units.norm.means[0].detach(), 0.9 * before + 0.1 * mean, rtol=1e-7)


def test_weight_of_two_equals_a_repeated_row(module, batch):
    _, (indices, values, offsets) = batch
    last = slice(offsets[-2], offsets[-1])
    twice = (
        torch.cat([indices, indices[last]]),
        torch.cat([values, values[last]]),
        torch.cat([offsets, offsets[-1:] + len(indices[last])]),
    )
    weight = torch.ones(20, dtype=torch.float64)
    weight[-1] = 2
    torch.testing.assert_close(module(indices, values, offsets, weight=weight), module(*twice)[:20])
