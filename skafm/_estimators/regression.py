"""What the targets of a regression are to the raw score: a mixin that is combined with a model."""

from functools import reduce

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.exceptions import DataConversionWarning

from skafm._estimators.advice import warn
from skafm._estimators.partial_fit import OnlineTraining
from skafm._estimators.sklearn_compat import fit_context

_NEW_UNITS = 1e3
"""If the spread of a stream's targets grows by more than this factor in one call, training begins anew."""
_MOVED = 0.01
"""If a call moves the mean of a stream's targets by more than this part of their spread, the intercept follows."""
_MARGIN = 1e3
"""By this factor the units of y stay within the range of the precision of X."""


class Regression(RegressorMixin, OnlineTraining):
    """Squared error of the target, which is standardized for training; y may have several columns."""

    _loss = "squared_error"
    _target_checks = {"y_numeric": True, "multi_output": True}
    _target_range: tuple
    """Minimum and maximum of the targets seen, each () or (n_outputs,)."""
    _target_moments: tuple
    """Sum of the weights, mean and standard deviation of the targets of ``fit``, or of all calls of a stream."""

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Update the model with one pass over a batch of samples.

        The samples are taken in their order, in batches of ``batch_size``, and the optimizer's state is kept between
        calls, and from ``fit``. y is standardized with the mean and standard deviation of all targets so far: when they
        change, the parameters are rescaled, so that predictions stay the same. The fitted attributes are changed in
        place, in the rows of the samples' features only.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            As for ``fit``, with the columns of the first call.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Finite targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. Unlike in ``fit`` they are not normalized: a sample of weight 2 counts twice, in
            whatever call it comes.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the input is malformed, or if the loss is no longer finite.
        """
        with self._restore_on_error():
            return self._partial_fit(X, y, sample_weight)

    def predict(self, X):
        """Predict the target.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the units of y; with ``clip`` within the range of the y it was trained on.
        """
        raw = self._predict_raw(X)
        bounds = self._prediction_bounds()
        return raw if bounds is None else np.clip(raw, *(bound.astype(raw.dtype) for bound in bounds))

    def _prediction_bounds(self):
        """Return the least and greatest prediction, or None without ``clip``."""
        return self._target_range if self.clip else None

    def _check_target(self, y, weight, group, *, training):
        try:
            y = np.asarray(y).astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"y must be numbers that float64 can represent: {error}.") from error
        if not np.isfinite(y).all():
            raise ValueError("y must be finite, but has missing values, nan or infinity.")
        if y.ndim > 1 and y.shape[1] == 1:
            message = "A column-vector y was passed when a 1d array was expected: use y.ravel()."
            warn(message, DataConversionWarning)
            y = y.ravel()
        if training:
            low, high = getattr(self, "_target_range", (np.inf, -np.inf))
            seen = y[weight > 0]
            lows, highs = zip(*group.all_gather((seen.min(axis=0), seen.max(axis=0))), strict=True)
            self._target_range = reduce(np.minimum, lows, low), reduce(np.maximum, highs, high)
        return y, weight

    def _fit_target_scale(self, data):
        self._target_moments = _moments(data)
        return self._scale_of_moments(data.X.dtype)

    def _scale_of_moments(self, dtype):
        """Return mean and standard deviation of the targets so far, if numbers of the type can be in such units."""
        _, mean, scale = self._target_moments
        double, precision = np.finfo(np.float64), np.finfo(dtype)
        rounding = np.maximum(10 * double.eps * np.abs(mean), double.tiny)
        constant = scale <= rounding
        if not np.all(constant | ((scale > precision.tiny * _MARGIN) & (scale < precision.max / _MARGIN))):
            raise ValueError(
                f"y has a standard deviation of {scale}, out of the range of {dtype}, the precision of X: "
                "pass y in other units, or X in float64."
            )
        return mean, np.where(constant, np.maximum(rounding, precision.tiny * _MARGIN), scale)

    def _update_target_scale(self, data):
        self._check_n_targets(data.y)
        (weight_before, mean_before, _), (_, scale_before) = self._target_moments, self._target_scale
        self._target_moments = _combine_moments(self._target_moments, _moments(data))
        self._target_scale = self._scale_of_moments(data.X.dtype)
        weight, mean, _ = self._target_moments
        # If the targets had (almost) no spread until now, nothing was learned that a rescaled model could keep.
        resume = bool(np.any(scale_before * _NEW_UNITS >= self._target_scale[1]))
        moved = bool(np.any(np.abs(mean - mean_before) > _MOVED * self._target_scale[1]))
        return resume, float(1 - weight_before / weight) if moved else 0.0

    def _encode_target(self, y):
        self._check_n_targets(y)
        shift, scale = self._target_scale
        return (y - shift) / scale

    def _check_n_targets(self, y):
        before = self._target_scale[0].shape
        if y.shape[1:] != before:
            raise ValueError(f"y must have targets of shape {before} per sample as before, got {y.shape[1:]}.")

    def _decode_target(self, y):
        return y

    def _stratify(self, y):  # noqa: ARG002 not for regression
        return None

    def _count_outputs(self, y):
        return None if y.ndim == 1 else y.shape[1]

    def _initial_intercept(self, data):
        return np.zeros(data.y.shape[1:])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _moments(data):
    """Return the sum of the weights, and weighted mean and standard deviation of the targets of all ranks."""
    group = data.group
    weight = group.all_reduce_sum(data.weight.sum())
    mean = group.all_reduce_sum(_weighted_sum(data.weight, data.y)) / weight
    off = data.y - mean
    unit = _unit(np.max(group.all_gather(np.abs(off).max(axis=0)), axis=0))
    return weight, mean, unit * np.sqrt(group.all_reduce_sum(_weighted_sum(data.weight, (off / unit) ** 2)) / weight)


def _combine_moments(first, second):
    """Return the moments of two sets of targets together (Chan, Golub and LeVeque, 1979)."""
    (weight_1, mean_1, std_1), (weight_2, mean_2, std_2) = first, second
    weight, off = weight_1 + weight_2, mean_2 - mean_1
    share_1, share_2 = weight_1 / weight, weight_2 / weight
    unit = _unit(np.max([np.abs(off), std_1, std_2], axis=0))
    between = share_1 * share_2 * (off / unit) ** 2
    std = unit * np.sqrt(share_1 * (std_1 / unit) ** 2 + share_2 * (std_2 / unit) ** 2 + between)
    return weight, mean_1 + share_2 * off, std


def _unit(largest):
    """Return the power of 2 by which to divide numbers up to ``largest``: their squares stay in range, exactly."""
    return np.clip(2.0 ** np.frexp(largest)[1], np.finfo(np.float64).tiny, np.finfo(np.float64).max)


def _weighted_sum(weight, values):
    """Return the weighted sum of the rows of values (n,) or (n, C); without BLAS, whose idle threads slow torch's."""
    return (values.T * weight).sum(axis=-1)
