"""Pointwise losses: by hand, by loops, and beside scikit-learn's own."""

import math

import numpy as np
import pytest
import torch
from sklearn._loss import loss as reference

from skafm._training.losses import LOSSES, log_loss, make_loss, squared_error

RAW = [-3.0, -0.7, 0.0, 0.4, 2.5]
OPTIONS = {"huber": {"delta": 0.8}, "quantile": {"quantile": 0.7}, "tweedie": {"power": 1.3}}
TARGETS = {
    "squared_error": [0.3, -1.0, 2.0, 0.0, 2.0],
    "absolute_error": [0.3, -1.0, 2.0, 0.1, 2.0],
    "huber": [0.3, -1.0, 2.0, 0.1, 2.0],
    "quantile": [0.3, -1.0, 2.0, 0.1, 2.0],
    "poisson": [0.0, 1.0, 2.0, 0.0, 30.0],
    "gamma": [0.1, 1.0, 2.0, 7.0, 30.0],
    "tweedie": [0.0, 1.0, 2.5, 0.0, 30.0],
    "rate_log_loss": [0.0, 1.0, 0.3, 0.9, 0.5],
    "log_loss": [0.0, 1.0, 1.0, 0.0, 1.0],
}
SKLEARN = {
    "squared_error": reference.HalfSquaredError,
    "absolute_error": reference.AbsoluteError,
    "huber": reference.HuberLoss,
    "quantile": reference.PinballLoss,
    "poisson": reference.HalfPoissonLoss,
    "gamma": reference.HalfGammaLoss,
    "tweedie": reference.HalfTweedieLoss,
    "rate_log_loss": reference.HalfBinomialLoss,
    "log_loss": reference.HalfBinomialLoss,
}
SMOOTH_OUTPUTS = {"log_loss": [0.0, 2.0, 1.0, 2.0, 0.0]}
"""Targets of three raw scores, where they are not columns of numbers."""
every = pytest.mark.parametrize("name", LOSSES)
outputs = pytest.mark.parametrize("n_outputs", [None, 3])


def xlogy(x, y):
    return x * math.log(y) if x else 0.0


def slow(name, raw, y):  # noqa: PLR0911 one line a loss
    """Return the loss of one number, from the definition of the deviance where there is one."""
    q, mean = 1 / (1 + math.exp(-raw)), math.exp(raw)
    match name:
        case "squared_error":
            return (raw - y) ** 2
        case "absolute_error":
            return abs(raw - y)
        case "huber":
            return (raw - y) ** 2 / 2 if abs(raw - y) <= 0.8 else 0.8 * (abs(raw - y) - 0.4)
        case "quantile":
            return 0.7 * (y - raw) if y > raw else 0.3 * (raw - y)
        case "poisson":
            return xlogy(y, y / mean if y else 1) - y + mean
        case "gamma":
            return math.log(mean / y) + y / mean - 1
        case "tweedie":
            return y**0.7 / (-0.3 * 0.7) - y * mean**-0.3 / -0.3 + mean**0.7 / 0.7
        case "rate_log_loss":
            return xlogy(y, y / q) + xlogy(1 - y, (1 - y) / (1 - q))
        case "log_loss":
            return -math.log(q if y else 1 - q)


def double(values):
    return torch.tensor(np.asarray(values, np.float64))


def several(name, dtype=np.float64):
    """Return targets of three outputs."""
    columns = SMOOTH_OUTPUTS.get(name, np.column_stack([TARGETS[name]] * 3))
    return torch.tensor(np.asarray(columns, dtype))


# --- values -----------------------------------------------------------------------------------------------------------


@every
def test_loss_equals_the_loops(name):
    losses = LOSSES[name](double(RAW), double(TARGETS[name]), **OPTIONS.get(name, {}))
    expected = [slow(name, raw, y) for raw, y in zip(RAW, TARGETS[name], strict=True)]
    np.testing.assert_allclose(losses, expected, rtol=1e-10, atol=1e-12)


@every
def test_loss_and_gradient_equal_scikit_learns(name):
    raw, y = double(RAW).requires_grad_(), double(TARGETS[name])
    losses = LOSSES[name](raw, y, **OPTIONS.get(name, {}))
    (gradient,) = torch.autograd.grad(losses.sum(), raw)
    theirs = SKLEARN[name](**OPTIONS.get(name, {}))
    values, slopes = theirs.loss_gradient(np.asarray(TARGETS[name]), np.asarray(RAW))
    factor = 2 if name == "squared_error" else 1  # theirs is half of it
    values = values + theirs.constant_to_optimal_zero(np.asarray(TARGETS[name]))
    np.testing.assert_allclose(losses.detach(), factor * values, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradient, factor * slopes, rtol=1e-10, atol=1e-12)


def test_squared_error_is_that_of_each_row():
    assert squared_error(torch.tensor([1.0, -2.0]), torch.tensor([3.0, 1.0])).tolist() == [4.0, 9.0]


def test_squared_error_of_several_outputs_is_their_mean():
    raw, target = torch.tensor([[1.0, -2.0], [0.0, 4.0]]), torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    assert make_loss("squared_error")(raw, target).tolist() == [(4.0 + 9.0) / 2, (0.0 + 4.0) / 2]


def test_unit_divides_the_losses_of_each_output():
    raw, target = torch.tensor([[1.0, -2.0], [0.0, 4.0]]), torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    loss = make_loss("squared_error", unit=[4.0, 0.5], like=raw)
    assert loss(raw, target).tolist() == [(4 / 4 + 9 / 0.5) / 2, (0.0 + 4 / 0.5) / 2]


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


# --- every raw score --------------------------------------------------------------------------------------------------


@every
@outputs
def test_gradients_pass_gradcheck(name, n_outputs):
    target = double(TARGETS[name]) if n_outputs is None else several(name)
    raw = torch.randn((5, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    raw = (raw[:, 0].clone() if n_outputs is None else raw).requires_grad_()
    loss = make_loss(name, **OPTIONS.get(name, {}))
    assert torch.autograd.gradcheck(lambda each: loss(each, target), raw)


@every
@outputs
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_large_scores_give_finite_losses_and_gradients_in_float32(name, n_outputs, size):
    target = double(TARGETS[name]).float() if n_outputs is None else several(name, np.float32)
    raw = torch.linspace(size, size / 2, 5 * (n_outputs or 1)).view(5, *[n_outputs] * (n_outputs is not None))
    losses = make_loss(name, **OPTIONS.get(name, {}))(raw.requires_grad_(), target)
    (gradient,) = torch.autograd.grad(losses.sum(), raw)
    assert losses.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["poisson", "gamma", "tweedie"])
def test_tangent_continues_value_and_slope(name):
    """Raw scores 1e-6 apart about 40, and about -40, have losses a slope times 1e-6 apart."""
    for sign in (1.0, -1.0):
        raw = (sign * double([40 - 1e-6, 40 + 1e-6])).requires_grad_()
        losses = LOSSES[name](raw, torch.ones(2).double(), **OPTIONS.get(name, {}))
        (slope,) = torch.autograd.grad(losses.sum(), raw)
        assert float(slope[0]) == pytest.approx(float(slope[1]), rel=1e-5)
        step = float((losses[1] - losses[0]).detach())
        assert step == pytest.approx(sign * 2e-6 * float(slope[0]), rel=1e-3)
