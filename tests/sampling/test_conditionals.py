"""Draws of the features' parameters: the distribution is the one of the formulas, by loops."""

import numpy as np
import pytest
import torch

from skafm._sampling.conditionals import draw_by_precision, draw_by_rows, gram_of, residual_slopes

F, C, K = 3, 5, 2
D = K + 1
ALPHA = torch.tensor(1.7, dtype=torch.float64)


@pytest.fixture(params=["ones", "values"])
def chunk(request):
    """State, theta, values, weight, prior mean and precision; the last feature has a row less."""
    rng = np.random.default_rng(0)
    state = rng.normal(size=(F, C, D + 1))
    state[..., K] = 1
    x = None if request.param == "ones" else rng.normal(size=(F, C))
    state[-1, -1] = 0
    if x is not None:
        x[-1, -1] = 0
    theta, mean = rng.normal(size=(2, F, D))
    weight, precision = rng.uniform(0.5, 2, size=(F, C)), rng.uniform(0.5, 2, size=(F, D))
    return [None if each is None else torch.from_numpy(each) for each in (state, theta, x, weight, mean, precision)]


def by_loops(state, theta, x, weight, mean, precision):
    """Return the mean and the covariance of each feature's parameters."""
    result = []
    for i in range(F):
        P, q = np.diag(precision[i].numpy()), (precision[i] * mean[i]).numpy()
        for r in range(C):
            if state[i, r, K] == 0:
                continue
            value = 1.0 if x is None else float(x[i, r])
            h = np.append(value * (state[i, r, :K] - value * theta[i, :K]).numpy(), value)
            alpha = float(ALPHA * weight[i, r])
            P += alpha * np.outer(h, h)
            q += alpha * h * (float(state[i, r, -1]) + h @ theta[i].numpy())
        result.append((np.linalg.solve(P, q), np.linalg.inv(P)))
    return result


def repeated(tensor, n):
    return None if tensor is None else tensor.repeat(n, *[1] * (tensor.ndim - 1))


@pytest.mark.parametrize("method", ["precision", "rows"])
def test_draws_have_the_mean_and_the_covariance_of_the_closed_form(chunk, method):
    n = 20_000
    state, theta, x, weight, mean, precision = (repeated(each, n) for each in chunk)
    generator = torch.Generator().manual_seed(0)
    if method == "precision":
        gram = gram_of(state, theta, x, weight)
        change, failed = draw_by_precision(gram, mean - theta, precision, ALPHA, generator)
    else:
        h = residual_slopes(state, theta, x)
        variance = 1 / (ALPHA * weight)
        change, failed = draw_by_rows(h[..., :-1], h[..., -1], variance, mean - theta, precision, generator)
    assert not failed
    draws = (theta + change).view(n, F, D).numpy()
    for i, (expected, covariance) in enumerate(by_loops(*chunk)):
        error = np.sqrt(np.diag(covariance) / n)
        assert (np.abs(draws[:, i].mean(axis=0) - expected) < 5 * error).all()
        np.testing.assert_allclose(np.cov(draws[:, i].T), covariance, atol=8 * np.abs(covariance).max() / np.sqrt(n))


def test_gram_equals_the_loops(chunk):
    state, theta, x, weight, _, _ = chunk
    gram = gram_of(state, theta, x, weight)
    for i in range(F):
        expected = np.zeros((D + 1, D + 1))
        for r in range(C):
            value = (1.0 if x is None else x[i, r].item()) * state[i, r, K].item()
            h = np.array([*(value * (state[i, r, :K] - value * theta[i, :K])), value, state[i, r, -1]])
            expected += weight[i, r].item() * np.outer(h, h)
        np.testing.assert_allclose(gram[i], expected, rtol=1e-10, atol=1e-12)


def test_weight_of_two_is_the_row_twice(chunk):
    state, theta, x, *_ = chunk
    twice = [None if each is None else torch.cat([each, each], 1) for each in (state, x)]
    once = gram_of(state, theta, x, torch.full((F, C), 2.0, dtype=torch.float64))
    torch.testing.assert_close(once, gram_of(twice[0], theta, twice[1], None), rtol=1e-12, atol=1e-12)


def test_gram_that_rounding_made_indefinite_is_reported():
    gram = -torch.ones(1, D + 1, D + 1)
    offset = torch.zeros(1, D)
    _, failed = draw_by_precision(gram, offset, offset + 0.1, ALPHA.float(), torch.Generator())
    assert failed
