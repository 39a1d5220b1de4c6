"""The chains of all outputs, and the draws that are kept of them."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from skafm._sampling.chain import Chain, Problem
from skafm._sampling.noise import NormalNoise, Probit
from skafm._training.threads import limit_threads

_NOISE = {"regression": NormalNoise, "classification": Probit}


class Kept(NamedTuple):
    """Draws, as arrays; n counts the features, and those that stand for missing fields after them."""

    intercepts: NDArray[Any]
    """(C, S)"""
    weights: NDArray[Any]
    """(n, C, S)"""
    factors: NDArray[Any]
    """(n, C, S, k)"""
    noise_std: NDArray[Any]
    """(C, S)"""


class Sampler:
    """One chain for each output, which sweep in turn.

    Parameters
    ----------
    problem : Problem
    task : {"regression", "classification"}
    observed : ndarray of shape (B, C)
        Targets of mean 0 and standard deviation 1, or signs.
    n_factors : int
    seeds : sequence of int
        One for each output.
    missing_fields : ndarray of shape (F,)
        Fields that may be missing, whose stand-in is drawn from the prior.
    n_kept : int
        Maximum number of draws to keep.
    """

    def __init__(
        self,
        problem: Problem,
        task: str,
        observed: NDArray[Any],
        n_factors: int,
        seeds: Sequence[int],
        missing_fields: NDArray[Any],
        n_kept: int,
    ) -> None:
        device, dtype = problem.weight.device, problem.weight.dtype
        targets = torch.tensor(observed.T, dtype=dtype, device=device).contiguous()  # (C, B)
        generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self.chains = [
            Chain(problem, target, _NOISE[task](), n_factors, generator)
            for target, generator in zip(targets, generators, strict=True)
        ]
        self.missing_fields = torch.as_tensor(missing_fields, device=device)
        n, n_outputs = problem.rows.n_features + len(missing_fields), len(targets)
        empty = partial(np.empty, dtype=torch.empty(0, dtype=dtype).numpy().dtype)
        self._kept = Kept(
            empty((n_outputs, n_kept)),
            empty((n, n_outputs, n_kept)),
            empty((n, n_outputs, n_kept, n_factors)),
            empty((n_outputs, n_kept)),
        )
        self.n_kept = 0

    def set_parameters(self, intercepts: NDArray[Any], weights: NDArray[Any], factors: NDArray[Any]) -> None:
        """Set the parameters of the chains: intercepts (C,), weights (n_features, C), factors (n_features, C, k)."""
        for output, chain in enumerate(self.chains):
            theta = np.concatenate([factors[:, output], weights[:, output, None]], axis=1)
            tensors = (torch.as_tensor(each).to(chain.observed) for each in (intercepts[output], theta))
            chain.set_parameters(*tensors)

    def sweep(self) -> float:
        """Draw all parameters once, and return the root mean square of the residuals.

        Raises
        ------
        FloatingPointError
            If the draws are no longer finite, or rounding has made a matrix indefinite.
        """
        with limit_threads(0):
            for chain in self.chains:
                chain.sweep()
        errors = [float(chain.residual.square().mean().sqrt()) for chain in self.chains]
        error = sum(errors) / len(errors)
        if not np.isfinite(error) or any(bool(chain.failed) for chain in self.chains):
            raise FloatingPointError("the draws are not finite")
        return error

    def record(self, *, keep: bool) -> None:
        """Record the present draws, to be kept or to be replaced by the next."""
        s, kept = self.n_kept, self._kept
        for output, chain in enumerate(self.chains):
            draw = chain.draw()
            theta = torch.cat([draw.theta, chain.draw_from_prior(self.missing_fields)]).numpy(force=True)
            kept.intercepts[output, s] = draw.intercept.item()
            kept.weights[:, output, s] = theta[:, -1]
            kept.factors[:, output, s] = theta[:, :-1]
            kept.noise_std[output, s] = draw.alpha.item() ** -0.5
        self.n_kept += keep

    def kept(self) -> Kept:
        """Return the draws that were kept so far; if there are none, the present one."""
        s, (intercepts, weights, factors, noise_std) = max(self.n_kept, 1), self._kept
        return Kept(intercepts[:, :s], weights[..., :s], factors[:, :, :s], noise_std[:, :s])
