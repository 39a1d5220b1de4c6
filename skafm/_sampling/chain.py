"""The Markov chain: a sweep draws each block of features, and all else, once.

Letters in shapes: B rows, F features, c rows of a feature, d = k + 1 parameters of a feature.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from skafm._sampling.chunks import Chunk, split_rows
from skafm._sampling.conditionals import draw_by_precision, draw_by_rows
from skafm._sampling.hyperpriors import FieldMembers, Prior, draw_prior
from skafm._sampling.noise import Noise
from skafm._training.batching import CSRRows
from skafm.nn.functional import sum_entries

_INITIAL_STD = 0.1
"""Standard deviation of the initial V, as in libFM."""
_RECOMPUTE = 10
"""Number of sweeps after which sums that are updated in place are computed anew, against rounding."""


class Problem(NamedTuple):
    """What all chains of a fit share."""

    rows: CSRRows
    weight: Tensor
    """(B,) Sample weights."""
    blocks: list[list[Chunk]]
    fields: Tensor
    """(n_features,) Field of each feature."""
    members: FieldMembers
    unseen: Tensor
    """(U,) Features without rows."""
    max_rows: int
    """Maximum number of rows of a feature to process together."""


class Draw(NamedTuple):
    """A draw of the posterior distribution."""

    intercept: Tensor
    """()"""
    theta: Tensor
    """(n_features, d) Embeddings, and w in the last column."""
    alpha: Tensor
    """() Noise precision of weight 1."""
    prior: Prior


class Chain:
    """Gibbs sampling of one output.

    Parameters
    ----------
    problem : Problem
    observed : Tensor of shape (B,)
        Targets, of mean 0 and standard deviation 1, or signs.
    noise : Noise
    n_factors : int
    generator : torch.Generator
        On the device of the rows.
    """

    def __init__(
        self, problem: Problem, observed: Tensor, noise: Noise, n_factors: int, generator: torch.Generator
    ) -> None:
        self.problem, self.observed, self.noise, self.generator = problem, observed, noise, generator
        self.n_factors, self.n_sweeps = n_factors, 0
        self.failed = torch.zeros((), dtype=torch.bool, device=observed.device)
        theta = torch.randn(
            (problem.rows.n_features, n_factors + 1), generator=generator, dtype=observed.dtype, device=observed.device
        )
        theta *= _INITIAL_STD
        theta[:, -1] = 0
        self.alpha, self.target = observed.new_ones(()), observed
        self.set_parameters(observed.new_zeros(()), theta)

    def set_parameters(self, intercept: Tensor, theta: Tensor) -> None:
        """Set w0 () and theta (n_features, d)."""
        self.intercept, self.theta = intercept, theta
        self._compute_state()

    def _compute_state(self) -> None:
        """Compute T, a column of ones and the residuals of each row: (B + 1, d + 1), the last row zeros."""
        rows, k = self.problem.rows, self.n_factors
        V, w = self.theta[:, :-1], self.theta[:, -1:]
        sums = sum_entries(self.theta, rows.indices, rows.values, rows.indptr)  # (B, d)
        squares = V.square().sum(1, keepdim=True)  # (n_features, 1)
        x2 = None if rows.values is None else rows.values.square()
        self_products = sum_entries(squares, rows.indices, x2, rows.indptr).squeeze(1)  # (B,)
        self.state = self.theta.new_zeros(len(rows) + 1, k + 2)
        self.state[:-1, :k] = sums[:, :k]
        self.state[:-1, k] = 1
        raw = self.intercept + sums[:, k] + (sums[:, :k].square().sum(1) - self_products) / 2
        self.residual.copy_(self.target - raw)

    @property
    def residual(self) -> Tensor:
        """(B,) Target minus raw score."""
        return self.state[:-1, -1]

    @torch.no_grad()
    def sweep(self) -> None:
        """Draw all parameters once."""
        self.n_sweeps += 1
        if self.n_sweeps % _RECOMPUTE == 0:
            self._compute_state()
        self.prior = draw_prior(self.theta, self.problem.members, self.generator)
        self._draw_noise()
        self._draw_intercept()
        for block in self.problem.blocks:
            for chunk in block:
                self._draw_features(chunk)

    def _draw_noise(self) -> None:
        raw = self.target - self.residual
        self.target, self.alpha = self.noise.draw(self.observed, raw, self.problem.weight, self.generator)
        self.residual.copy_(self.target - raw)

    def _draw_intercept(self) -> None:
        """Draw w0, whose prior is N(0, 1)."""
        weight = self.problem.weight
        precision = self.alpha * weight.sum() + 1
        q = self.alpha * (weight * self.residual).sum() - self.intercept
        noise = torch.randn((), generator=self.generator, dtype=q.dtype, device=q.device)
        change = q / precision + noise * precision.rsqrt()
        self.intercept = self.intercept + change
        self.residual.sub_(change)

    def _draw_features(self, chunk: Chunk) -> None:
        """Draw the parameters of a chunk's features, and update T and the residuals of their rows."""
        old = self.theta[chunk.features]  # (F, d)
        field = self.problem.fields[chunk.features]  # (F,)
        offset, precision = self.prior.mean[field] - old, self.prior.precision[field]  # (F, d)
        parts = [*split_rows(chunk, self.problem.max_rows)]
        gram: Tensor | float = 0.0
        for part in parts:
            state, h = self._gather(part, old)
            if not chunk.by_rows:
                gram = _gram(h, part.weight) + gram
        if chunk.by_rows:
            variance = self.alpha.reciprocal().expand(chunk.rows.shape)
            variance = variance if chunk.weight is None else variance / chunk.weight  # (F, c)
            change, failed = draw_by_rows(h[..., :-1], h[..., -1], variance, offset, precision, self.generator)
        else:
            change, failed = draw_by_precision(gram, offset, precision, self.alpha, self.generator)
        self.failed |= failed
        self.theta[chunk.features] = old + change
        for part in parts:
            if len(parts) > 1:
                state, h = self._gather(part, old)
            self._update(part, state, h, change)

    def _gather(self, chunk: Chunk, old: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state (F, c, d + 1) of a chunk's rows, and ``(h_r, e_r)`` (F, c, d + 1)."""
        k, (n, c) = self.n_factors, chunk.rows.shape
        state = self.state.index_select(0, chunk.rows.flatten()).view(n, c, k + 2)
        own = torch.cat([old[:, :k], old.new_zeros(n, 2)], 1).unsqueeze(1)  # (F, 1, d + 1)
        if chunk.values is None:
            return state, state - own
        x = chunk.values.unsqueeze(2)  # (F, c, 1)
        h = torch.addcmul(state, own, x, value=-1)
        h[..., :-1] *= x
        return state, h

    def _update(self, chunk: Chunk, state: Tensor, h: Tensor, change: Tensor) -> None:
        """Put into the rows' state what follows from the change (F, d) of the features' parameters."""
        k = self.n_factors
        own = change[:, None, :k]  # (F, 1, k)
        state[..., :k] += own if chunk.values is None else own * chunk.values.unsqueeze(2)
        leaves = torch.cat([-change, change.new_ones(len(change), 1)], 1)  # (F, d + 1)
        state[..., -1:] = h @ leaves.unsqueeze(2)
        self.state.index_copy_(0, chunk.rows.flatten(), state.flatten(0, 1))

    def draw(self) -> Draw:
        """Return the present draw; features without rows, of which sweeps know nothing, are drawn from the prior."""
        theta, unseen = self.theta.clone(), self.problem.unseen
        theta[unseen] = self.draw_from_prior(self.problem.fields[unseen])
        return Draw(self.intercept, theta, self.alpha, self.prior)

    def draw_from_prior(self, fields: Tensor) -> Tensor:
        """Return the parameters (n, d) of new features of the given fields (n,)."""
        mean, precision = self.prior.mean[fields], self.prior.precision[fields]
        noise = torch.randn(mean.shape, generator=self.generator, dtype=mean.dtype, device=mean.device)
        return mean + noise * precision.rsqrt()


def _gram(h: Tensor, weight: Tensor | None) -> Tensor:
    """Return ``sum_r s_r (h_r, e_r) (h_r, e_r)'`` (F, d + 1, d + 1) of h with the residuals (F, c, d + 1)."""
    return (h if weight is None else h * weight.unsqueeze(2)).mT @ h
