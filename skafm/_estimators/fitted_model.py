"""A fitted model: from its attributes to a torch module and the raw scores of rows. Nothing of training is here."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import contextmanager
from types import MappingProxyType

import numpy as np
from sklearn import get_config
from sklearn.exceptions import InconsistentVersionWarning

from skafm._estimators.feature_subset import compact_columns
from skafm._estimators.fields import complete_fields
from skafm._estimators.fitted_state import cached_module, parameters_from_attributes, separate_intercept, shared_module
from skafm._estimators.missing_fields import add_missing_fields, average_rows
from skafm._estimators.validation import InputValidation, check_finite
from skafm._version import __version__


class FittedModel(InputValidation, ABC):
    """Predicts, with the fitted attributes."""

    _parameter_attributes: dict[str, str]
    """The module's parameter -> the fitted attribute."""
    _training_state: dict
    """Optimizer and random generator after ``partial_fit``; of the optimizer a part after ``fit``."""
    _missing_bounds: np.ndarray
    """(2 F,) First feature of each field that all training rows had, and the one after its last."""
    _missing_rows: Mapping[str, np.ndarray] = MappingProxyType({})
    """Per-feature parameter -> its rows (F, ...) of the features that stand for these fields where a row lacks them."""

    @abstractmethod
    def _rebuild_module(self, n_outputs, **factory):
        """Return a module of the fitted sizes."""

    def _store_missing_fields(self, data, tables):
        """Set the features that stand for missing fields, from the rows of ``fit``; ``tables`` are names."""
        fields, seen = complete_fields(data)
        fields = [field for field in fields if field.stop - field.start > 1]  # a constant is no level of a variable
        self._missing_bounds = np.array([bound for field in fields for bound in (field.start, field.stop)], np.int64)
        if not fields:
            self._missing_rows = {}
            return
        parameters = parameters_from_attributes(self, self._parameter_attributes)
        states = self._training_state["states"]
        self._missing_rows = {name: average_rows(parameters[name], fields, seen) for name in tables}
        for name in states.keys() & tables:
            states[name] = [
                np.concatenate([state, average_rows(state, fields, seen)]) if state.ndim else state
                for state in states[name]
            ]

    def _predict_raw(self, X):
        """Return the raw score of each row, (n_samples,) or (n_samples, n_outputs)."""
        from skafm._training import conversion

        X = self._with_missing_fields(self._validate_rows(X))
        module, rows, _ = self._module_for(X)
        raw = conversion.predict_raw(module, rows, conversion.resolve_device(self.device), working_memory())
        check_finite(X, raw)
        intercept = separate_intercept(self)
        return raw if intercept is None else raw + intercept

    def _decode_raw(self, raw):
        """Return what ``predict`` of a regressor, and ``decision_function`` of another model, make of raw scores."""
        return raw

    def _with_missing_fields(self, X):
        """Return rows with an entry for each field that they lack: CSR (n_samples, n_features + F), or X if none do."""
        return add_missing_fields(X, self._missing_bounds) if self._missing_rows else X

    def _module_for(self, X):
        """Return the module for rows with their missing fields, the rows as it takes them, and its features or None."""
        from skafm._training import conversion

        device = conversion.resolve_device(self.device)
        if X.shape[1] == self.n_features_in_:
            return self._fitted_module(), X, None
        features, rows = compact_columns(X)
        build = (self._parameter_attributes, self._rebuild_module, device)
        return shared_module(self, *build, subset=(features, self._missing_rows)), rows, features

    def _fitted_module(self):
        """Return the module of all features."""
        from skafm._training import conversion

        device = conversion.resolve_device(self.device)
        return cached_module(self, self._parameter_attributes, self._rebuild_module, device, working_memory())

    @contextmanager
    def _restore_on_error(self):
        """Restore the estimator if the body raises an error."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__ = before  # in one step, which a second Ctrl-C cannot interrupt
            raise

    def __getstate__(self):
        return super().__getstate__() | {"_skafm_version": __version__}

    def __setstate__(self, state):
        stored = state.get("_skafm_version", "unknown")
        if stored != __version__:
            versions = {"current_sklearn_version": __version__, "original_sklearn_version": stored}
            name = f"skafm's {type(self).__name__}"
            warnings.warn(InconsistentVersionWarning(estimator_name=name, **versions), stacklevel=2)
        super().__setstate__({name: value for name, value in state.items() if name != "_skafm_version"})


def working_memory():
    """Return scikit-learn's ``working_memory`` in bytes."""
    return int(get_config()["working_memory"] * 2**20)
