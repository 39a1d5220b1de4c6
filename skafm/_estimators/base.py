"""Fit, store, predict: what all estimators share. No model is known here, and torch is imported when first needed."""

import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager

import numpy as np
from sklearn import get_config
from sklearn.exceptions import ConvergenceWarning, InconsistentVersionWarning
from sklearn.utils import check_random_state

from skafm._estimators.advice import explain_divergence, remedy_for_no_gain, warn
from skafm._estimators.callbacks import FitTask
from skafm._estimators.early_stopping import StoppingCriterion, run_epochs
from skafm._estimators.fitted_state import (
    attributes_from_parameters,
    cached_module,
    check_shapes,
    invalidate_cache,
    parameters_from_attributes,
    separate_intercept,
)
from skafm._estimators.parameters import TRAINING
from skafm._estimators.scoring import validation_score
from skafm._estimators.sklearn_compat import CallbackSupportMixin, fit_context, with_callbacks
from skafm._estimators.validation import InputValidation, check_finite
from skafm._training.collectives import current_group
from skafm._version import __version__

_MAX_LOSSES = 1000
"""Most losses of a stream that are kept."""


class FactorizationMachine(CallbackSupportMixin, InputValidation, ABC):
    """A model and its training, for any target.

    A subclass's constructor stores the parameters. A subclass names its parameters in ``_parameter_attributes`` and
    ``_penalties`` and builds the torch module; a mixin, ``Regression`` or ``Classification``, gives the loss, and says
    what y is to the raw score.
    """

    _parameter_attributes: dict[str, str]
    """The module's parameter -> the fitted attribute."""
    _penalties: dict[str, str]
    """The module's parameter -> the constructor parameter that is its L2 penalty."""
    _loss: str
    """Name of the loss."""
    _target_scale: tuple[np.ndarray, np.ndarray]
    """Shift and scale, () or (n_outputs,), from the raw score of training to that of the fitted attributes."""
    _training_state: dict
    """Optimizer and random generator after ``partial_fit``; of the optimizer a part after ``fit``."""

    _parameter_constraints = TRAINING

    @abstractmethod
    def _build_module(self, data, n_outputs, **factory):
        """Return a randomly initialized module to train on ``data``; ``factory`` has generator, device and dtype."""

    @abstractmethod
    def _rebuild_module(self, n_outputs, **factory):
        """Return a module of the fitted sizes."""

    @abstractmethod
    def _initialize_parameters(self, module, generator, dataset, validation):
        """Set the parameters of a randomly initialized module to those that training begins with."""

    def _finalize(self, module, data):
        """Change the parameters of a trained module to equivalent ones."""

    @abstractmethod
    def _freeze(self, module):
        """Turn off the gradients of the parameters that are not trained."""

    @abstractmethod
    def _fit_target_scale(self, data):
        """Return ``_target_scale`` of the targets."""

    @abstractmethod
    def _update_target_scale(self, data):
        """Set ``_target_scale`` of all targets of a stream so far.

        Returns
        -------
        resume : bool
            Whether training can resume; if not, it begins anew.
        share : float
            Share of the mean residual on ``data`` by which the intercept is to be corrected.
        """

    @abstractmethod
    def _encode_target(self, y):
        """Return checked targets in the units of training."""

    @abstractmethod
    def _decode_target(self, y):
        """Return checked targets as a scorer expects them."""

    @abstractmethod
    def _count_outputs(self, y):
        """Return the number of raw scores of a row, or None for one without an axis of its own."""

    @abstractmethod
    def _initial_intercept(self, data):
        """Return the raw score, in the units of training, of the best constant prediction."""

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Training data, finite; a CSR matrix is used without a copy. float32 is computed in float32, everything else
            in float64.
        y : array-like of shape (n_samples,) or, of regressors, (n_samples, n_outputs)
            Finite targets in any unit; of a classifier the labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; only their ratios matter. ``None`` gives all samples the same weight.
        X_val : {sparse matrix or array, array-like} of shape (n_val, n_features), default=None
            Validation set for early stopping, used instead of a part of X; needs ``y_val``. In a pipeline,
            ``Pipeline(..., transform_input=["X_val"])`` transforms it as it does X. Do not pass it to a grid search:
            scikit-learn splits fit parameters that are as long as X.
        y_val : array-like of shape (n_val,), default=None
            Targets of the validation set.
        sample_weight_val : array-like of shape (n_val,), default=None
            Sample weights of the validation set.

        Returns
        -------
        self : object
            The fitted estimator. If interrupted by Ctrl-C after the first epoch, the model so far, with a warning.

        Raises
        ------
        ValueError
            If the input is malformed, or if the loss is no longer finite.
        KeyboardInterrupt
            If interrupted before the first epoch ends. After this or any other error the estimator is unchanged.
        """
        task = FitTask(self, X, y, sample_weight, self.max_iter)
        with self._restore_on_error():
            resume = self.warm_start and hasattr(self, "factors_")
            if not resume:
                self._forget_fit()
            given = (X_val, y_val, sample_weight_val)
            train, validation = self._split_validation(X, y, sample_weight, given, current_group(), reset=not resume)
            with explain_divergence(self, train.X):
                self._target_scale = self._fit_target_scale(train)
                trainer, dataset, validation_set, score = self._prepare_training(train, validation, resume=resume)
                history = self._train(trainer, dataset, score, task)
                evaluated = dataset if validation is None else validation_set
                constant = trainer.evaluate(evaluated, self._initial_intercept(train))
                loss = history.losses[-1] if validation is None else trainer.evaluate(evaluated)
            self._finalize(trainer.model, train)
            self._store_history(history, score)
            self._warn_if_no_gain(loss, constant, train.X, "training" if validation is None else "validation")
            self._training_state = trainer.release_optimizer()
            self._store_fitted(trainer)
            task.end()
        return self

    def _forget_fit(self):
        """Remove what an earlier fit has left, so that no scorer or callback meets it."""
        fitted = ("classes_", "fields_", "_target_range", "_target_moments", "_target_scale", "_training_state")
        for name in (*fitted, *self._parameter_attributes.values()):
            self.__dict__.pop(name, None)

    @contextmanager
    def _restore_on_error(self):
        """Restore the estimator if the body raises an error."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__ = before  # in one step, which a second Ctrl-C cannot interrupt
            raise

    def _prepare_training(self, train, validation, *, resume, stream=False):
        """Return the trainer before its first epoch, the data sets, and the validation score function or None."""
        from skafm._training import conversion

        shift, scale = self._target_scale
        random = check_random_state(self.random_state)
        device, group = conversion.resolve_device(self.device), train.group
        seed = group.all_gather(random.randint(np.iinfo(np.int32).max))[0] + group.rank
        generator = conversion.make_generator(seed, device)
        dataset = self._to_dataset(train, device, normalize=not stream)
        validation_set = None if validation is None else self._to_dataset(validation, device)
        factory = {"generator": generator, "device": "meta" if resume else device, "dtype": dataset.rows.dtype}
        module = self._build_module(train, self._count_outputs(train.y), **factory)
        if resume:
            fitted = parameters_from_attributes(self, self._parameter_attributes)
            check_shapes(module, fitted)
            conversion.load_parameters(module, fitted, -shift / scale, 1 / scale, device)
        else:
            conversion.set_intercept(module, self._initial_intercept(train))
            self._initialize_parameters(module, generator, dataset, validation_set)
        self._freeze(module)
        score = None if validation is None else validation_score(self, validation, validation_set)
        trainer = self._make_trainer(module, generator, dataset, stream=stream)
        if resume and hasattr(self, "_training_state"):
            trainer.load_state_dict(self._training_state)
        return trainer, dataset, validation_set, score

    def _to_dataset(self, data, device, *, normalize=True):
        """Return validated samples on the device."""
        from skafm._training import conversion

        target = self._encode_target(data.y)
        return conversion.to_dataset(data.X, target, data.weight, data.group, device, normalize=normalize)

    def _make_trainer(self, module, generator, dataset, *, stream=False):
        """Return the trainer of a module."""
        from skafm._training.loop import BatchConfig
        from skafm._training.trainer import Trainer

        n_samples = dataset.group.all_reduce_sum(len(dataset.rows))
        size = _auto_batch_size(n_samples) if self.batch_size == "auto" else self.batch_size
        rows_per_step = getattr(self, "_training_state", {}).get("rows_per_step", 0) if stream else 0
        config = BatchConfig(size, self.shuffle and not stream, working_memory(), rows_per_step)
        penalties = {name: getattr(self, parameter) for name, parameter in self._penalties.items()}
        optimization = (self._loss, penalties, self.solver, self.learning_rate)
        return Trainer(module, generator, *optimization, config, dataset.group)

    def _train(self, trainer, dataset, score, task=None):
        """Train until the stopping criterion, and return the history."""
        stop = StoppingCriterion(self.max_iter, self.tol, self.n_iter_no_change)
        fitted = lambda: self._fitted_attributes(trainer)  # noqa: E731
        verbose = self.verbose and dataset.group.rank == 0
        return run_epochs(trainer, dataset, score, stop, verbose=verbose, task=task, fitted=fitted)

    def _store_history(self, history, score):
        """Set the attributes that say how the training went."""
        self.loss_curve_, self.n_iter_, self.best_iter_ = history.losses, len(history.losses), history.best
        self.validation_scores_ = None if score is None else history.scores

    def _warn_if_no_gain(self, loss, constant, X, name):
        """Warn if a loss is no better than that of a constant prediction."""
        if loss < constant or constant == 0:
            return
        what = f"The {name} loss, {loss:.4g}, is no better than a constant predictor's, {constant:.4g}"
        names = getattr(self, "feature_names_in_", None)
        warn(f"{what}: {remedy_for_no_gain(X, self.learning_rate, names)}", ConvergenceWarning)

    def _partial_fit(self, X, y, sample_weight):
        """Train one epoch in the order of the rows, with the optimizer of earlier calls."""
        resume = hasattr(self, "factors_")
        train = self._validate_samples(X, y, sample_weight, current_group(), reset=not resume, training=True)
        share = 0.0
        if resume:
            resume, share = self._update_target_scale(train)
        else:
            self._target_scale = self._fit_target_scale(train)
        with explain_divergence(self, train.X):
            trainer, dataset, *_ = self._prepare_training(train, None, resume=resume, stream=True)
            if resume and share:
                trainer.center_residuals(dataset, share)
            loss = next(trainer.epochs(dataset))
        self.loss_curve_ = [*getattr(self, "loss_curve_", [])[1 - _MAX_LOSSES :], loss]
        self.n_iter_ = self.best_iter_ = getattr(self, "n_iter_", 0) + 1
        self.validation_scores_ = None
        self._training_state = trainer.state_dict()
        self._store_fitted(trainer)
        return self

    def _fitted_attributes(self, trainer, *, in_place=False):
        """Return the fitted attributes, in the units of y; ``in_place`` ends the training."""
        parameters = trainer.rescaled_parameters(*self._target_scale, in_place=in_place)
        return attributes_from_parameters(parameters, self._parameter_attributes)

    def _store_fitted(self, trainer):
        """Set the fitted attributes."""
        fitted = self._fitted_attributes(trainer, in_place=True)
        for attribute in self._parameter_attributes.values():
            self.__dict__.pop(attribute, None)  # a model of one output has fewer
        self.__dict__.update(fitted)
        invalidate_cache(self)

    def _predict_raw(self, X):
        """Return the raw score of each row, (n_samples,) or (n_samples, n_outputs)."""
        from skafm._training import conversion

        X = self._validate_rows(X)
        module, device = self._fitted_module()
        raw = conversion.predict_raw(module, X, device, working_memory())
        check_finite(X, raw)
        intercept = separate_intercept(self)
        return raw if intercept is None else raw + intercept

    def _fitted_module(self):
        """Return the module to predict with, and its device."""
        from skafm._training import conversion

        device = conversion.resolve_device(self.device)
        return cached_module(self, self._parameter_attributes, self._rebuild_module, device, working_memory()), device

    def __getstate__(self):
        return super().__getstate__() | {"_skafm_version": __version__}

    def __setstate__(self, state):
        stored = state.get("_skafm_version", "unknown")
        if stored != __version__:
            versions = {"current_sklearn_version": __version__, "original_sklearn_version": stored}
            name = f"skafm's {type(self).__name__}"
            warnings.warn(InconsistentVersionWarning(estimator_name=name, **versions), stacklevel=2)
        super().__setstate__({name: value for name, value in state.items() if name != "_skafm_version"})

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _auto_batch_size(n_samples):
    """Return 1/128 of the rows, within the sizes that are accurate and fast."""
    return min(max(n_samples // 128, 200), 1024)


def working_memory():
    """Return scikit-learn's ``working_memory`` in bytes."""
    return int(get_config()["working_memory"] * 2**20)
