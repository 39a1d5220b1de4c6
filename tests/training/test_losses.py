"""Pointwise losses, by hand."""

import numpy as np
import pytest
import torch

from skafm._training.losses import log_loss, squared_error


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
