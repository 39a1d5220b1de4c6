"""Input validation: rows, sample weights, and the validation set for early stopping."""

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skafm._estimators.sklearn_compat import check_sample_weight
from skafm._estimators.sparse_checks import check_sparse
from skafm._training.collectives import SINGLE_PROCESS, ProcessGroup, check_same_settings

MIN_SAMPLES = 100
"""From this number on, ``early_stopping="auto"`` uses a validation set."""


class Samples(NamedTuple):
    """Validated samples of positive weight."""

    X: Any
    """ndarray or CSR of shape (n_samples, n_features)."""
    y: np.ndarray
    """Checked targets: class numbers, or float64."""
    weight: np.ndarray
    """(n_samples,) Sample weights times class weights."""
    group: ProcessGroup
    """The processes that have the other samples."""
    sample_weight: np.ndarray | None = None
    """(n_samples,) As given."""

    def select(self, samples):
        """Return some of the samples, given by a mask or by indices (n_samples,)."""
        given = None if self.sample_weight is None else self.sample_weight[samples]
        return Samples(self.X[samples], self.y[samples], self.weight[samples], self.group, given)

    def concatenate(self, other):
        """Return these samples and others, without the weights as given."""
        X = sparse.vstack([sparse.csr_array(samples.X) for samples in (self, other)], format="csr")
        y, weight = (np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("y", "weight"))
        return Samples(X, y, weight, self.group)


class InputValidation(BaseEstimator, ABC):
    """Validates what an estimator is given."""

    _target_checks: dict[str, bool]
    """Options of scikit-learn's checks of y."""

    @abstractmethod
    def _check_target(self, y, weight, group, *, training):
        """Return checked targets and the samples' weights; if ``training``, remember what the targets can be."""

    @abstractmethod
    def _stratify(self, y):
        """Return the strata (n_samples,) of a random split, or None."""

    def _split_validation(self, given, given_val, group, *, reset):
        """Return the samples to train on, and the validation set or None; both are given as X, y and weights."""
        has_set = given_val[0] is not None
        if has_set != (given_val[1] is not None):
            raise ValueError("X_val and y_val must be given together: pass both or neither.")
        if has_set and not self.early_stopping:
            raise ValueError("X_val and y_val need early stopping: set early_stopping=True, or do not pass them.")
        if given_val[2] is not None and not has_set:
            raise ValueError("sample_weight_val needs X_val and y_val: pass them too, or do not pass it.")
        X, y, weight = given
        train = self._validate_samples(X, y, weight, group, reset=reset, training=True)
        if has_set:
            with prefix_error("Invalid X_val, y_val or sample_weight_val"):
                X, y, weight = given_val
                return train, self._validate_samples(X, y, weight, group, reset=False, training=False)
        few = self.early_stopping == "auto" and self._has_few(train)
        if few or not self.early_stopping:
            return train, None
        size = {"test_size": self.validation_fraction, "random_state": check_random_state(self.random_state)}
        with prefix_error(f"validation_fraction={self.validation_fraction} cannot split {len(train.y)} samples"):
            parts = self._split(train, **size)
        return tuple(train.select(samples) for samples in parts)

    def _has_few(self, data):
        """Return whether the samples of all ranks are too few to hold some out."""
        return data.group.all_reduce_sum(len(data.y)) < MIN_SAMPLES

    def _split(self, data, **size):
        """Return two parts of the samples, as indices."""
        return train_test_split(np.arange(len(data.y)), stratify=self._stratify(data.y), **size)

    def _validate_samples(self, X, y, sample_weight, group, *, reset, training):
        """Return validated samples, without those of weight zero."""
        dtype = [np.float64, np.float32]
        X, y = self._validate(X, y, dtype=dtype, reset=reset, **self._target_checks)
        weight = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not 0 < weight.sum() < np.inf:
            raise ValueError(
                f"sample_weight must have a finite sum above zero, but sums to {weight.sum()}: only the ratios of the "
                "weights matter, so divide them all by the largest, or leave out samples of weight zero."
            )
        if training and group is not SINGLE_PROCESS:
            check_same_settings(group, self._settings(X, y))
        y, total_weight = self._check_target(y, weight, group, training=training)
        given = None if sample_weight is None else weight
        samples = Samples(X, y, total_weight, group, given)
        return samples if total_weight.all() else samples.select(total_weight > 0)

    def _settings(self, X, y):
        """Return what must be the same on all ranks, as far as it can be compared."""
        own = {"device", "random_state", "verbose"}
        shared = {name: _comparable(v) for name, v in self.get_params(deep=False).items() if name not in own}
        names = tuple(getattr(self, "feature_names_in_", ()))
        shared |= {"n_features": X.shape[1], "feature_names": names, "dtype": X.dtype.name, "n_outputs": y.shape[1:]}
        return shared | {"model": type(self).__name__}

    def _validate(self, *arrays, **checks):
        """Return rows, and targets if given, as scikit-learn's checks leave them, the rows dense or CSR."""
        X, *y = arrays
        try:
            found = validate_data(self, check_sparse(X), *y, accept_sparse="csr", **checks)
        except ValueError as error:
            if f"is expecting {getattr(self, 'n_features_in_', None)} features" in str(error):
                raise ValueError(f"{error} If columns are new, add them to the fitted model: add_features.") from error
            if "convert string to float" not in str(error) or not _has_strings(X):
                raise
            raise ValueError(
                f"X contains strings ({error}): encode categorical columns first, e.g. "
                f"make_pipeline(OneHotEncoder(handle_unknown='ignore'), {type(self).__name__}())."
            ) from error
        rows, *targets = found if y else (found,)
        if rows.dtype.kind != "f":  # scikit-learn leaves frames of sparse booleans as they are
            rows = rows.astype(np.float64)
        return (rows, *targets) if y else rows

    def _validate_rows(self, X):
        """Return the rows to predict, in the precision of the model."""
        check_is_fitted(self)
        return self._validate(X, dtype=self.factors_.dtype, reset=False)


def _comparable(value):
    """Return a parameter as a value that ranks can send and compare."""
    if isinstance(value, dict):
        return sorted(((repr(key), repr(each)) for key, each in value.items()))
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, bool | int | float | str | list | tuple | None):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)  # a function or another object


def check_finite(X, *results):
    """Raise a ValueError if the predictions of the rows X are not finite."""
    if not all(np.isfinite(result).all() for result in results):
        largest = np.abs(X.data if sparse.issparse(X) else X).max()  # X.max() would sort the caller's entries
        raise ValueError(
            f"A prediction is not finite: X, up to {largest}, is too large for this model in {X.dtype}. Scale X, e.g. "
            "with MaxAbsScaler, to fit and to predict."
        )


def _has_strings(X):
    """Return whether rows, sparse or not, are not all numbers."""
    try:
        return not sparse.issparse(X) and np.asarray(X).dtype.kind in "OUST"
    except ValueError:  # ragged lists
        return False


@contextmanager
def prefix_error(prefix):
    """Put a prefix before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{prefix}: {error}") from error
