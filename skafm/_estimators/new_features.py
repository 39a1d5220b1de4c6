"""Columns that are added to a fitted model, such as those of new users."""

from functools import partial
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted

from skafm._estimators.base import FactorizationMachine
from skafm._estimators.fitted_state import attributes_from_parameters, invalidate_cache, parameters_from_attributes
from skafm._estimators.validation import Samples
from skafm._training.collectives import current_group


class NewFeatures(FactorizationMachine):
    """Can learn more columns than it was fitted on."""

    def add_features(self, n_features, *, feature_names=None, fields=None):
        """Add columns to the fitted model, e.g. for users or items that are new.

        The parameters of the known columns stay as they are. Those of the new ones are as before training: weights of
        zero, and small random embeddings. ``partial_fit``, or ``fit`` with ``warm_start=True``, then trains them.

        Parameters
        ----------
        n_features : int
            Number of columns to add, after the last one; at least 1.
        feature_names : array-like of shape (n_features,), default=None
            Their names. Needed if, and only if, the model was fitted on columns with names.
        fields : array-like of shape (n_features,), default=None
            Their fields, numbers in ``fields_``. Needed if, and only if, the model has fields.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model is not fitted.
        TypeError
            If ``n_features`` is not an integer.
        ValueError
            If an argument is invalid, missing or not needed.
        """
        check_is_fitted(self)
        n_new = int(check_scalar(n_features, "n_features", Integral, min_val=1))
        with self._restore_on_error():
            self._extend("feature_names_in_", "feature_names", feature_names, n_new)
            self._extend("fields_", "fields", fields, n_new)
            self.n_features_in_ += n_new
            if hasattr(self, "feature_importances_"):
                self.feature_importances_ = np.append(self.feature_importances_, np.zeros(n_new))
            self._add_rows(n_new)
            invalidate_cache(self)
        return self

    def _extend(self, attribute, name, values, n_new):
        """Append checked values to an attribute with one value for each column, if the model has it."""
        known = getattr(self, attribute, None)
        if known is None:
            if values is not None:
                raise ValueError(f"{name} must be None: this {type(self).__name__} was fitted without, got {values!r}.")
            return
        new = np.asarray([] if values is None else values)
        if new.shape != (n_new,):
            raise ValueError(f"{name} must have a value for each of the {n_new} new columns, got {values!r}.")
        if attribute == "fields_" and not np.isin(new, known).all():
            raise ValueError(f"fields must be among those of fields_, 0 to {known.max()}, got {values!r}.")
        if attribute == "feature_names_in_" and (len(set(new)) < n_new or np.isin(new, known).any()):
            raise ValueError(f"feature_names must be new, and different from one another, got {values!r}.")
        setattr(self, attribute, np.concatenate([known, new.astype(known.dtype)]))

    def _add_rows(self, n_new):
        """Append initial rows to the tables, and to the states of the optimizer."""
        from skafm._training.conversion import initial_tables
        from skafm._training.optimizers import SOLVERS

        n_known, group = self.n_features_in_ - n_new, current_group()
        seed = group.all_gather(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))[0]
        outputs = None if np.ndim(self.intercept_) == 0 else len(self.intercept_)
        new = Samples(sparse.csr_array((0, self.n_features_in_)), np.empty(0), np.empty(0), group)
        build = partial(self._build_module, new, outputs)
        tables = initial_tables(build, seed, self.factors_.dtype, self._target_scale[1])
        initial = SOLVERS[self._training_state["solver"].lower()].all_initial_states()
        states = self._training_state["states"].copy()
        for name in tables.keys() - {"fields"}:
            names = {name: self._parameter_attributes[name]}
            known = parameters_from_attributes(self, names)[name]
            extended = {name: np.concatenate([known, tables[name][n_known:]])}
            self.__dict__.update(attributes_from_parameters(extended, names))
            if name in states:
                states[name] = [_insert(*pair, n_known, n_new) for pair in zip(states[name], initial, strict=True)]
        self._training_state = self._training_state | {"states": states}


def _insert(state, initial, n_known, n_new):
    """Insert rows of an initial value after those of the known features; a scalar has no rows."""
    if np.ndim(state) == 0:
        return state
    rows = np.full((n_new, *state.shape[1:]), initial, state.dtype)
    return np.concatenate([state[:n_known], rows, state[n_known:]])
