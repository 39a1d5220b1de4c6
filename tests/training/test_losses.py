"""Pointwise losses, by hand."""

import numpy as np
import pytest
import torch

from skafm._training.losses import LOSSES, log_loss, squared_error


def test_squared_error_is_that_of_each_row():
    assert squared_error(torch.tensor([1.0, -2.0]), torch.tensor([3.0, 1.0])).tolist() == [4.0, 9.0]


def test_squared_error_of_several_outputs_is_their_mean():
    raw, target = torch.tensor([[1.0, -2.0], [0.0, 4.0]]), torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    assert squared_error(raw, target).tolist() == [(4.0 + 9.0) / 2, (0.0 + 4.0) / 2]


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_log_loss_of_two_classes_is_minus_the_log_probability(target):
    raw = [-800.0, -1.0, 0.0, 3.0, 800.0]
    expected = [np.logaddexp(0, -r if target else r) for r in raw]
    losses = log_loss(torch.tensor(raw).double(), torch.full((5,), target).double())
    np.testing.assert_allclose(losses, expected, rtol=1e-12)


def test_log_loss_of_three_classes_is_minus_the_log_probability():
    raw, target = np.random.default_rng(0).normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    expected = [-np.log(np.exp(row[c]) / np.exp(row).sum()) for row, c in zip(raw, target, strict=True)]
    np.testing.assert_allclose(log_loss(torch.tensor(raw), torch.tensor(target).double()), expected, rtol=1e-12)


TARGETS = {
    "squared_error": {None: [0.3, -1.0, 2.0, 0.0], 3: np.linspace(-1, 2, 12).reshape(4, 3)},
    "log_loss": {None: [0.0, 1.0, 1.0, 0.0], 3: [0.0, 2.0, 1.0, 2.0]},
}
every = pytest.mark.parametrize("name", LOSSES)
outputs = pytest.mark.parametrize("n_outputs", [None, 3])


@every
@outputs
def test_gradients_pass_gradcheck(name, n_outputs):
    target, generator = torch.tensor(TARGETS[name][n_outputs]).double(), torch.Generator().manual_seed(0)
    shape = (4,) if n_outputs is None else (4, n_outputs)
    raw = torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda each: LOSSES[name](each, target), raw)


@every
@outputs
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_large_scores_give_finite_losses_and_gradients_in_float32(name, n_outputs, size):
    target = torch.tensor(np.asarray(TARGETS[name][n_outputs], np.float32))
    raw = torch.linspace(size, size / 2, 4 * (n_outputs or 1)).view(4, *[n_outputs] * (n_outputs is not None))
    losses = LOSSES[name](raw.requires_grad_(), target)
    (gradient,) = torch.autograd.grad(losses.sum(), raw)
    assert losses.isfinite().all()
    assert gradient.isfinite().all()
