"""Rows on their way in: validated, weighed, divided. What y means a task knows, what is learnt a model."""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skafm._exchange import CURRENT, agree
from skafm._sparse import check_sparse

_FEW_ROWS = 1000
"""Of so many, ``early_stopping="auto"`` has none to spare."""


class Data(NamedTuple):
    """Validated rows of positive weight."""

    X: object
    y: np.ndarray
    weight: np.ndarray


class ValidatedInput(BaseEstimator):
    """What an estimator asks of the rows it is given."""

    def _divide(self, X, y, sample_weight, validation, *, reset):
        """Return the rows to train on, and those to stop early on or None."""
        given = validation[0] is not None
        if given != (validation[1] is not None):
            raise ValueError("X_val and y_val belong together: give both or neither.")
        if given and not self.early_stopping:
            raise ValueError("X_val and y_val are for early stopping: set early_stopping=True, or leave them out.")
        if validation[2] is not None and not given:
            raise ValueError("sample_weight_val weighs X_val: give X_val and y_val too, or leave it out.")
        train = self._check(X, y, sample_weight, reset=reset, learn=True)
        if given:
            with _explained("X_val, y_val or sample_weight_val will not do"):
                return train, self._check(*validation, reset=False, learn=False)
        few = self.early_stopping == "auto" and CURRENT.get().total(len(train.y)) <= _FEW_ROWS
        if few or not self.early_stopping:
            return train, None
        size = {"test_size": self.validation_fraction, "random_state": check_random_state(self.random_state)}
        with _explained(f"validation_fraction={self.validation_fraction} cannot hold back some of {len(train.y)} rows"):
            parts = train_test_split(*train, stratify=self._strata(train.y), **size)
        return Data(*parts[::2]), Data(*parts[1::2])

    def _check(self, X, y, sample_weight, *, reset, learn):
        """Validate rows and targets; leave out those of weight zero, which are no rows."""
        dtype = [np.float64, np.float32]
        X, y = self._validate(X, y, dtype=dtype, reset=reset, **self._target_checks)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not 0 < weight.sum() < np.inf:
            raise ValueError(
                f"sample_weight must have a finite sum above zero, but sums to {weight.sum()}: only the ratios of the "
                "weights matter, so divide them all by the largest, or leave rows of weight zero out."
            )
        if not weight.all():
            X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
        if learn:
            agree(self._settings(X, y))
        return Data(X, *self._check_target(y, weight, learn=learn))

    def _settings(self, X, y):
        """Return what the ranks of one training must share, as far as it can be compared."""
        own = {"device", "random_state", "verbose"}
        plain = (bool, int, float, str, list, tuple, type(None))
        shared = {n: v for n, v in self.get_params(deep=False).items() if n not in own and isinstance(v, plain)}
        names = tuple(getattr(self, "feature_names_in_", ()))
        shared |= {"n_features": X.shape[1], "feature_names": names, "dtype": X.dtype.name, "n_outputs": y.shape[1:]}
        return shared | {"model": type(self).__name__}

    def _validate(self, *arrays, **checks):
        """Return rows, and targets if there are any, as scikit-learn's checks leave them, the rows dense or CSR."""
        X, *y = arrays
        return validate_data(self, check_sparse(X), *y, accept_sparse="csr", **checks)

    def _check_rows(self, X):
        """Return the rows to predict, in the precision of the model."""
        check_is_fitted(self)
        return self._validate(X, dtype=self.factors_.dtype, reset=False)


def check_finite(X, *results):
    """Raise an error if what came of the rows X is not finite."""
    if not all(np.isfinite(result).all() for result in results):
        largest = np.abs(X.data if issparse(X) else X).max()  # X.max() would sort the caller's entries
        raise ValueError(
            f"A prediction is not finite: X, up to {largest}, is too large for this model in {X.dtype}. Scale X, e.g. "
            "with MaxAbsScaler, to fit and to predict."
        )


@contextmanager
def _explained(what):
    """Put ``what`` before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
