"""What the targets are to the raw score: a normal distribution around it, or the sign of one (probit)."""

from abc import ABC, abstractmethod
from math import sqrt

import torch
from torch import Tensor

from skafm._sampling.hyperpriors import draw_noise_precision

_LEAST = 2.0**-53
"""Least uniform number: the quantile of 1 is infinite."""
_FAR = -30.0
"""Below this bound the tail of the normal distribution is drawn as that of an exponential one."""


class Noise(ABC):
    """Draws what lies between the raw score and what was observed."""

    @abstractmethod
    def draw(self, observed: Tensor, raw: Tensor, weight: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return targets (B,), which are normal around the raw scores, and the noise precision () of weight 1."""


class NormalNoise(Noise):
    """Observed are the targets; the precision of their noise is drawn."""

    def draw(self, observed: Tensor, raw: Tensor, weight: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return observed, draw_noise_precision(observed - raw, weight, generator)


class Probit(Noise):
    """Observed are the signs, -1 or 1, of targets with noise of precision 1 (Albert and Chib, 1993)."""

    def draw(self, observed: Tensor, raw: Tensor, weight: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        root, margin = weight.double().sqrt(), observed.double() * raw.double()  # (B,)
        target = observed * (margin - draw_tail(margin * root, generator) / root)
        return target.to(raw.dtype), raw.new_ones(())


def draw_tail(bound: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from standard normal distributions that are cut off above ``bound`` (B,), in float64, by inversion."""
    uniform = torch.rand(bound.shape, generator=generator, dtype=torch.float64, device=bound.device)
    mass = torch.special.erfc(-bound.clamp(min=_FAR) / sqrt(2)) / 2  # torch's ndtr is 0 below -8
    near = torch.special.ndtri((1 - uniform.clamp(min=_LEAST)) * mass)
    far = bound + torch.log1p(-uniform) / bound.abs().clamp(min=1)
    return torch.where(bound < _FAR, far, near)
