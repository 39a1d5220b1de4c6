"""Validate, train, store: what all estimators share, and a mixin for each task. No model is known here."""

import warnings
from abc import ABC, abstractmethod
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skafm._batch import Rows, as_tensor
from skafm._losses import squared_error
from skafm._optim import SOLVERS
from skafm._train import Examples, Objective, Plan, predict, train

_ROWS_AT_ONCE = 2**15  # of a prediction

PARAMETERS = {
    "n_factors": [Interval(Integral, 1, None, closed="left")],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "l2_linear": [Interval(Real, 0, None, closed="left")],
    "l2_factors": [Interval(Real, 0, None, closed="left")],
    "solver": [StrOptions(set(SOLVERS))],
    "learning_rate": [Interval(Real, 0, None, closed="neither")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "verbose": ["verbose"],
    "random_state": ["random_state"],
    "device": [str, torch.device],
}
"""Constructor parameters that all estimators have, and what they may be."""


class FactorizationMachine(BaseEstimator, ABC):
    """A model and its training, whatever the task.

    A subclass's constructor stores the parameters; it names what it learns in ``_attributes`` and what it penalises
    in ``_penalties``.
    """

    _attributes: dict[str, str]
    """The module's parameter -> the fitted attribute."""
    _penalties: dict[str, str]
    """The module's parameter -> the constructor parameter that is its L2 penalty."""

    _parameter_constraints = PARAMETERS

    @abstractmethod
    def _build(self, n_features, **factory):
        """Return a module to train, on its random start."""

    @abstractmethod
    def _rebuild(self, **factory):
        """Return a module of the fitted sizes."""

    @abstractmethod
    def _start(self, module, examples, generator, shift, scale):
        """Lead the module from its random start to where training begins."""

    @abstractmethod
    def _encode(self, y, sample_weight):
        """Return the target to train on, and the shift and scale that lead from its raw score back to y's."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Learn from rows and their targets.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Finite, best a CSR matrix. float32 is computed in float32, everything else in float64.
        y : array-like of shape (n_samples,)
            Finite targets, in any unit.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; only their ratios matter. ``None`` weighs all rows alike.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the input is malformed, or if the loss stops being finite.
        """
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], y_numeric=True)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not weight.any():
            raise ValueError("All sample weights are zero: give at least one sample a positive weight.")
        if not weight.all():  # a row of weight zero is no row
            X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
        weight = weight / weight.mean()
        target, shift, scale = self._encode(y, weight)
        device = _find_device(self.device)
        rows = Rows.from_scipy(X, device)
        tensor = partial(torch.tensor, dtype=rows.dtype, device=device)
        examples = Examples(rows, tensor(target), None if np.ptp(weight) == 0 else tensor(weight))
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        generator = torch.Generator(device).manual_seed(seed)
        module = self._build(self.n_features_in_, generator=generator, device=device, dtype=rows.dtype)
        self._start(module, examples, generator, shift, scale)
        self._fit_module(module, examples, generator)
        module.rescale_(shift, scale)
        self._store(module)
        return self

    def _fit_module(self, module, examples, generator):
        """Train the module in place; set ``loss_curve_`` and ``n_iter_``."""
        n_samples = len(examples.rows)
        plan = Plan(
            batch_size=_auto_batch_size(n_samples) if self.batch_size == "auto" else self.batch_size,
            shuffle=self.shuffle,
            max_iter=self.max_iter,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            memory=working_memory(),
        )
        parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
        penalties = {name: getattr(self, self._penalties[name]) for name in parameters if name in self._penalties}
        objective = Objective(self._loss, {name: penalty for name, penalty in penalties.items() if penalty > 0})
        optimizer = SOLVERS[self.solver](parameters, self.learning_rate)
        report = _print_epoch if self.verbose else None
        self.loss_curve_, converged = train(module, examples, objective, optimizer, plan, generator, report)
        self.n_iter_ = len(self.loss_curve_)
        if not converged:
            message = f"The loss still fell by more than tol={self.tol} when max_iter={self.max_iter} epochs had ended"
            warnings.warn(f"{message}: raise max_iter or tol.", ConvergenceWarning, stacklevel=4)

    def _store(self, module):
        """Set the fitted attributes."""
        for name, attribute in self._attributes.items():
            setattr(self, attribute, module.get_parameter(name).numpy(force=True)[()])

    def _restore(self, device):
        """Return the fitted module."""
        module = self._rebuild(device="meta")
        state = {name: as_tensor(getattr(self, attribute), device) for name, attribute in self._attributes.items()}
        module.load_state_dict(state, assign=True)
        return module

    def _raw(self, X):
        """Return the raw score (n_samples,) of each row."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=self.factors_.dtype, reset=False)
        device = _find_device(self.device)
        rows = Rows.from_scipy(X, device)
        return predict(self._restore(device), rows, _ROWS_AT_ONCE, working_memory()).numpy(force=True)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class Regression(RegressorMixin):
    """The task of a regressor: squared error on the target, standardised while training."""

    _loss = staticmethod(squared_error)

    def _encode(self, y, sample_weight):
        y = y.astype(np.float64)
        mean = np.average(y, weights=sample_weight)
        scale = np.sqrt(np.average((y - mean) ** 2, weights=sample_weight))
        double = np.finfo(np.float64)
        scale = max(scale, 10 * double.eps * abs(mean), double.tiny)  # a constant y has rounding for a spread, or none
        return (y - mean) / scale, mean, scale

    def predict(self, X):
        """Predict the target.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.

        Returns
        -------
        ndarray of shape (n_samples,)
            In the units of y.
        """
        return self._raw(X)


def _find_device(device):
    """Return the ``torch.device`` that the parameter names."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is not one: use 'cpu', 'cuda', 'cuda:1', ... or 'auto'.") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r} asks for CUDA, but torch finds no CUDA device: use 'cpu' or 'auto'.")
    return found


def _auto_batch_size(n_samples):
    """Return the rows of a batch: 128 steps an epoch, within the sizes that learn well and are fast."""
    return min(max(n_samples // 128, 200), 1024)


def working_memory():
    """Return scikit-learn's ``working_memory`` in bytes."""
    return int(get_config()["working_memory"] * 2**20)


def _print_epoch(epoch, loss):
    print(f"Epoch {epoch}: loss {loss:.6f}")  # noqa: T201 what verbose asks for
