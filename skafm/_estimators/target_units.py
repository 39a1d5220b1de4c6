"""The units of a regressor's targets in training: how they are measured, in one fit or over a stream, and applied.

What is measured is a tuple, ``moments``: the sum of the weights, then what a kind of units needs of the targets.
"""

from abc import ABC, abstractmethod

import numpy as np

_NEW_UNITS = 1e3
"""If the spread of a stream's targets grows by more than this factor in one call, training begins anew."""
_MOVED = 0.01
"""If a call moves the mean of a stream's targets by more than this part of their spread, the intercept follows."""
_MARGIN = 1e3
"""By this factor the units of y stay within the range of the precision of X."""
_MOST = 0.9
"""Share of the targets within the spread of a robust loss; the rest may be outliers."""


class TargetUnits(ABC):
    """Shift and scale from the raw score of training to that of the fitted attributes."""

    @abstractmethod
    def measure(self, data, loss):
        """Return the moments of the targets of all ranks, for a loss."""

    @abstractmethod
    def combine(self, first, second):
        """Return the moments of two sets of targets together."""

    @abstractmethod
    def shift_and_scale(self, moments, dtype):
        """Return shift and scale, () or (n_outputs,), if numbers of the type can be in such units."""

    @abstractmethod
    def encode(self, y, shift, scale):
        """Return targets in the units of training."""

    def can_resume(self, before, scale_before, scale):  # noqa: ARG002
        """Return whether what was learned from targets of moments ``before`` holds in the new units."""
        return True

    def share_of_residual(self, before, after, scale):  # noqa: ARG002
        """Return by which share of the mean residual on a call's rows the intercept is to be corrected."""
        return 0.0


class StandardUnits(TargetUnits):
    """Mean 0 and standard deviation 1, for the squared error."""

    def measure(self, data, loss):  # noqa: ARG002
        return _moments(data)

    def combine(self, first, second):
        """Return the moments of two sets of targets together (Chan, Golub and LeVeque, 1979)."""
        (weight_1, mean_1, std_1), (weight_2, mean_2, std_2) = first, second
        weight, off = weight_1 + weight_2, mean_2 - mean_1
        share_1, share_2 = weight_1 / weight, weight_2 / weight
        unit = _unit(np.max([np.abs(off), std_1, std_2], axis=0))
        between = share_1 * share_2 * (off / unit) ** 2
        std = unit * np.sqrt(share_1 * (std_1 / unit) ** 2 + share_2 * (std_2 / unit) ** 2 + between)
        return weight, mean_1 + share_2 * off, std

    def shift_and_scale(self, moments, dtype):
        return _center_and_spread(moments, dtype, "standard deviation")

    def encode(self, y, shift, scale):
        return (y - shift) / scale

    def can_resume(self, before, scale_before, scale):  # noqa: ARG002
        return _grew_little(scale_before, scale)

    def share_of_residual(self, before, after, scale):
        moved = bool(np.any(np.abs(after[1] - before[1]) > _MOVED * scale))
        return float(1 - before[0] / after[0]) if moved else 0.0


class RobustUnits(TargetUnits):
    """The quantile that a loss is about is 0, and most targets are within 1 of it, whatever the size of outliers."""

    def measure(self, data, loss):
        y, weight = gather(data)
        columns = np.atleast_2d(y.T)
        center = np.array([weighted_quantile(column, weight, loss.level) for column in columns])  # (C,)
        off = np.abs(columns.T - center)  # (n, C)
        spread = np.array([weighted_quantile(each, weight, _MOST) for each in off.T])
        spread = np.where(spread > 0, spread, np.average(off, axis=0, weights=weight))
        return weight.sum(), center.reshape(y.shape[1:]), spread.reshape(y.shape[1:])

    def combine(self, first, second):
        """Return averages, of which a spread is near that of all targets: units need no more."""
        (weight_1, center_1, spread_1), (weight_2, center_2, spread_2) = first, second
        weight, off = weight_1 + weight_2, center_2 - center_1
        share = weight_2 / weight
        spread = (1 - share) * spread_1 + share * np.maximum(spread_2, np.abs(off))
        return weight, center_1 + share * off, spread

    def shift_and_scale(self, moments, dtype):
        return _center_and_spread(moments, dtype, "spread")

    def encode(self, y, shift, scale):
        return (y - shift) / scale

    def can_resume(self, before, scale_before, scale):  # noqa: ARG002
        return _grew_little(scale_before, scale)


class LogUnits(TargetUnits):
    """Mean 1, for losses whose raw score is the logarithm of the mean."""

    def measure(self, data, loss):  # noqa: ARG002
        weight, mean, _ = _moments(data)
        return weight, mean

    def combine(self, first, second):
        (weight_1, mean_1), (weight_2, mean_2) = first, second
        weight = weight_1 + weight_2
        return weight, mean_1 + weight_2 / weight * (mean_2 - mean_1)

    def shift_and_scale(self, moments, dtype):  # noqa: ARG002
        mean = moments[1]
        return np.log(np.where(mean > 0, mean, 1.0)), np.ones(mean.shape)

    def encode(self, y, shift, scale):  # noqa: ARG002
        return y / np.exp(shift)

    def can_resume(self, before, scale_before, scale):  # noqa: ARG002
        return bool(np.any(before[1] > 0))  # until then nothing but zeros was seen


class LogitUnits(TargetUnits):
    """The raw score is the log-odds of a rate, which has no unit."""

    def measure(self, data, loss):  # noqa: ARG002
        return data.group.all_reduce_sum(data.weight.sum()), np.zeros(data.y.shape[1:])

    def combine(self, first, second):
        return first[0] + second[0], first[1]

    def shift_and_scale(self, moments, dtype):  # noqa: ARG002
        return moments[1], np.ones(moments[1].shape)

    def encode(self, y, shift, scale):  # noqa: ARG002
        return y


def gather(data):
    """Return targets and weights of all ranks."""
    ys, weights = zip(*data.group.all_gather((data.y, data.weight)), strict=True)
    return np.concatenate(ys), np.concatenate(weights)


def weighted_quantile(values, weight, level):
    """Return the least of the values (n,) that a share ``level`` of the weight is at or below."""
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    position = np.searchsorted(total, level * total[-1])
    return values[order[min(position, len(values) - 1)]]


def _center_and_spread(moments, dtype, name):
    _, center, scale = moments
    double, precision = np.finfo(np.float64), np.finfo(dtype)
    rounding = np.maximum(10 * double.eps * np.abs(center), double.tiny)
    constant = scale <= rounding
    if not np.all(constant | ((scale > precision.tiny * _MARGIN) & (scale < precision.max / _MARGIN))):
        raise ValueError(
            f"y has a {name} of {scale}, out of the range of {dtype}, the precision of X: "
            "pass y in other units, or X in float64."
        )
    return center, np.where(constant, np.maximum(rounding, precision.tiny * _MARGIN), scale)


def _grew_little(scale_before, scale):
    """Return whether targets had a spread before: if not, nothing was learned that a rescaled model could keep."""
    return bool(np.any(scale_before * _NEW_UNITS >= scale))


def _moments(data):
    """Return the sum of the weights, and weighted mean and standard deviation of the targets of all ranks."""
    group = data.group
    weight = group.all_reduce_sum(data.weight.sum())
    mean = group.all_reduce_sum(_weighted_sum(data.weight, data.y)) / weight
    off = data.y - mean
    unit = _unit(np.max(group.all_gather(np.abs(off).max(axis=0)), axis=0))
    return weight, mean, unit * np.sqrt(group.all_reduce_sum(_weighted_sum(data.weight, (off / unit) ** 2)) / weight)


def _unit(largest):
    """Return the power of 2 by which to divide numbers up to ``largest``: their squares stay in range, exactly."""
    return np.clip(2.0 ** np.frexp(largest)[1], np.finfo(np.float64).tiny, np.finfo(np.float64).max)


def _weighted_sum(weight, values):
    """Return the weighted sum of the rows of values (n,) or (n, C); without BLAS, whose idle threads slow torch's."""
    return (values.T * weight).sum(axis=-1)
