"""The chain has the posterior distribution, by brute force and by Geweke's test."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.stats import norm

from skafm._sampling import chain as chain_module
from skafm._sampling import hyperpriors
from skafm._sampling.chain import Chain
from skafm._sampling.hyperpriors import Prior
from skafm._sampling.noise import NormalNoise, Probit, draw_tail
from skafm._sampling.problem import make_problem

CPU = torch.device("cpu")


def dense_problem(X, k, memory=2**24, weight=None, fields=None, order=1):
    X = sparse.csr_array(X)
    n = X.shape[1]
    weight = np.ones(X.shape[0]) if weight is None else weight
    fields = np.zeros(n, int) if fields is None else fields
    return make_problem(X, weight, np.arange(n)[::order], fields, k, memory, CPU)


def new_chain(problem, y, k, noise=None, seed=0):
    return Chain(problem, torch.as_tensor(y), noise or NormalNoise(), k, torch.Generator().manual_seed(seed))


def raw_by_loops(X, chain):
    theta, w0 = chain.theta.numpy(), float(chain.intercept)
    V, w = theta[:, :-1], theta[:, -1]
    pairs = [sum(x[i] * x[j] * (V[i] @ V[j]) for i in range(len(x)) for j in range(i)) for x in X]
    return w0 + X @ w + pairs


def standard_error(series):
    """Return the standard error of the mean of a correlated series (S, ...), by means of 20 batches."""
    means = series[: len(series) // 20 * 20].reshape(20, -1, *series.shape[1:]).mean(axis=1)
    return means.std(axis=0, ddof=1) / np.sqrt(20)


# --- the state of the rows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [2**24, 2000])  # the latter in parts of a few rows
@pytest.mark.parametrize("kind", ["one-hot", "real", "weighted", "sparse"])
def test_sums_and_residuals_follow_the_parameters(memory, kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 6)) * (rng.random((30, 6)) < 0.7)
    if kind == "sparse":  # blocks that few rows have
        X[:, 2:] *= rng.random((30, 4)) < 0.3
    elif kind != "real":
        X = np.hstack([np.eye(4)[rng.integers(0, 4, 30)], np.eye(9)[np.minimum(np.arange(30), 8)]])
    weight = rng.uniform(0.5, 3, 30) if kind == "weighted" else None
    chain = new_chain(dense_problem(X, 3, memory, weight), rng.normal(size=30), 3)
    for _ in range(4):
        chain.sweep()
    np.testing.assert_allclose(chain.residual, chain.observed.numpy() - raw_by_loops(X, chain), rtol=1e-10, atol=1e-10)
    state = chain.state[chain.problem.slots]
    np.testing.assert_allclose(state[:, :3], X @ chain.theta[:, :3].numpy(), rtol=1e-10, atol=1e-10)
    assert not chain.failed


def test_embeddings_grow_from_small_ones_in_the_first_sweep():
    """If the first prior were drawn given the initial parameters, it would keep them small."""
    rng = np.random.default_rng(0)
    problem = dense_problem(np.hstack([np.eye(20)[rng.integers(0, 20, 60)] for _ in range(2)]), 3)
    chain = new_chain(problem, rng.normal(size=60), 3)
    chain.theta.mul_(1e-3)
    chain.sweep()
    assert chain.theta[:, :3].std() > 0.3 * float(problem.variance[0]) ** 0.5


def test_given_parameters_have_a_prior_of_their_own_size():
    """A resumed chain does not fall back to the prior of the first sweep."""
    problem = dense_problem(np.hstack([np.eye(200)] * 2), 3)
    chain = new_chain(problem, np.zeros(200), 3)
    chain.set_parameters(chain.intercept, 10 * chain.theta)
    ratio = (1 / chain.prior.precision[:, :3]) / problem.variance[:3]
    assert ((ratio > 60) & (ratio < 150)).all()


def test_prior_variances_give_linear_terms_of_variance_one():
    rng, k, m = np.random.default_rng(0), 4, 20
    X = sparse.csr_array(3 * rng.choice([-1.0, 1.0], (50, m)))
    *v, w = hyperpriors.prior_variances(X, np.ones(50), k)
    weights = np.sqrt(w) * rng.normal(size=(2000, m))
    assert (weights @ X.T).var() == pytest.approx(1, rel=0.1)
    assert v == [w / 16] * k


# --- brute force ------------------------------------------------------------------------------------------------------

X3 = np.array([[1.0, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1], [0.5, -1, 2], [2, 0, -1]])
Y3 = np.array([1.0, -0.5, 0.3, 1.2, -1.0, 0.4])
MEAN, PRECISION, NOISE = 0.2, 1.5, 4.0


def by_integration():
    """Return means and standard deviations of (v_1 v_2, v_1 v_3, v_2 v_3, w_1, w_2, w_3, w0): over a grid of v."""
    grid = np.linspace(-3.5, 3.5, 41)
    A = np.column_stack([X3, np.ones(6)])  # w and w0 are normal given v
    prior_mean, prior_precision = np.array([MEAN] * 3 + [0]), np.diag([PRECISION] * 3 + [1.0])
    covariance = np.linalg.inv(NOISE * A.T @ A + prior_precision)
    marginal = np.linalg.inv(np.eye(6) / NOISE + A @ np.linalg.inv(prior_precision) @ A.T)
    V = np.array(list(product(grid, repeat=3)))
    products = V[:, [0, 0, 1]] * V[:, [1, 2, 2]]
    rest = Y3 - products @ (X3[:, [0, 0, 1]] * X3[:, [1, 2, 2]]).T  # (n_grid, 6)
    off = rest - A @ prior_mean
    log = -0.5 * (np.einsum("gr,rs,gs->g", off, marginal, off) + PRECISION * ((V - MEAN) ** 2).sum(1))
    p = np.exp(log - log.max())
    p /= p.sum()
    linear = (NOISE * rest @ A + prior_precision @ prior_mean) @ covariance  # (n_grid, 4), the mean given v
    means = np.concatenate([p @ products, p @ linear])
    squares = np.concatenate([p @ products**2, p @ linear**2 + np.diag(covariance)])
    return means, np.sqrt(squares - means**2)


@pytest.mark.parametrize("order", [1, -1])
def test_chain_of_three_features_equals_numerical_integration(order, monkeypatch):
    full = torch.full((1, 2), MEAN, dtype=torch.float64)
    monkeypatch.setattr(chain_module, "draw_prior", lambda *_: Prior(full, full * 0 + PRECISION))
    monkeypatch.setattr(NormalNoise, "draw", lambda _, y, *__: (y, torch.tensor(NOISE, dtype=torch.float64)))
    problem = dense_problem(X3, 1, order=order)
    chain, draws = new_chain(problem, Y3, 1), []
    for sweep in range(1200):
        chain.sweep()
        if sweep >= 200:
            v, w = chain.theta.numpy().T
            draws.append([v[0] * v[1], v[0] * v[2], v[1] * v[2], *w, float(chain.intercept)])
    draws = np.array(draws)
    mean, std = by_integration()
    assert (np.abs(draws.mean(axis=0) - mean) < 4.5 * standard_error(draws)).all()
    squares = (draws - mean) ** 2
    assert (np.abs(squares.mean(axis=0) - std**2) < 4.5 * standard_error(squares)).all()


# --- Geweke's joint distribution test ---------------------------------------------------------------------------------

XG = np.array([[1.0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0.5, 0], [0, 0, 0, 0]])
FIELDS = np.array([0, 0, 1, 1])
WEIGHT = np.array([1.0, 2, 1, 1, 1, 3])
SHAPE, RATE, COUNT = 16.0, 12.0, 2.0
"""Constants of the hyperpriors that have moments, and with which draws soon forget where they were."""


def statistics(alpha, mean, precision, w0, theta):
    """Return means and squares of them to be compared."""
    numbers = np.array([alpha, *mean.ravel(), *precision.ravel(), w0, *theta.ravel(), theta[0, 0] * theta[2, 0]])
    return np.concatenate([numbers, np.tanh(numbers) ** 2])


def from_prior(n, *, probit):
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(n):
        alpha = 1.0 if probit else rng.gamma(SHAPE / 2, 2 / SHAPE)
        precision = rng.gamma(SHAPE / 2, 2 / RATE, (2, 2))
        mean = rng.normal(size=(2, 2)) / np.sqrt(COUNT * precision)
        theta = mean[FIELDS] + rng.normal(size=(4, 2)) / np.sqrt(precision[FIELDS])
        draws.append(statistics(alpha, mean, precision, rng.normal(), theta))
    return np.array(draws)


@pytest.mark.parametrize("probit", [False, True], ids=["normal", "probit"])
def test_alternating_with_draws_of_the_targets_gives_the_prior(probit, monkeypatch):
    for name, value in {"ALPHA_0": SHAPE, "GAMMA_0": COUNT}.items():
        monkeypatch.setattr(hyperpriors, name, value)
    rng = np.random.default_rng(1)
    weight = WEIGHT if probit else np.ones(6)  # a normal target of weight 2 is two targets, of which one is drawn
    problem = dense_problem(XG, 1, weight=weight, fields=FIELDS)
    problem = problem._replace(variance=torch.full((2,), RATE / SHAPE, dtype=torch.float64))
    chain = new_chain(problem, np.ones(6), 1, Probit() if probit else None)
    chain.set_parameters(torch.zeros((), dtype=torch.float64), torch.zeros(4, 2, dtype=torch.float64))
    draws = []
    for _ in range(1000):
        raw = (chain.target - chain.residual).numpy()
        y = raw + rng.normal(size=6) / np.sqrt(float(chain.alpha) * weight)
        chain.observed = torch.from_numpy(np.sign(y) if probit else y)
        chain.residual.copy_(chain.observed - torch.from_numpy(raw))
        chain.target = chain.observed
        chain.sweep()
        prior = [each.numpy() for each in chain.prior]
        draws.append(statistics(float(chain.alpha), *prior, float(chain.intercept), chain.theta.numpy()))
    draws, expected = np.array(draws), from_prior(10_000, probit=probit)
    error = np.hypot(standard_error(draws), expected.std(axis=0) / np.sqrt(len(expected)))
    assert (np.abs(draws.mean(axis=0) - expected.mean(axis=0)) < 4.5 * error + 1e-12).all()


# --- noise ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [-200.0, -31.0, -29.0, -9.0, -1.0, 3.0])
def test_tail_draws_have_the_mean_of_the_truncated_normal(bound):
    bounds = torch.full((20_000,), bound, dtype=torch.float64)
    draws = draw_tail(bounds, torch.Generator().manual_seed(0)).numpy()
    expected = -np.exp(norm.logpdf(bound) - norm.logcdf(bound))
    assert (draws <= bound).all()
    assert abs(draws.mean() - expected) < 5 * draws.std() / np.sqrt(len(draws)) + 1e-4 * abs(1 / bound)


def test_noise_precision_of_weight_two_is_that_of_the_row_twice():
    residual = torch.linspace(-1, 2, 6, dtype=torch.float64)
    once, twice = (
        hyperpriors.draw_noise_precision(rows, torch.full(rows.shape, weight), torch.Generator().manual_seed(0))
        for rows, weight in ((residual, 2.0), (torch.cat([residual, residual]), 1.0))
    )
    torch.testing.assert_close(once, twice, rtol=1e-12, atol=0)


def test_intercept_without_information_is_drawn_from_its_prior():
    chain = new_chain(dense_problem(X3, 1), Y3, 1)
    chain.alpha = torch.zeros((), dtype=torch.float64)
    draws = []
    for _ in range(2000):
        chain._draw_intercept()
        draws.append(float(chain.intercept))
    assert abs(np.mean(draws)) < 5 / np.sqrt(2000)
    assert np.std(draws) == pytest.approx(1, abs=5 / np.sqrt(2 * 2000))
