"""What labels are to the raw score: a mixin that is combined with a model."""

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, unique_labels

from skafm._estimators.partial_fit import OnlineTraining
from skafm._estimators.sklearn_compat import fit_context

_BINARY = 2  # classes, with a single raw score


class Classification(ClassifierMixin, OnlineTraining):
    """Log loss of the raw score, through a sigmoid for two classes and a softmax for more."""

    _task = "classification"
    _target_checks: dict[str, bool] = {}
    classes_: np.ndarray
    _class_weight: np.ndarray
    """(n_classes,)"""

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Update the model with one pass over a batch of samples.

        The samples are taken in their order, in batches of ``batch_size``, and the optimizer's state is kept between
        calls, and from ``fit``. The initial intercept is that of the first call's classes. The fitted attributes are
        changed in place, in the rows of the samples' features only.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            As for ``fit``, with the columns of the first call.
        y : array-like of shape (n_samples,)
            Labels, not necessarily of all classes.
        classes : array-like of shape (n_classes,), default=None
            All labels of all calls. Required in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. Unlike in ``fit`` they are not normalized, nor are class weights: a sample of weight
            2 counts twice, in whatever call it comes.

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

    def _pack_target(self, relevance, query):  # noqa: ARG002
        """Return what ``_fit`` takes as targets."""
        return relevance

    def _corrects_sampling(self):
        """Return whether the loss has weights that correct for how often rows were drawn."""
        return False

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

    def _make_loss(self, like):  # noqa: ARG002 it has no unit
        from skafm._training.losses import make_loss

        return make_loss("log_loss")

    def _measure_loss(self, data):
        """Measure nothing."""

    def _fit_target_scale(self, data):  # noqa: ARG002 log-odds have no unit
        return np.zeros(()), np.ones(())

    def _update_target_scale(self, data):  # noqa: ARG002
        return True, 0.0

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
        logs = np.log(np.where(counts > 0, frequency, 0.5 / total(len(data.y))))
        return logs[1] - logs[0] if len(logs) == _BINARY else logs
