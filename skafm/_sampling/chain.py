"""The Markov chain: a sweep draws each block of features, and all else, once.

Letters in shapes: B rows, S slots of a block, F features, c rows of a feature, d = k + 1 parameters of a feature.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from skafm._sampling.conditionals import draw_by_precision, draw_by_rows, gram_of, residual_slopes, update_state
from skafm._sampling.hyperpriors import FieldMembers, Prior, draw_normal, draw_prior
from skafm._sampling.layout import Block, Group, Rectangle
from skafm._sampling.noise import Noise
from skafm._training.batching import CSRRows
from skafm.nn.functional import sum_entries

_RECOMPUTE = 10
"""Number of sweeps after which sums that are updated in place are computed anew, against rounding."""


class Problem(NamedTuple):
    """What all chains of a fit share."""

    rows: CSRRows
    weight: Tensor
    """(B,) Sample weights."""
    blocks: list[Block]
    slots: Tensor
    """(B,) Slot of each row between sweeps."""
    fields: Tensor
    """(n_features,) Field of each feature."""
    members: FieldMembers
    variance: Tensor
    """(d,) What the variances of the parameters are about, in float64."""
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
        mean = observed.new_zeros(len(problem.members.offsets) - 1, n_factors + 1)  # (G, d)
        self.prior = Prior(mean, problem.variance.reciprocal().to(mean).expand_as(mean))
        theta = self.draw_from_prior(problem.fields)  # (n_features, d)
        theta[:, -1] = 0
        self.alpha, self.target = observed.new_ones(()), observed
        sizes = [len(problem.rows) + 1, *(len(block.source) for block in problem.blocks if block.reorders)]
        largest = max(len(problem.rows) + 1, *(len(block.source) for block in problem.blocks))
        self._buffers = [observed.new_empty(largest, n_factors + 2) for _ in range(2)]
        self.state = self._buffers[0][: sizes[-1]]
        self.intercept, self.theta = observed.new_zeros(()), theta
        self._compute_state()

    def set_parameters(self, intercept: Tensor, theta: Tensor) -> None:
        """Set w0 () and theta (n_features, d), and draw their prior."""
        self.intercept, self.theta = intercept, theta
        self._compute_state()
        self._draw_prior()

    def _compute_state(self) -> None:
        """Compute T, a column of ones and the residuals of all slots (S, d + 1), zeros for that of no row."""
        rows, k = self.problem.rows, self.n_factors
        sums = sum_entries(self.theta, rows.indices, rows.values, rows.indptr)  # (B, d)
        squares = self.theta[:, :k].square().sum(1, keepdim=True)  # (n_features, 1)
        x2 = None if rows.values is None else rows.values.square()
        self_products = sum_entries(squares, rows.indices, x2, rows.indptr).squeeze(1)  # (B,)
        raw = self.intercept + sums[:, k] + (sums[:, :k].square().sum(1) - self_products) / 2
        self.residual = self.target - raw  # (B,)
        sums[:, k] = 1
        self.state.zero_()
        self.state[self.problem.slots, :-1] = sums

    @torch.no_grad()
    def sweep(self) -> None:
        """Draw all parameters once."""
        self.n_sweeps += 1
        if self.n_sweeps % _RECOMPUTE == 0:
            self._compute_state()
        self._draw_noise()
        self._draw_intercept()
        self.state[:, -1].index_copy_(0, self.problem.slots, self.residual)
        for block in self.problem.blocks:
            self._draw_block(block)
        self.residual = self.state[:, -1].index_select(0, self.problem.slots)
        self._draw_prior()

    def _draw_prior(self) -> None:
        self.prior = draw_prior(self.theta, self.problem.members, self.problem.variance, self.generator)

    def _draw_noise(self) -> None:
        raw = self.target - self.residual
        self.target, self.alpha = self.noise.draw(self.observed, raw, self.problem.weight, self.generator)
        self.residual = self.target - raw

    def _draw_intercept(self) -> None:
        """Draw w0, whose prior is N(0, 1)."""
        weight = self.problem.weight
        precision = self.alpha * weight.sum() + 1
        q = self.alpha * (weight * self.residual).sum() - self.intercept
        change = q / precision + draw_normal(q, self.generator) * precision.rsqrt()
        self.intercept = self.intercept + change
        self.residual = self.residual - change

    def _draw_block(self, block: Block) -> None:
        """Draw the parameters of a block's features, and update the state of their rows."""
        state = torch.index_select(self.state, 0, block.source, out=self._buffers[1][: len(block.source)])  # (S, d + 1)
        for group in block.groups:
            self._draw_features(group, state)
        if block.reorders:
            self.state = state
            self._buffers.reverse()
        else:
            self.state.index_copy_(0, block.source, state)
            self.state[-1] = 0  # what features with fewer rows have written

    def _draw_features(self, group: Group, state: Tensor) -> None:
        """Draw the parameters of a group's features, given the slots' state (S, d + 1), and update that."""
        old = self.theta.index_select(0, group.features)  # (F, d)
        field = self.problem.fields.index_select(0, group.features)  # (F,)
        mean, precision = (each.index_select(0, field) for each in self.prior)  # (F, d)
        draw = self._draw_by_rows if group.by_rows else self._draw_by_precision
        change, failed = draw(group, state, old, mean - old, precision)
        self.failed |= failed
        self.theta.index_copy_(0, group.features, old + change)
        for each in group.rectangles:
            for rows, x, _ in each.split(state, self.problem.max_rows):
                update_state(rows, old[each.features], change[each.features], x)

    def _draw_by_precision(
        self, group: Group, state: Tensor, old: Tensor, offset: Tensor, precision: Tensor
    ) -> tuple[Tensor, Tensor]:
        grams = [self._gram_of(each, state, old[each.features]) for each in group.rectangles]
        gram = torch.cat(grams) if len(grams) > 1 else grams[0]  # (F, d + 1, d + 1)
        return draw_by_precision(gram, offset, precision, self.alpha, self.generator)

    def _gram_of(self, rectangle: Rectangle, state: Tensor, theta: Tensor) -> Tensor:
        """Return the sums (F, d + 1, d + 1) of :func:`gram_of` over all rows of the features."""
        first, *others = (gram_of(rows, theta, *x) for rows, *x in rectangle.split(state, self.problem.max_rows))
        for each in others:
            first += each
        return first

    def _draw_by_rows(
        self, group: Group, state: Tensor, old: Tensor, offset: Tensor, precision: Tensor
    ) -> tuple[Tensor, Tensor]:
        ((rows, x, weight),) = group.rectangles[0].split(state, self.problem.max_rows)  # of few rows each
        h = residual_slopes(rows, old, x)  # (F, c, d + 1)
        variance = self.alpha.reciprocal().expand(h.shape[:2])  # (F, c)
        variance = variance if weight is None else variance / weight
        return draw_by_rows(h[..., :-1], h[..., -1], variance, offset, precision, self.generator)

    def draw(self) -> Draw:
        """Return the present draw; features without rows, of which sweeps know nothing, are drawn from the prior."""
        theta, unseen = self.theta.clone(), self.problem.unseen
        theta[unseen] = self.draw_from_prior(self.problem.fields[unseen])
        return Draw(self.intercept, theta, self.alpha, self.prior)

    def draw_from_prior(self, fields: Tensor) -> Tensor:
        """Return the parameters (n, d) of new features of the given fields (n,)."""
        mean, precision = self.prior.mean[fields], self.prior.precision[fields]
        return mean + draw_normal(mean, self.generator) * precision.rsqrt()
