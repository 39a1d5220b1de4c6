"""Train, store, predict: what all estimators share. No model is known here, and torch comes when first needed."""

import copy
import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
from sklearn import get_config
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning, InconsistentVersionWarning
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skafm._callbacks import CallbackSupportMixin, FitTask, with_callbacks
from skafm._exchange import ALONE, CURRENT
from skafm._learnt import attributes_of, check_sizes, forget, module_of, parameters_of
from skafm._run import Stop, run
from skafm._validation import ValidatedInput, check_finite
from skafm._version import __version__

PARAMETERS = {
    "n_factors": [Interval(Integral, 1, 2**31 - 1, closed="both")],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "l2_linear": [Interval(Real, 0, None, closed="left")],
    "l2_factors": [Interval(Real, 0, None, closed="left")],
    "solver": [StrOptions({"adagrad", "adam", "sgd"})],
    "learning_rate": [Interval(Real, 0, None, closed="neither")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "early_stopping": ["boolean", StrOptions({"auto"})],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "scoring": [StrOptions({"loss"} | set(get_scorer_names())), callable],
    "warm_start": ["boolean"],
    "shuffle": ["boolean"],
    "verbose": ["verbose"],
    "random_state": ["random_state"],
    "device": "no_validation",
}
"""Constructor parameters that all estimators have, and what they may be; torch judges the device."""


class FactorizationMachine(CallbackSupportMixin, ValidatedInput, ABC):
    """A model and its training, whatever the task.

    A subclass's constructor stores the parameters; it names what it learns in ``_attributes`` and what it penalises
    in ``_penalties``. A mixin gives the task: the loss, and what y is to the raw score.
    """

    _attributes: dict[str, str]
    """The module's parameter -> the fitted attribute."""
    _penalties: dict[str, str]
    """The module's parameter -> the constructor parameter that is its L2 penalty."""

    _parameter_constraints = PARAMETERS
    _paused: dict
    """The optimizer and the generator after ``partial_fit``."""

    @abstractmethod
    def _build(self, X, n_outputs, **factory):
        """Return a module to train on rows like these, on its random start."""

    @abstractmethod
    def _rebuild(self, n_outputs, **factory):
        """Return a module of the fitted sizes."""

    @abstractmethod
    def _lead(self, module, generator, examples, held):
        """Lead the module from its random start to where training begins."""

    @abstractmethod
    def _hold(self, module):
        """Take the gradient from what is not to be trained."""

    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Learn from rows and their targets.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Finite, best a CSR matrix. float32 is computed in float32, everything else in float64.
        y : array-like of shape (n_samples,) or, to learn several numbers a row, (n_samples, n_outputs)
            Finite targets in any unit, or of a classifier the labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; only their ratios matter. ``None`` weighs all rows alike.
        X_val : {sparse matrix or array, array-like} of shape (n_val, n_features), default=None
            With ``y_val``, rows to stop early on, in place of a part of X. In a pipeline,
            ``Pipeline(..., transform_input=["X_val"])`` transforms them as it does X.
        y_val : array-like of shape (n_val,), default=None
            Their targets.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights.

        Returns
        -------
        self : object
            The fitted estimator. Interrupted by Ctrl-C, that of the epochs done, with a warning.

        Raises
        ------
        ValueError
            If the input is malformed, or if the loss stops being finite.
        KeyboardInterrupt
            If interrupted before an epoch is done. This error and any other leave the estimator as it was.
        """
        task = FitTask(self, X, y, sample_weight, self.max_iter)
        with self._all_or_nothing():
            go_on = self.warm_start and hasattr(self, "factors_")
            for learnt in () if go_on else ("classes_", "fields_", "_range"):
                self.__dict__.pop(learnt, None)
            train, held = self._divide(X, y, sample_weight, (X_val, y_val, sample_weight_val), reset=not go_on)
            training, examples, monitor = self._prepare(train, held, go_on=go_on)
            self._run(training, examples, monitor, task)
            self._compare(training.evaluate(examples, self._first_intercept(train)))
            self._store(training)
            self.__dict__.pop("_paused", None)
            task.end()
        return self

    @contextmanager
    def _all_or_nothing(self):
        """Leave the estimator as it was if what is done raises an error."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__ = before  # in one step, which a second Ctrl-C cannot halve
            raise

    def _prepare(self, train, held, *, go_on, keep_units=False, shuffle=None):
        """Return the training at its start, its examples, and the function that scores the held-out rows or None."""
        from skafm import _engine

        if not keep_units:
            self._units = self._find_units(train)
        shift, scale = self._units
        random = check_random_state(self.random_state)
        device = _engine.find_device(self.device)
        exchange = CURRENT.get()
        seed = exchange.gather(random.randint(np.iinfo(np.int32).max))[0] + exchange.rank
        generator = _engine.seeded(seed, device)
        load = lambda data: _engine.load(data.X, self._encode(data.y), data.weight, device)  # noqa: E731
        examples, held_examples = load(train), None if held is None else load(held)
        module = self._build(
            train.X,
            self._n_outputs(train.y),
            generator=generator,
            device="meta" if go_on else device,
            dtype=examples.rows.dtype,
        )
        if go_on:
            before = parameters_of(self, self._attributes)
            check_sizes(module, before)
            _engine.fill(module, before, -shift / scale, 1 / scale, device)
        else:
            _engine.start(module, self._first_intercept(train))
            self._lead(module, generator, examples, held_examples)
        self._hold(module)
        monitor = None if held is None else self._monitor(held, held_examples)
        return self._training(module, generator, examples, shuffle=shuffle), examples, monitor

    def _training(self, module, generator, examples, *, shuffle=None):
        """Return the training of a module."""
        from skafm import _engine

        n_samples = CURRENT.get().total(len(examples.rows))
        size = _auto_batch_size(n_samples) if self.batch_size == "auto" else self.batch_size
        plan = _engine.Plan(size, self.shuffle if shuffle is None else shuffle, working_memory())
        penalties = {name: getattr(self, parameter) for name, parameter in self._penalties.items()}
        return _engine.Training(module, generator, self._loss, penalties, self.solver, self.learning_rate, plan)

    def _monitor(self, held, examples):
        """Return the function that scores a training on the held-out rows, the greater the better."""
        if self.scoring == "loss":
            return self._loss_monitor(examples)
        if CURRENT.get() is not ALONE:
            raise ValueError(f"scoring={self.scoring!r} would score the rows of one rank alone: use 'loss'.")
        scorer = check_scoring(self, self.scoring)
        weight = {} if np.ptp(held.weight) == 0 else {"sample_weight": held.weight}
        y = self._decode(held.y)

        def score(training):
            fitted = copy.copy(self)
            fitted.__dict__.pop("feature_names_in_", None)  # the rows have no names any more
            fitted.__dict__.update(self._fitted(training))
            found = scorer(fitted, held.X, y, **weight)
            if not (isinstance(found, Real) and np.isfinite(float(found))):
                raise ValueError(
                    f"scoring={self.scoring!r} gave {found!r} on the rows held back, and no finite number: use "
                    "another, or 'loss'."
                )
            return float(found)

        return score

    @staticmethod
    def _loss_monitor(examples):
        return lambda training: -training.evaluate(examples)

    def _run(self, training, examples, monitor, task=None):
        """Train, and set the attributes that say how it went."""
        stop = Stop(self.max_iter, self.tol, self.n_iter_no_change)
        fitted = lambda: self._fitted(training)  # noqa: E731
        verbose = self.verbose and training.exchange.rank == 0
        history = run(training, examples, monitor, stop, verbose=verbose, task=task, fitted=fitted)
        self.loss_curve_, self.n_iter_, self.best_iter_ = history.losses, len(history.losses), history.best
        self.validation_scores_ = None if monitor is None else history.scores

    def _compare(self, constant):
        """Warn if the loss is far above that of a constant prediction."""
        loss = self.loss_curve_[self.best_iter_ - 1]
        if loss > 2 * constant + 1:
            warnings.warn(
                f"The loss, {loss:.4g}, is far above that of predicting the same for all rows, {constant:.4g}: scale "
                f"X, e.g. with MaxAbsScaler, or lower learning_rate (now {self.learning_rate}).",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _partial_fit(self, X, y, sample_weight):
        """Train on rows in the order they come, once, with the units and the optimizer of the calls before."""
        go_on = hasattr(self, "factors_")
        train = self._check(X, y, sample_weight, reset=not go_on, learn=True)
        training, examples, _ = self._prepare(train, None, go_on=go_on, keep_units=go_on, shuffle=False)
        if hasattr(self, "_paused"):
            training.go_on(self._paused)
        self.loss_curve_ = [*getattr(self, "loss_curve_", []), next(training.epochs(examples))]
        self.n_iter_ = self.best_iter_ = len(self.loss_curve_)
        self.validation_scores_ = None
        self._store(training)
        self._paused = training.pause()
        return self

    def _fitted(self, training):
        """Return the fitted attributes, in the units of y."""
        return attributes_of(training.parameters(*self._units), self._attributes)

    def _store(self, training):
        """Set the fitted attributes."""
        fitted = self._fitted(training)
        for attribute in self._attributes.values():
            self.__dict__.pop(attribute, None)  # a model of one output has fewer
        self.__dict__.update(fitted)
        forget(self)

    def _raw(self, X):
        """Return the raw score of each row, (n_samples,) or (n_samples, n_outputs)."""
        from skafm import _engine

        X = self._check_rows(X)
        module, device = self._ready()
        raw = _engine.raw_score(module, X, device, working_memory())
        check_finite(X, raw)
        return raw

    def _ready(self):
        """Return the module to predict with, and its device."""
        from skafm import _engine

        device = _engine.find_device(self.device)
        return module_of(self, self._attributes, self._rebuild, device, working_memory()), device

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


def store(arguments):
    """Store a constructor's arguments, its ``locals()``, on the estimator that is among them."""
    arguments = dict(arguments)
    vars(arguments.pop("self")).update(arguments)


def _auto_batch_size(n_samples):
    """Return the rows of a batch: 128 steps an epoch, within the sizes that learn well and are fast."""
    return min(max(n_samples // 128, 200), 1024)


def working_memory():
    """Return scikit-learn's ``working_memory`` in bytes."""
    return int(get_config()["working_memory"] * 2**20)
