"""Draws of a posterior distribution as the attributes of a fitted model: its mean is a factorization machine, too.

The mean of the raw scores of S factorization machines of k factors is the raw score of one with S k factors, the draws'
embeddings side by side, divided by the square root of S.

Letters in shapes: n features and those that stand for missing fields, C outputs, S draws, k factors.
"""

from typing import NamedTuple

import numpy as np


class Draws(NamedTuple):
    """Draws in some unit."""

    intercepts: np.ndarray
    """(C, S)"""
    weights: np.ndarray
    """(n, C, S)"""
    factors: np.ndarray
    """(n, C, S, k)"""
    noise_std: np.ndarray
    """(C, S)"""

    def rescale(self, shift, scale):
        """Return the draws of ``shift + scale * raw``."""
        factors = self.factors * np.sqrt(scale).astype(self.factors.dtype)
        weights = self.weights * np.asarray(scale, self.weights.dtype)
        return Draws(shift + scale * self.intercepts, weights, factors, scale * self.noise_std)

    def append(self, other):
        """Return these draws and others."""
        axes = zip(self, other, (1, 2, 2, 1), strict=True)
        return Draws(*(np.concatenate([first, second], axis=axis) for first, second, axis in axes))


def attributes_from_draws(draws, n_features):
    """Return the fitted attributes, by name.

    Parameters
    ----------
    draws : Draws
    n_features : int
        Later features stand for missing fields.

    Returns
    -------
    attributes : dict of str to ndarray
        Also the private ones of the rows of missing fields.
    """
    n_outputs, n_draws = draws.intercepts.shape
    factors = draws.factors.reshape(len(draws.factors), -1) / np.sqrt(n_draws).astype(draws.factors.dtype)
    coef = draws.weights.mean(axis=2)  # (n, C)
    own = (slice(None), slice(None) if n_outputs > 1 else 0)
    weights = draws.weights[own]  # (n, S) or (n, C, S)
    missing = {"linear.weight": coef[own][n_features:], "factors": factors[n_features:]}
    attributes = {
        "intercept_": draws.intercepts.mean(axis=1)[own[1]],
        "linear_coef_": coef[own][:n_features].T.copy(),
        "factors_": factors[:n_features],
        "intercept_draws_": draws.intercepts[own[1]],
        "linear_coef_draws_": weights[:n_features],
        "noise_std_draws_": draws.noise_std[own[1]],
        "_missing_rows": missing if len(factors) > n_features else {},
        "_missing_draws": weights[n_features:],
    }
    if n_outputs > 1:
        repeats = factors.shape[1] // n_outputs
        attributes["projection_"] = np.repeat(np.eye(n_outputs, dtype=factors.dtype), repeats, axis=1)
    return attributes


def draws_from_attributes(model):
    """Return the draws of a fitted model."""
    intercepts, noise_std = np.atleast_2d(model.intercept_draws_), np.atleast_2d(model.noise_std_draws_)
    n_outputs, n_draws = intercepts.shape
    weights, factors = model.linear_coef_draws_, model.factors_
    if model._missing_rows:
        weights = np.concatenate([weights, model._missing_draws])
        factors = np.concatenate([factors, model._missing_rows["factors"]])
    factors = factors.reshape(len(factors), n_outputs, n_draws, -1) * np.sqrt(n_draws).astype(factors.dtype)
    return Draws(intercepts, weights.reshape(len(weights), n_outputs, n_draws), factors, noise_std)
