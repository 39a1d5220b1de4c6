"""What y is to the raw score: one mixin for regression and one for classification, combined with a model."""

from functools import reduce

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, unique_labels

from skafm._estimators.advice import warn
from skafm._estimators.base import FactorizationMachine
from skafm._estimators.sklearn_compat import fit_context

_BINARY = 2  # classes, with a single raw score


class Regression(RegressorMixin, FactorizationMachine):
    """Squared error of the target, which is standardized for training; y may have several columns."""

    _loss = "squared_error"
    _target_checks = {"y_numeric": True, "multi_output": True}
    _target_range: tuple
    """Minimum and maximum of the targets seen, each () or (n_outputs,)."""

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Update the model with one pass over a batch of samples.

        The samples are taken in their order, in batches of ``batch_size``, and the optimizer's state is kept between
        calls: calls for one batch after another equal one epoch of ``fit`` over all of them without shuffling. y is
        standardized with the mean and standard deviation of the first call's targets.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            As for ``fit``, with the columns of the first call.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Finite targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, relative to those of the same call.

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
            lows, highs = zip(*group.all_gather((y.min(axis=0), y.max(axis=0))), strict=True)
            self._target_range = reduce(np.minimum, lows, low), reduce(np.maximum, highs, high)
        return y, weight

    def _fit_target_scale(self, data):
        """Return weighted mean and standard deviation of the targets."""
        group, double, precision = data.group, np.finfo(np.float64), np.finfo(data.X.dtype)
        weight = group.all_reduce_sum(data.weight.sum())
        mean = group.all_reduce_sum(_weighted_sum(data.weight, data.y)) / weight
        off = data.y - mean
        largest = np.max(group.all_gather(np.abs(off).max(axis=0)), axis=0)
        unit = 2.0 ** np.frexp(largest)[1]  # squares of off / unit stay in range, and lose no bit
        unit = np.clip(unit, double.tiny, double.max)
        scale = unit * np.sqrt(group.all_reduce_sum(_weighted_sum(data.weight, (off / unit) ** 2)) / weight)
        rounding = np.maximum(10 * double.eps * np.abs(mean), double.tiny)
        if not np.all((scale <= rounding) | ((scale > precision.tiny * 1e3) & (scale < precision.max / 1e3))):
            raise ValueError(
                f"y has a standard deviation of {scale}, out of the range of {data.X.dtype}, the precision of X: "
                "give y in other units, or X in float64."
            )
        return mean, np.maximum(scale, rounding)  # a constant y has only rounding errors, or no spread

    def _encode_target(self, y):
        shift, scale = self._target_scale
        if y.shape[1:] != shift.shape:
            raise ValueError(f"y must have targets of shape {shift.shape} per sample as before, got {y.shape[1:]}.")
        return (y - shift) / scale

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


class Classification(ClassifierMixin, FactorizationMachine):
    """Log loss of the raw score, through a sigmoid for two classes and a softmax for more."""

    _loss = "log_loss"
    _target_checks: dict[str, bool] = {}
    classes_: np.ndarray
    _class_weight: np.ndarray
    """(n_classes,)"""

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Update the model with one pass over a batch of samples.

        The samples are taken in their order, in batches of ``batch_size``, and the optimizer's state is kept between
        calls: calls for one batch after another equal one epoch of ``fit`` over all of them without shuffling, but for
        the initial intercept, which is that of the first call's classes.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            As for ``fit``, with the columns of the first call.
        y : array-like of shape (n_samples,)
            Labels, not necessarily of all classes.
        classes : array-like of shape (n_classes,), default=None
            All labels of all calls. Required in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, relative to those of the same call.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the input is malformed, or if the loss is no longer finite.
        """
        if self.class_weight == "balanced":
            what = "class_weight='balanced' needs all samples at once and is not supported by partial_fit"
            raise ValueError(f"{what}: pass a dict of weights, e.g. from compute_class_weight.")
        with self._restore_on_error():
            if classes is not None:
                if np.ndim(classes) != 1 or len(classes) < _BINARY:
                    raise ValueError(f"classes must have all labels of all calls, two or more, got {classes!r}.")
                classes = unique_labels(classes)
                if not np.array_equal(getattr(self, "classes_", classes), classes):
                    raise ValueError(f"classes={classes} differs from that of earlier calls: {self.classes_}.")
                self.classes_ = classes
            elif not hasattr(self, "classes_"):
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return self._partial_fit(X, y, sample_weight)

    def decision_function(self, X):
        """Return the raw score.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log-odds of the second of two classes; with more classes the numbers whose softmax are the probabilities.
        """
        return self._predict_raw(X)

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        raw = self._predict_raw(X)
        return softmax(raw, axis=1) if raw.ndim > 1 else np.column_stack([expit(-raw), expit(raw)])

    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        raw = self._predict_raw(X)
        return log_softmax(raw, axis=1) if raw.ndim > 1 else np.column_stack([log_expit(-raw), log_expit(raw)])

    def predict(self, X):
        """Return the most probable class.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        raw = self._predict_raw(X)
        return self.classes_[raw.argmax(1) if raw.ndim > 1 else (raw > 0).astype(int)]

    def _check_target(self, y, weight, group, *, training):
        """Return class numbers, and weights times class weights."""
        check_classification_targets(y)
        if not hasattr(self, "classes_"):
            self.classes_ = np.unique(np.concatenate(group.all_gather(np.unique(y))))
        if len(self.classes_) < _BINARY:
            raise ValueError(
                f"y needs samples of at least 2 classes, but has only one class: {self.classes_.tolist()[0]!r}."
            )
        numbers = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if unknown := sorted(set(y[self.classes_[numbers] != y].tolist()), key=str):
            raise ValueError(f"y has labels that are not among the classes {self.classes_.tolist()}: {unknown}.")
        if training:
            counts = group.all_reduce_sum(np.bincount(numbers, weight, minlength=len(self.classes_)))
            given = {"y": self.classes_[counts > 0], "sample_weight": counts[counts > 0]}
            self._class_weight = self._compute_class_weight(given | {"classes": self.classes_})
        return numbers, weight * self._class_weight[numbers]

    def _compute_class_weight(self, given):
        """Return the weight (n_classes,) of each class."""
        try:
            weight = np.asarray(compute_class_weight(self.class_weight, **given), np.float64)
            total = (weight[np.searchsorted(self.classes_, given["y"])] * given["sample_weight"]).sum()
        except (TypeError, ValueError) as error:
            raise ValueError(f"Invalid class_weight {self.class_weight!r}: {error}.") from error
        if not (np.all(weight >= 0) and 0 < total < np.inf):
            raise ValueError(
                f"Invalid class_weight {self.class_weight!r}: weights must be non-negative, and some class in y must "
                "have a finite weight above zero."
            )
        return weight

    def _fit_target_scale(self, data):  # noqa: ARG002 log-odds have no unit
        return np.zeros(()), np.ones(())

    def _encode_target(self, y):
        return y

    def _decode_target(self, y):
        return self.classes_[y]

    def _stratify(self, y):
        """Return the classes; those of a single sample, which cannot be split, count as the largest class."""
        sizes = np.bincount(y)
        strata = np.where(sizes[y] > 1, y, sizes.argmax())
        return strata if np.count_nonzero(sizes > 1) <= self.validation_fraction * len(y) else None

    def _count_outputs(self, y):  # noqa: ARG002 the classes are known
        return None if len(self.classes_) == _BINARY else len(self.classes_)

    def _initial_intercept(self, data):
        """Return the log-odds of the classes' frequencies; a class without a sample counts as half a sample."""
        total = data.group.all_reduce_sum
        counts = total(np.bincount(data.y, data.weight, minlength=len(self.classes_)))
        frequency = counts / total(data.weight.sum())
        logs = np.log(np.maximum(frequency, 0.5 / total(len(data.y))))
        return logs[1] - logs[0] if len(logs) == _BINARY else logs


def _weighted_sum(weight, values):
    """Return the weighted sum of the rows of values (n,) or (n, C); without BLAS, whose idle threads slow torch's."""
    return (values.T * weight).sum(axis=-1)
