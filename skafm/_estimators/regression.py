"""What the targets of a regression are to the raw score: a mixin that is combined with a model."""

import math
from functools import reduce

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_consistent_length

from skafm._estimators.advice import warn
from skafm._estimators.partial_fit import OnlineTraining
from skafm._estimators.regression_losses import fitted_loss
from skafm._estimators.sklearn_compat import check_sample_weight, fit_context
from skafm._estimators.target_units import gather
from skafm._estimators.validation import check_finite
from skafm._training.collectives import SINGLE_PROCESS


class Regression(RegressorMixin, OnlineTraining):
    """A loss of the target, which has units of its own in training; y may have several columns."""

    _task = "regression"
    _target_checks = {"y_numeric": True, "multi_output": True}
    _target_range: tuple
    """Minimum and maximum of the targets seen, each () or (n_outputs,)."""
    _target_moments: tuple
    """Sum of the weights, and what the units need, of the targets of ``fit``, or of all calls of a stream."""
    _fitted_loss: tuple = "squared_error", {}  # files of version 0.1.0 have no other
    """Name and options of the loss of the training."""
    _loss_unit: np.ndarray | None = None
    """() or (n_outputs,) What losses are divided by in training, or None."""

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
        prediction = self._decode_raw(raw)
        if prediction is not raw:  # which is finite
            check_finite(X, prediction)
        return prediction

    def _decode_raw(self, raw):
        prediction = fitted_loss(self).predict(raw)
        bounds = self._prediction_bounds()
        return prediction if bounds is None else np.clip(prediction, *(bound.astype(raw.dtype) for bound in bounds))

    def score(self, X, y, sample_weight=None):
        """Return the share of the loss of the best constant that the predictions save.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, in the range of the loss.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        float
            R^2 or, of a loss other than the squared error, D^2 (scikit-learn's ``d2_tweedie_score`` and others), the
            mean over several targets. 1 is the best, 0 that of the best constant for ``y``.

        Raises
        ------
        ValueError
            If the input is malformed, or if y is out of the range of the loss.
        """
        loss = fitted_loss(self)
        if loss.name == "squared_error":
            return super().score(X, y, sample_weight)
        raw = self._predict_raw(X)
        weight = check_sample_weight(sample_weight, raw, dtype=np.float64, ensure_non_negative=True)
        y, weight = self._check_target(y, weight, SINGLE_PROCESS, training=False)
        check_consistent_length(raw, y)
        shift, scale = self._target_scale
        y, raw = self._encode_target(y), (self._clip_raw(raw, loss) - shift) / scale
        pairs = zip(np.atleast_2d(y.T), np.atleast_2d(raw.T), strict=True)
        return float(np.mean([loss.d2(*pair, weight) for pair in pairs]))

    def _prediction_bounds(self):
        """Return the least and greatest prediction, or None without ``clip``."""
        return self._target_range if self.clip else None

    def _clip_raw(self, raw, loss):
        """Return raw scores with their predictions within the bounds."""
        bounds = self._prediction_bounds()
        if bounds is None:
            return raw
        with np.errstate(divide="ignore"):  # the logarithm of 0
            return np.clip(raw, *(loss.reference.link.link(np.asarray(bound)) for bound in bounds))

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
            self._set_loss()
        fitted_loss(self).check(y)
        if training:
            low, high = getattr(self, "_target_range", (np.inf, -np.inf))
            seen = y[weight > 0]
            lows, highs = zip(*group.all_gather((seen.min(axis=0), seen.max(axis=0))), strict=True)
            self._target_range = reduce(np.minimum, lows, low), reduce(np.maximum, highs, high)
        return y, weight

    def _fit_target_scale(self, data):
        loss = fitted_loss(self)
        self._target_moments = loss.units.measure(data, loss)
        return loss.units.shift_and_scale(self._target_moments, data.X.dtype)

    def _update_target_scale(self, data):
        self._check_n_targets(data.y)
        loss, before, scale_before = fitted_loss(self), self._target_moments, self._target_scale[1]
        self._target_moments = after = loss.units.combine(before, loss.units.measure(data, loss))
        self._target_scale = loss.units.shift_and_scale(after, data.X.dtype)
        scale = self._target_scale[1]
        return loss.units.can_resume(before, scale_before, scale), loss.units.share_of_residual(before, after, scale)

    def _encode_target(self, y):
        self._check_n_targets(y)
        return fitted_loss(self).units.encode(y, *self._target_scale)

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

    def _n_averaged(self, target):
        return math.prod(target.shape[1:])

    def _initial_intercept(self, data):
        loss = fitted_loss(self)
        if loss.name == "squared_error":  # the mean of the encoded targets is 0
            return np.zeros(data.y.shape[1:])
        return self._of_each_target(data, loss.constant)

    def _measure_loss(self, data):
        loss = fitted_loss(self)
        # The squared error of the mean is 1 by its units.
        self._loss_unit = None if loss.name == "squared_error" else self._of_each_target(data, loss.unit)

    def _of_each_target(self, data, function):
        """Return a function of encoded targets (n,) and weights, of all ranks, for each target: () or (n_outputs,)."""
        y, weight = gather(data)
        columns = np.atleast_2d(self._encode_target(y).T)  # (C, n)
        return np.reshape([function(column, weight) for column in columns], y.shape[1:])

    def _make_loss(self, like):
        from skafm._training.losses import make_loss

        loss = fitted_loss(self)
        return make_loss(loss.kind.function, self._loss_unit, like, **loss.options)

    def _set_loss(self):
        """Take the loss from the constructor parameters."""
        before = fitted_loss(self) if "_fitted_loss" in vars(self) else None
        self._fitted_loss = self.loss, {"quantile": self.quantile} if self.loss == "quantile" else {}
        link = fitted_loss(self).link
        if before is not None and before.link != link:
            raise ValueError(
                f"The model was fitted with loss={before.name!r}, whose link is {before.link}, and loss={self.loss!r} "
                f"has the link {link}: with warm_start=True and in partial_fit the link must not change. Use "
                "warm_start=False to fit anew."
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        # Files of version 0.1.0 have no such parameter.
        tags.target_tags.positive_only = getattr(self, "loss", None) in {"poisson", "gamma", "tweedie"}
        return tags
