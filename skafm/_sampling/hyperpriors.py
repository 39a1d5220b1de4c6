"""The priors of the parameters, drawn with them: a normal distribution for each field and factor.

In field g, factor f (the weights w count as one more factor) has the prior ``v_if ~ N(mu_gf, 1 / lambda_gf)``, and

``lambda_gf ~ Gamma(alpha_0 / 2, rate=alpha_0 s_f / 2)``,  ``mu_gf ~ N(0, 1 / (gamma_0 lambda_gf))``

as in Freudenthaler, Schmidt-Thieme and Rendle (2011), with libFM's constants alpha_0 = gamma_0 = 1. DIFF: libFM's
variance s_f is 1 whatever the rows, see :func:`prior_variances`. The noise precision is drawn likewise, with s = 1, and
w0 has N(0, 1).

Letters in shapes: B rows, G fields, d = k + 1 parameters of a feature.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn.functional import pad

from skafm.nn.functional import sum_entries

ALPHA_0, GAMMA_0 = 1.0, 1.0
"""libFM's constants: twice the shape of the gamma distributions, and the features that the prior mean 0 counts as."""
_RATIO = 1 / 16
"""Variance of the embeddings, relative to that of w.

With more the first draws overfit few rows, with less all factors shrink to zero at first, which costs sweeps.
"""


class Prior(NamedTuple):
    """Means and precisions of the parameters of each field."""

    mean: Tensor
    """(G, d)"""
    precision: Tensor
    """(G, d)"""


class FieldMembers(NamedTuple):
    """The features that have rows, field by field: the others say nothing of their field."""

    features: Tensor
    """(U,) Sorted by field."""
    offsets: Tensor
    """(G + 1,) Where each field begins among them."""

    @classmethod
    def of(cls, fields: Tensor, seen: Tensor, n_fields: int) -> "FieldMembers":
        """Return the members of fields; ``fields`` and the mask ``seen`` are of shape (n_features,)."""
        features = seen.nonzero().squeeze(1)
        own = fields[features]
        counts = torch.bincount(own, minlength=n_fields)
        return cls(features[own.argsort(stable=True)], pad(counts.cumsum(0), (1, 0)))


def prior_variances(rows: sparse.csr_array, weight: NDArray[Any], n_factors: int) -> NDArray[Any]:
    """Return the variances (d,) of v and w, such that the linear terms of a row have the variance of the targets, 1.

    With m the mean over the rows, of weights (B,), of ``sum_i x_i^2`` they are ``s_w = 1 / m`` and ``s_v = s_w / 16``.
    """
    m = float(np.average(rows.multiply(rows).sum(axis=1), weights=weight)) or 1.0
    return np.array([_RATIO / m] * n_factors + [1 / m])


def draw_prior(theta: Tensor, members: FieldMembers, variance: Tensor, generator: torch.Generator) -> Prior:
    """Draw the prior given the parameters: the precision first, then the mean given it.

    Parameters
    ----------
    theta : Tensor of shape (n_features, d)
    members : FieldMembers
    variance : Tensor of shape (d,)
        What 1 / precision is about, as sure as ``ALPHA_0`` features make it; float64.
    generator : torch.Generator
    """
    table = theta.double()  # sums of squares lose digits
    count = members.offsets.diff().double().unsqueeze(1)  # (G, 1)
    total = sum_entries(table, members.features, None, members.offsets)  # (G, d)
    mean = total / count.clamp(min=1)
    field = torch.arange(len(count), device=count.device).repeat_interleave(members.offsets.diff())  # (U,)
    deviation = (table[members.features] - mean[field]).square()  # (U, d)
    order = torch.arange(len(field), device=count.device)
    scatter = sum_entries(deviation, order, None, members.offsets)  # (G, d)
    rate = (ALPHA_0 * variance + scatter + mean.square() * GAMMA_0 * count / (GAMMA_0 + count)) / 2
    shape = ((ALPHA_0 + count) / 2).expand_as(rate)
    precision = draw_gamma(shape, generator) / rate
    noise = draw_normal(rate, generator)
    mean = total / (GAMMA_0 + count) + noise * ((GAMMA_0 + count) * precision).rsqrt()
    return Prior(mean.to(theta.dtype), precision.to(theta.dtype))


def draw_noise_precision(residual: Tensor, weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the noise precision () given residuals and weights (B,): a row of weight 2 counts as two."""
    shape = (ALPHA_0 + weight.sum(dtype=torch.float64)) / 2
    rate = (ALPHA_0 + (weight * residual.square()).sum(dtype=torch.float64)) / 2
    return (draw_gamma(shape, generator) / rate).to(residual.dtype)


def draw_gamma(shape: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from gamma distributions of the given shapes and rate 1."""
    return torch._standard_gamma(shape, generator=generator)  # noqa: SLF001 torch.distributions takes no generator


def draw_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers of the shape, the precision and the device of a tensor."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
