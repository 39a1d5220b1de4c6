"""Layers of the deep models."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skafm.nn import functional

_EPSILON = 1e-5
"""Is added to variances before their square root is divided by."""


class ParameterFactory(NamedTuple):
    """Creates parameters, with one random generator, device and dtype."""

    generator: torch.Generator | None = None
    """Random generator on the device; None is torch's global one."""
    device: torch.device | str | None = None
    dtype: torch.dtype | None = None

    def constant(self, *shape: int, value: float = 0.0) -> nn.Parameter:
        """Return a parameter of this shape filled with a value."""
        return nn.Parameter(torch.full(shape, value, device=self.device, dtype=self.dtype))

    def normal(self, *shape: int, std: float) -> nn.Parameter:
        """Return a parameter of this shape drawn from a normal distribution of mean 0."""
        parameter = nn.Parameter(torch.empty(shape, device=self.device, dtype=self.dtype))
        if not parameter.is_meta:  # on the meta device drawing only costs a second of imports
            nn.init.normal_(parameter, std=std, generator=self.generator)
        return parameter

    def he_normal(self, n_in: int, n_out: int) -> nn.Parameter:
        """Return the weight matrix (n_in, n_out) of a layer with ReLU (He et al., 2015)."""
        return self.normal(n_in, n_out, std=(2 / n_in) ** 0.5)

    def projection(self, n_in: int, n_outputs: int | None) -> nn.Parameter:
        """Return the output weights p, (n_in,) or (C, n_in)."""
        return self.normal(*(() if n_outputs is None else (n_outputs,)), n_in, std=n_in**-0.5)


class BatchNorm(nn.Module):
    """Batch normalization of several layers, weighted, and its running statistics (Ioffe and Szegedy, 2015).

    Parameters
    ----------
    sizes : sequence of int
        Number of units of each layer.
    factory : ParameterFactory
        Creates the initial parameters.
    """

    def __init__(self, sizes: Sequence[int], factory: ParameterFactory) -> None:
        super().__init__()
        self.scales = nn.ParameterList(factory.constant(size, value=1.0) for size in sizes)
        self.shifts = nn.ParameterList(factory.constant(size) for size in sizes)
        # Running statistics for prediction are parameters that are not trained, so that they are stored and loaded.
        self.n_batches = factory.constant().requires_grad_(False)
        self.means = nn.ParameterList(factory.constant(size).requires_grad_(False) for size in sizes)
        self.variances = nn.ParameterList(factory.constant(size, value=1.0).requires_grad_(False) for size in sizes)

    @torch.no_grad()
    def count_batch(self) -> None:
        """Count a batch of training, before its layers are normalized."""
        self.n_batches.add_(1)

    def forward(self, layer: int, z: Tensor, weight: Tensor | None) -> Tensor:
        """Return the normalized inputs (B, size) of the units of a layer; training weights the rows by (B,)."""
        mean, variance, affine = self.means[layer], self.variances[layer], (self.scales[layer], self.shifts[layer])
        if not self.training:
            return normalize(z, mean, variance, *affine)
        normalized, batch_mean, batch_variance = normalize_batch(z, weight, *affine)
        with torch.no_grad():
            # The mean of the first ten batches, then an exponential moving average.
            momentum = self.n_batches.reciprocal().clamp(min=0.1)
            mean.lerp_(batch_mean, momentum)
            variance.lerp_(batch_variance, momentum)
        return normalized


class MLP(nn.Module):
    """Hidden layers ``z <- dropout(ReLU(norm(z W + b)))``.

    Parameters
    ----------
    sizes : sequence of int
        Sizes of the input and of each hidden layer.
    dropout : float
        Probability of dropping each hidden unit of a row in training; at least 0 and below 1.
    factory : ParameterFactory
        Creates the initial parameters; its generator draws dropout, too.
    batch_norm : bool, default=False
        Whether ``norm`` is batch normalization; by default it is nothing.
    """

    norm: BatchNorm | None

    def __init__(
        self, sizes: Sequence[int], dropout: float, factory: ParameterFactory, *, batch_norm: bool = False
    ) -> None:
        super().__init__()
        self.dropout, self.generator = dropout, factory.generator
        self.coefs = nn.ParameterList(factory.he_normal(*pair) for pair in pairwise(sizes))
        self.intercepts = nn.ParameterList(factory.constant(size) for size in sizes[1:])
        self.norm = BatchNorm(sizes[1:], factory) if batch_norm else None
        for intercept in self.intercepts:  # that normalization takes out again: of its gradient only rounding is left
            intercept.requires_grad_(not batch_norm)

    def forward(self, z: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the last hidden layer (B, sizes[-1]) of an input (B, sizes[0]), whose rows have weights (B,)."""
        if self.norm is not None and self.training:
            self.norm.count_batch()
        for layer, (coef, intercept) in enumerate(zip(self.coefs, self.intercepts, strict=True)):
            z = torch.addmm(intercept, z, coef)  # (B, n_out)
            z = (z if self.norm is None else self.norm(layer, z, weight)).relu()
            if self.training and self.dropout > 0:
                z = z * functional.dropout_mask(z.shape, self.dropout, self.generator, z)
        return z


class ResidualUnits(nn.Module):
    """Residual units ``z <- ReLU(z + ReLU(norm(z W)) U + b)`` with batch normalization (Shan et al., 2016).

    Parameters
    ----------
    n_in : int
        Size of z, the same for all units.
    sizes : sequence of int
        Hidden size of each unit.
    dropout : float
        Probability of dropping each hidden unit of a row in training; at least 0 and below 1.
    factory : ParameterFactory
        Creates the initial parameters; its generator draws dropout, too.
    """

    def __init__(self, n_in: int, sizes: Sequence[int], dropout: float, factory: ParameterFactory) -> None:
        super().__init__()
        self.dropout, self.generator = dropout, factory.generator
        self.coefs_in = nn.ParameterList(factory.he_normal(n_in, size) for size in sizes)  # W
        self.norm = BatchNorm(sizes, factory)
        self.coefs_out = nn.ParameterList(factory.he_normal(size, n_in) for size in sizes)  # U
        self.intercepts = nn.ParameterList(factory.constant(n_in) for _ in sizes)

    def forward(self, z: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the last unit's output (B, n_in); batch normalization is weighted by ``weight`` (B,)."""
        if self.training:
            self.norm.count_batch()
        units = zip(self.coefs_in, self.coefs_out, self.intercepts, strict=True)
        for unit, (coef_in, coef_out, intercept) in enumerate(units):
            hidden = self.norm(unit, z @ coef_in, weight).relu()  # (B, size)
            if self.training and self.dropout > 0:
                hidden = hidden * functional.dropout_mask(hidden.shape, self.dropout, self.generator, hidden)
            z = (z + torch.addmm(intercept, hidden, coef_out)).relu()  # (B, n_in)
        return z


def normalize_batch(z: Tensor, weight: Tensor | None, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return z (B, d) normalized by its weighted mean and variance, and these (d,); the rows have weights (B,)."""
    if weight is None:  # torch's is seven times as fast
        normalized, mean, inverse_std = torch.native_batch_norm(z, scale, shift, None, None, True, 0.0, _EPSILON)
        return normalized, mean, (inverse_std.pow(-2) - _EPSILON).clamp(min=0.0)
    share = weight / weight.sum()  # (B,)
    mean = share @ z  # (d,)
    variance = share @ (z - mean).square()
    return normalize(z, mean, variance, scale, shift), mean, variance


def normalize(z: Tensor, mean: Tensor, variance: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return ``scale (z - mean) / sqrt(variance + 1e-5) + shift`` (Ioffe and Szegedy, 2015): (B, d)."""
    factor = scale * (variance + _EPSILON).rsqrt()  # (d,)
    return torch.addcmul(shift - mean * factor, z, factor)
