"""Draws of a posterior distribution as the attributes of a fitted model: its mean is a factorization machine, too.

The mean of the raw scores of S factorization machines of k factors is the raw score of one with S k factors, the draws'
embeddings side by side, divided by the square root of S.

Letters in shapes: n features and those that stand for missing fields, C outputs, S draws, k factors.
"""

from typing import NamedTuple

import numpy as np

_COARSE = 1e-3
"""By this share of the spread of y predictions may be rounded."""


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
        """Return the draws of ``shift + scale * raw``; intercepts are float64 if the precision is too low for them."""
        exact = shift + scale * self.intercepts
        intercepts = exact.astype(self.factors.dtype)
        if np.any(np.spacing(np.abs(intercepts)) > _COARSE * scale):
            intercepts = exact
        factors = self.factors * np.sqrt(scale).astype(self.factors.dtype)
        weights = self.weights * np.asarray(scale, self.weights.dtype)
        return Draws(intercepts, weights, factors, scale * self.noise_std)

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


class CenteredTerms(NamedTuple):
    """Draws of some features U, relative to the average feature of their field."""

    intercepts: np.ndarray
    """(C, S)"""
    weights: np.ndarray
    """(U, C, S)"""
    factors: np.ndarray
    """(U, C, S, k)"""


def center_fields(draws, features, bounds):
    """Center v and w in each one-hot field that rows have, without a change of the raw scores of complete rows.

    With m_g the mean vector of field g and M the sum of all m_g, ``v_i <- v_i - m_g``,
    ``w_i <- w_i + <v_i - m_g, M - m_g>`` less its mean in the field, and w0 takes what is left. Draws differ in how
    they share a row's effect among terms that add up to the same; so centered, they do not.

    Parameters
    ----------
    draws : Draws
        The later features stand for missing fields, in the order of the fields.
    features : ndarray of shape (U,)
    bounds : ndarray of shape (2 F,)
        First feature of each of F fields, and the one after its last.

    Returns
    -------
    CenteredTerms
    """
    fields = [slice(*pair) for pair in bounds.reshape(-1, 2).tolist()]
    n_fields, shape = len(fields), draws.factors.shape[1:]
    means = np.array([draws.factors[field].mean(axis=0) for field in fields]).reshape(n_fields, *shape)
    offsets = np.array([draws.weights[field].mean(axis=0) for field in fields]).reshape(n_fields, *shape[:-1])
    total = means.sum(axis=0)  # (C, S, k)
    field_of = np.full(len(draws.factors), n_fields)  # of none
    for number, field in enumerate(fields):
        field_of[field] = number
    field_of[len(field_of) - n_fields :] = np.arange(n_fields)
    own = field_of[features]  # (U,)
    none = np.zeros((1, *shape), draws.factors.dtype)
    mean = np.concatenate([means, none])[own]  # (U, C, S, k)
    offset = np.concatenate([offsets, none[..., 0]])[own]  # (U, C, S)
    factors = draws.factors[features] - mean  # (U, C, S, k)
    weights = draws.weights[features] - offset + np.einsum("ucsk,ucsk->ucs", factors, total - mean)
    pairs = (np.square(total) - np.square(means).sum(axis=0)).sum(axis=-1) / 2  # (C, S)
    return CenteredTerms(draws.intercepts + offsets.sum(axis=0) + pairs, weights, factors)
