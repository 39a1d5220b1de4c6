"""The linear model that training begins with, and the scale of its prior that suits the data."""

import operator
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import Module

from skafm._training.batching import Dataset, compact_features
from skafm._training.losses import Loss
from skafm._training.threads import limit_threads
from skafm._training.uncertainty import few_rows, mean_and_error
from skafm.nn import _sparse_ops
from skafm.nn._base import Model

_OPTIONS = {"maxiter": 100, "maxcor": 5}
"""Of SciPy's L-BFGS-B."""
_PRECISION = 1e-6
"""Share of the objective by which an iteration has to lower it."""
_LOW_PRECISION = 1e-5
"""Of the models that are compared: with 1e-4 the wrong one is chosen on large data."""
_N_FOLDS = 5


def choose_linear(
    model: Model,
    dataset: Dataset,
    validation: Dataset | None,
    loss: Loss,
    prior: Tensor,
    scales: Sequence[float],
) -> float:
    """Set the linear part of a model to the linear model that predicts best, and return the scale of its prior.

    Parameters
    ----------
    model : Model
        Its w0 is that of the best constant.
    dataset : Dataset
        The training rows.
    validation : Dataset or None
        Without one, the scale is 1. If it has few rows, the training rows are cross-validated instead, and the scale is
        the largest whose mean loss is within one standard error of the lowest (Breiman et al., 1984); otherwise it is
        that of the lowest loss, between the scales by a parabola.
    loss : callable
        Takes raw scores (B,) or (B, C) and targets, and returns the loss of each row (B,).
    prior : Tensor of shape (n_features,)
        As for :func:`fit_linear`.
    scales : sequence of float
        What the prior is multiplied by, a geometric sequence, the largest first.

    Returns
    -------
    scale : float
    """
    initial = _state(model)
    folds = [] if validation is None else [(*pair, initial) for pair in _held_out(dataset, validation)]
    if not folds:
        fit_linear(model, dataset, loss, prior)
        return 1.0
    weight = None if dataset.weight is None else torch.cat([cast(Tensor, test.weight) for _, test, _ in folds])
    mean, found, totals = partial(mean_and_error, weight=weight, group=dataset.group), [], []
    for scale in scales:
        losses = []
        for number, (train, test, state) in enumerate(folds):
            _set_state(model, state)  # that of the scale before
            fit_linear(model, train, loss, scale * prior, _LOW_PRECISION)
            folds[number] = train, test, _state(model)
            losses.append(_linear_losses(model, test, loss))
        found.append(torch.cat(losses))
        totals.append(mean(found[-1])[0])
        if len(totals) > 1 and totals[-1] >= totals[-2]:
            break  # smaller ones are worse, and slow to fit
    if len(folds) > 1:
        lowest = found[int(np.argmin(totals))]
        best = next(scale for scale, losses in zip(scales, found, strict=False) if operator.le(*mean(losses - lowest)))
    else:
        best = _interpolate_minimum(scales, totals)
    _set_state(model, initial)
    fit_linear(model, dataset, loss, best * prior)
    return best


def _interpolate_minimum(scales: Sequence[float], losses: Sequence[float]) -> float:
    """Return the scale at the minimum of the parabola through the lowest loss and its neighbors over log(scale).

    The scales are a geometric sequence. A minimum at either end is returned as it is.
    """
    lowest = int(np.argmin(losses))
    if not 0 < lowest < len(losses) - 1:
        return scales[lowest]
    before, at, after = losses[lowest - 1 : lowest + 2]
    steps = (before - after) / (before - 2 * at + after) / 2  # -1/2 to 1/2
    return float(scales[lowest] * (scales[lowest + 1] / scales[lowest]) ** steps)


def _held_out(dataset: Dataset, validation: Dataset) -> list[tuple[Dataset, Dataset]]:
    """Return pairs of rows to fit and rows to evaluate."""
    counts = dataset.group.all_gather(len(dataset.rows))
    if not few_rows(validation):
        return [(dataset, validation)]
    n_folds = min(_N_FOLDS, sum(counts))
    first = sum(counts[: dataset.group.rank])  # a row's fold is the same however many ranks there are
    folds = torch.arange(first, first + len(dataset.rows), device=dataset.rows.device) % n_folds
    return [(dataset.select(folds != k), dataset.select(folds == k)) for k in range(n_folds if n_folds > 1 else 0)]


def _state(model: Model) -> list[Tensor]:
    """Return copies of the parameters of the linear part."""
    return [p.detach().clone() for p in cast(Module, model.linear).parameters()]


def _set_state(model: Model, state: Sequence[Tensor]) -> None:
    """Set the parameters of the linear part."""
    for parameter, value in zip(cast(Module, model.linear).parameters(), state, strict=True):
        parameter.detach().copy_(value)


@torch.no_grad()
def _linear_losses(model: Model, dataset: Dataset, loss: Loss) -> Tensor:
    """Return the losses (n_samples,) of the linear part, as a model of its own, on a data set."""
    rows, linear = dataset.rows, cast(Module, model.linear)
    return loss(linear(*rows.slice(0, len(rows))), dataset.target)


def fit_linear(model: Model, dataset: Dataset, loss: Loss, prior: Tensor, precision: float = _PRECISION) -> None:
    """Fit the linear part of a model, as a model of its own, by L-BFGS from its present parameters.

    Minimizes the weighted sum of the losses of the rows of all ranks plus ``sum_i prior_i ||w_i||^2``.

    Parameters
    ----------
    model : Model
        Its ``linear`` is changed in place, w only in the rows of features that the data set has.
    dataset : Dataset
    loss : callable
        Takes raw scores (B,) or (B, C) and targets, and returns the loss of each row (B,).
    prior : Tensor of shape (n_features,)
    precision : float, optional
        Fit until an iteration lowers the objective by no more than this share of it.
    """
    linear: Any = model.linear
    rows, group = dataset.rows, dataset.group
    own, batch, transposed = compact_features(rows.slice(0, len(rows)), rows.n_features)  # (U,)
    features = torch.unique(torch.cat(group.all_gather(own)))  # (F,) of all ranks
    positions = torch.searchsorted(features, own)  # (U,)
    w0, w = linear.intercept.detach().clone(), linear.weight.detach()[features]
    n_rows, prior = group.all_reduce_sum(len(rows)), prior[features].view(-1, *[1] * (w.ndim - 1))

    def evaluate(numbers: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """Return the objective, a mean over the rows, and its gradient."""
        _assign((w0, w), numbers)
        raw = (w0 + _sparse_ops.linear(w[positions], *batch)).requires_grad_()  # (n_samples,) or (n_samples, C)
        losses = loss(raw, dataset.target)
        total = losses.sum() if dataset.weight is None else dataset.weight @ losses
        (g_raw,) = torch.autograd.grad(total, raw)
        g0, g = g_raw.sum(0), torch.zeros_like(w)
        g.index_copy_(0, positions, _sparse_ops.sum_by_feature(g_raw, transposed))
        sums = group.all_reduce_sum(_to_vector(total.detach(), g0, g))
        sums += _to_vector((prior * w.square()).sum(), torch.zeros_like(w0), 2 * prior * w)
        return float(sums[0]) / n_rows, sums[1:] / n_rows

    with limit_threads(0):
        options = _OPTIONS | {"ftol": precision}
        _assign((w0, w), minimize(evaluate, _to_vector(w0, w), jac=True, method="L-BFGS-B", options=options).x)
    linear.intercept.detach().copy_(w0)
    linear.weight.detach().index_copy_(0, features, w)


def _to_vector(*tensors: Tensor) -> NDArray[Any]:
    """Return all numbers in one float64 array."""
    return np.concatenate([each.double().flatten().numpy(force=True) for each in tensors])


def _assign(tensors: Sequence[Tensor], numbers: NDArray[Any]) -> None:
    """Set tensors from such an array."""
    parts = np.split(numbers, np.cumsum([each.numel() for each in tensors])[:-1])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(torch.from_numpy(part).view_as(tensor))
