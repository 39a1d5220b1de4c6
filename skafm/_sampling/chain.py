"""The Markov chain: a sweep draws each block of features, and all else, once.

Letters in shapes: B rows, F features, c rows of a feature, d = k + 1 parameters of a feature.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from skafm._sampling.chunks import Chunk, split_rows
from skafm._sampling.conditionals import draw_by_precision, draw_by_rows, gram_of, residual_slopes
from skafm._sampling.hyperpriors import FieldMembers, Prior, draw_normal, draw_prior
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
        theta = _INITIAL_STD * draw_normal(observed.new_empty(problem.rows.n_features, n_factors + 1), generator)
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
        sums = sum_entries(self.theta, rows.indices, rows.values, rows.indptr)  # (B, d)
        squares = self.theta[:, :k].square().sum(1, keepdim=True)  # (n_features, 1)
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
        change = q / precision + draw_normal(q, self.generator) * precision.rsqrt()
        self.intercept = self.intercept + change
        self.residual.sub_(change)

    def _draw_features(self, chunk: Chunk) -> None:
        """Draw the parameters of a chunk's features, and update T and the residuals of their rows."""
        old = self.theta[chunk.features]  # (F, d)
        field = self.problem.fields[chunk.features]  # (F,)
        offset, precision = self.prior.mean[field] - old, self.prior.precision[field]  # (F, d)
        draw = self._draw_by_rows if chunk.by_rows else self._draw_by_precision
        parts = [*split_rows(chunk, self.problem.max_rows)]
        state = self._gather(parts[0])  # (F, c, d + 1)
        change, failed = draw(parts, state, old, offset, precision)
        self.failed |= failed
        self.theta[chunk.features] = old + change
        for part in parts:
            self._update(part, state if len(parts) == 1 else self._gather(part), old, change)

    def _draw_by_precision(
        self, parts: list[Chunk], state: Tensor, old: Tensor, offset: Tensor, precision: Tensor
    ) -> tuple[Tensor, Tensor]:
        gram = gram_of(state, old, parts[0].values, parts[0].weight)
        for part in parts[1:]:
            gram += gram_of(self._gather(part), old, part.values, part.weight)
        return draw_by_precision(gram, offset, precision, self.alpha, self.generator)

    def _draw_by_rows(
        self, parts: list[Chunk], state: Tensor, old: Tensor, offset: Tensor, precision: Tensor
    ) -> tuple[Tensor, Tensor]:
        (chunk,) = parts  # of few rows
        h = residual_slopes(state, old, chunk.values)  # (F, c, d + 1)
        variance = self.alpha.reciprocal().expand(chunk.rows.shape)  # (F, c)
        variance = variance if chunk.weight is None else variance / chunk.weight
        return draw_by_rows(h[..., :-1], h[..., -1], variance, offset, precision, self.generator)

    def _gather(self, chunk: Chunk) -> Tensor:
        """Return the state (F, c, d + 1) of a chunk's rows."""
        return self.state.index_select(0, chunk.rows.flatten()).view(*chunk.rows.shape, -1)

    def _update(self, chunk: Chunk, state: Tensor, old: Tensor, change: Tensor) -> None:
        """Set the rows' state after the change (F, d) of the features' parameters."""
        k, x = self.n_factors, chunk.values
        slope = state[..., :-1] @ change.unsqueeze(2)  # (F, c, 1)
        own = (old[:, :k] * change[:, :k]).sum(1).view(-1, 1, 1)  # (F, 1, 1)
        if x is None:
            state[..., :k] += change[:, None, :k]
            state[..., -1:] += own - slope
        else:
            x = x.unsqueeze(2)  # (F, c, 1)
            state[..., :k] += x * change[:, None, :k]
            state[..., -1:] += x * (x * own - slope)
        self.state.index_copy_(0, chunk.rows.flatten(), state.flatten(0, 1))
        self.state[-1] = 0  # what features with fewer rows have written

    def draw(self) -> Draw:
        """Return the present draw; features without rows, of which sweeps know nothing, are drawn from the prior."""
        theta, unseen = self.theta.clone(), self.problem.unseen
        theta[unseen] = self.draw_from_prior(self.problem.fields[unseen])
        return Draw(self.intercept, theta, self.alpha, self.prior)

    def draw_from_prior(self, fields: Tensor) -> Tensor:
        """Return the parameters (n, d) of new features of the given fields (n,)."""
        mean, precision = self.prior.mean[fields], self.prior.precision[fields]
        return mean + draw_normal(mean, self.generator) * precision.rsqrt()
