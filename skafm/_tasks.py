"""The tasks: what y is to the raw score. One mixin for each, given to a model beside ``FactorizationMachine``."""

import warnings
from functools import reduce

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.exceptions import DataConversionWarning
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, unique_labels

from skafm._exchange import CURRENT

CLIP = {"clip": ["boolean"]}
CLASS_WEIGHT = {"class_weight": [dict, StrOptions({"balanced"}), None]}
"""Constructor parameters of the task, and what they may be."""

_BINARY = 2  # classes, told apart by one raw score


class Regression(RegressorMixin):
    """Squared error on the target, standardised while training; several numbers a row if y has several."""

    _loss = "squared_error"
    _target_checks = {"y_numeric": True, "multi_output": True}
    _range: tuple
    """Least and greatest target seen."""

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Go on: train once on more rows, in the order they come.

        Batches of ``batch_size`` rows, and the optimizer's state kept from call to call: calls for one batch after
        another equal one epoch of ``fit`` over all of them without shuffling. Mean and standard deviation of y are
        those of the first call's rows.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            As for ``fit``; the columns of the first call.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Finite targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative, and relative to those of the same call.

        Returns
        -------
        self : object
            The estimator, fitted.

        Raises
        ------
        ValueError
            If the input is malformed, or if the loss stops being finite.
        """
        with self._all_or_nothing():
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
        raw = self._raw(X)
        return np.clip(raw, *(bound.astype(raw.dtype) for bound in self._range)) if self.clip else raw

    def _check_target(self, y, weight, *, learn):
        try:
            y = np.asarray(y).astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"y must be numbers that float64 can hold: {error}.") from error
        if not np.isfinite(y).all():
            raise ValueError("y must be finite numbers, but some are missing, nan or infinite.")
        if y.ndim > 1 and y.shape[1] == 1:
            message = "A column-vector y was passed when a 1d array was expected: use y.ravel()."
            warnings.warn(message, DataConversionWarning, stacklevel=5)
            y = y.ravel()
        if learn:
            low, high = getattr(self, "_range", (np.inf, -np.inf))
            lows, highs = zip(*CURRENT.get().gather((y.min(axis=0), y.max(axis=0))), strict=True)
            self._range = reduce(np.minimum, lows, low), reduce(np.maximum, highs, high)
        return y, weight

    def _find_units(self, data):
        """Return the shift and scale that lead from the raw score of training to y."""
        exchange, double, precision = CURRENT.get(), np.finfo(np.float64), np.finfo(data.X.dtype)
        weight = exchange.total(data.weight.sum())
        mean = exchange.total(_weigh(data.weight, data.y)) / weight
        off = data.y - mean
        largest = np.max(exchange.gather(np.abs(off).max(axis=0)), axis=0)
        unit = 2.0 ** np.frexp(largest)[1]  # squares of off / unit stay in range, and lose no bit
        unit = np.clip(unit, double.tiny, double.max)
        scale = unit * np.sqrt(exchange.total(_weigh(data.weight, (off / unit) ** 2)) / weight)
        rounding = np.maximum(10 * double.eps * np.abs(mean), double.tiny)
        if not np.all((scale <= rounding) | ((scale > precision.tiny * 1e3) & (scale < precision.max / 1e3))):
            raise ValueError(
                f"y has a standard deviation of {scale}, out of the range of {data.X.dtype}, the precision of X: "
                "give y in other units, or X in float64."
            )
        return mean, np.maximum(scale, rounding)  # a constant y has rounding for a spread, or none

    def _encode(self, y):
        shift, scale = self._units
        if y.shape[1:] != shift.shape:
            raise ValueError(f"y must have one target of shape {shift.shape} a row as before, but came as {y.shape}.")
        return (y - shift) / scale

    def _decode(self, y):
        """Return the targets that a scorer wants."""
        return y

    def _strata(self, y):  # noqa: ARG002 a regression has none
        return None

    def _n_outputs(self, y):
        return None if y.ndim == 1 else y.shape[1]

    def _first_intercept(self, data):
        return np.zeros(data.y.shape[1:])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class Classification(ClassifierMixin):
    """Log loss of the raw score, through a sigmoid for two classes and a softmax for more."""

    _loss = "log_loss"
    _target_checks: dict[str, bool] = {}
    classes_: np.ndarray

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Go on: train once on more rows, in the order they come.

        Batches of ``batch_size`` rows, and the optimizer's state kept from call to call: calls for one batch after
        another equal one epoch of ``fit`` over all of them without shuffling, the first call's prior aside.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            As for ``fit``; the columns of the first call.
        y : array-like of shape (n_samples,)
            Labels, not necessarily of all classes.
        classes : array-like of shape (n_classes,), default=None
            All labels there will be. Needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative, and relative to those of the same call.

        Returns
        -------
        self : object
            The estimator, fitted.

        Raises
        ------
        ValueError
            If the input is malformed, or if the loss stops being finite.
        """
        if self.class_weight == "balanced":
            what = "class_weight='balanced' needs all rows at once"
            raise ValueError(f"{what}: give partial_fit a dict of weights, e.g. from compute_class_weight.")
        with self._all_or_nothing():
            if classes is not None:
                if np.ndim(classes) != 1 or len(classes) < _BINARY:
                    raise ValueError(f"classes must be all labels there will be, two or more, got {classes!r}.")
                classes = unique_labels(classes)
                if not np.array_equal(getattr(self, "classes_", classes), classes):
                    raise ValueError(f"classes={classes} is not what it was in earlier calls: {self.classes_}.")
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
            Log-odds of the second of two classes, or a number for each of more, whose softmax are the probabilities.
        """
        return self._raw(X)

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
        raw = self._raw(X)
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
        raw = self._raw(X)
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
        raw = self._raw(X)
        return self.classes_[raw.argmax(1) if raw.ndim > 1 else (raw > 0).astype(int)]

    def _check_target(self, y, weight, *, learn):
        """Return class numbers, and weights that count the classes' too."""
        check_classification_targets(y)
        if not hasattr(self, "classes_"):
            self.classes_ = np.unique(np.concatenate(CURRENT.get().gather(np.unique(y))))
        if len(self.classes_) < _BINARY:
            raise ValueError(
                f"y needs samples of at least 2 classes, but has only one class: {self.classes_.tolist()[0]!r}."
            )
        numbers = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if unknown := sorted(set(y[self.classes_[numbers] != y].tolist()), key=str):
            raise ValueError(f"y has labels that are not among the classes {self.classes_.tolist()}: {unknown}.")
        if learn:
            counts = CURRENT.get().total(np.bincount(numbers, weight, minlength=len(self.classes_)))
            given = {"y": self.classes_[counts > 0], "sample_weight": counts[counts > 0]}
            self._class_weight = self._find_class_weight(given | {"classes": self.classes_})
        return numbers, weight * self._class_weight[numbers]

    def _find_class_weight(self, given):
        """Return the weight of each class."""
        try:
            weight = np.asarray(compute_class_weight(self.class_weight, **given), np.float64)
            total = (weight[np.searchsorted(self.classes_, given["y"])] * given["sample_weight"]).sum()
        except (TypeError, ValueError) as error:
            raise ValueError(f"class_weight={self.class_weight!r} will not do: {error}.") from error
        if not (np.all(weight >= 0) and 0 < total < np.inf):
            raise ValueError(
                f"class_weight must give no class a negative weight, and some rows a finite one above zero, got "
                f"{self.class_weight!r}."
            )
        return weight

    def _find_units(self, data):  # noqa: ARG002 the raw score has none
        return np.zeros(()), np.ones(())

    def _encode(self, y):
        return y

    def _decode(self, y):
        """Return the targets that a scorer wants."""
        return self.classes_[y]

    def _strata(self, y):
        """Return the classes, the largest in the place of those of one row, which cannot be on both sides."""
        sizes = np.bincount(y)
        strata = np.where(sizes[y] > 1, y, sizes.argmax())
        return strata if np.count_nonzero(sizes > 1) <= self.validation_fraction * len(y) else None

    def _n_outputs(self, y):  # noqa: ARG002 the classes are known
        return None if len(self.classes_) == _BINARY else len(self.classes_)

    def _first_intercept(self, data):
        """Return the log-odds of the classes' shares; of one without a row here, as if it had half a row."""
        total = CURRENT.get().total
        share = total(np.bincount(data.y, data.weight, minlength=len(self.classes_))) / total(data.weight.sum())
        logs = np.log(np.maximum(share, 0.5 / total(len(data.y))))
        return logs[1] - logs[0] if len(logs) == _BINARY else logs


def _weigh(weight, values):
    """Return the weighted sum of the rows of values (n,) or (n, C); without BLAS, whose idle threads slow torch's."""
    return (values.T * weight).sum(axis=-1)
