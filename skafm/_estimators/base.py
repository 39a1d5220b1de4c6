"""Fit, store, predict: what all estimators share. No model is known here, and torch is imported when first needed."""

from abc import abstractmethod

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state

from skafm._estimators.advice import explain_divergence, remedy_for_no_gain, warn
from skafm._estimators.callbacks import FitTask
from skafm._estimators.early_stopping import StoppingCriterion, run_epochs
from skafm._estimators.feature_subset import select_features
from skafm._estimators.fitted_model import FittedModel, working_memory
from skafm._estimators.fitted_state import (
    attributes_from_parameters,
    check_shapes,
    invalidate_cache,
    parameters_from_attributes,
)
from skafm._estimators.parameters import TRAINING
from skafm._estimators.regularization import choose_linear, fit_linear, penalties
from skafm._estimators.scoring import validation_score
from skafm._estimators.sklearn_compat import CallbackSupportMixin, fit_context, with_callbacks
from skafm._training.collectives import current_group


class FactorizationMachine(CallbackSupportMixin, FittedModel):
    """A model and its training, for any target.

    A subclass's constructor stores the parameters. A subclass names its parameters in ``_parameter_attributes`` and
    ``_penalties`` and builds the torch module; a mixin, ``Regression``, ``Classification`` or ``Ranking``, gives the
    loss, and says what y is to the raw score.
    """

    _penalties: dict[str, str]
    """The module's parameter -> the constructor parameter that is its L2 penalty."""
    _task: str
    """"regression", "classification" or "ranking"."""
    _fits_linear_first: bool = True
    """Whether training begins with the linear model if the penalty on w is "auto"."""
    _lowers_rate: bool = False
    """Whether training continues with a tenth of the learning rate once it would stop."""
    _target_scale: tuple[np.ndarray, np.ndarray]
    """Shift and scale, () or (n_outputs,), from the raw score of training to that of the fitted attributes."""

    _parameter_constraints = TRAINING

    @property
    def _table_penalty(self):
        """Factor C of "auto" penalties that more rows do not outweigh; 0 for priors, see ``regularization``."""
        return 0.0

    @abstractmethod
    def _build_module(self, data, n_outputs, **factory):
        """Return a randomly initialized module to train on ``data``; ``factory`` has generator, device and dtype."""

    @abstractmethod
    def _initialize_parameters(self, module, generator, dataset, validation):
        """Set the parameters of a randomly initialized module to those that training begins with."""

    def _finalize(self, module, data):
        """Change the parameters of a trained module to equivalent ones."""

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

    def _n_averaged(self, target):  # noqa: ARG002
        """Return over how many targets, which have weights w of their own, the loss of encoded ones is averaged."""
        return 1

    def _validation_scorer(self):
        """Return the scorer that ``scoring`` names."""
        return check_scoring(self, self.scoring)

    def _scorer_metadata(self, data):
        """Return what a scorer may ask for besides rows and targets, None if there is none of it."""
        return {"sample_weight": data.sample_weight}

    @abstractmethod
    def _measure_loss(self, data):
        """Set what the loss needs of the targets that a training begins with."""

    @abstractmethod
    def _make_loss(self, like):
        """Return the loss of each row; ``like`` is a tensor of the precision and the device of the raw scores."""

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
        task = FitTask(self, X, y, self.max_iter, sample_weight=sample_weight)
        return self._fit(task, (X, y, sample_weight), (X_val, y_val, sample_weight_val))

    def _fit(self, task, given, given_val, *, attach=(None, None), learn_held_out=None):
        """Fit to rows, targets and weights.

        Parameters
        ----------
        task : FitTask
        given, given_val : tuple
            X, targets and weights of the training set and of the validation set, each None if not given.
        attach : tuple of callable
            For the training set and the validation set what adds to its data set, None if nothing is added.
        learn_held_out : bool, optional
            Whether the validation set is trained on at last; by default if it is held out here.
        """
        learn_held_out = given_val[0] is None if learn_held_out is None else learn_held_out
        with self._restore_on_error():
            resume = self.warm_start and hasattr(self, "factors_")
            if not resume:
                self._forget_fit()
            train, validation = self._split_validation(given, given_val, current_group(), reset=not resume)
            with explain_divergence(self, train.X):
                self._target_scale = self._fit_target_scale(train)
                self._measure_loss(train)
                ready = self._prepare_training(train, validation, resume=resume, attach=attach)
                trainer, dataset, validation_set, score = ready
                from_linear = not resume and getattr(self, "init", "random") == "random"
                history = self._train(trainer, dataset, score, validation_set, task, from_linear=from_linear)
                evaluated = dataset if validation is None else validation_set
                constant = trainer.evaluate(evaluated, self._initial_intercept(train))
                loss = history.losses[-1] if validation is None else trainer.evaluate(evaluated)
                if validation is not None and learn_held_out:
                    if history.best:
                        trainer.train_once(validation_set)
                    elif from_linear:
                        rows = self._to_dataset(train.concatenate(validation), dataset.rows.device)
                        fit_linear(self, trainer.model, rows)
            self._finalize(trainer.model, train)
            self._store_history(history, score)
            self._warn_if_no_gain(loss, constant, train.X, "training" if validation is None else "validation")
            self._training_state = trainer.release_optimizer()
            self.feature_importances_ = trainer.feature_importances(dataset, self._target_scale[1])
            self._store_fitted(trainer)
            self._store_missing_fields(train, trainer.model._per_feature)
            task.end()
        return self

    def _forget_fit(self):
        """Remove what an earlier fit has left, so that no scorer or callback meets it."""
        own = ["classes_", "fields_", "feature_importances_", "l2_scale_", "_missing_rows", "_training_state"]
        own += ["_target_range", "_target_moments", "_target_scale", "_fitted_loss", "_loss_unit"]
        for name in (*own, *self._parameter_attributes.values()):
            self.__dict__.pop(name, None)

    def _prepare_training(self, train, validation, *, resume=False, stream=False, attach=(None, None)):
        """Return the trainer before its first epoch, the data sets, and the validation score function or None."""
        from skafm._training import conversion

        device = conversion.resolve_device(self.device)
        generator = self._make_generator(train.group, device)
        dataset = self._to_dataset(train, device, normalize=not stream)
        validation_set = None if validation is None else self._to_dataset(validation, device)
        dataset, validation_set = (
            each if add is None else add(each) for add, each in zip(attach, (dataset, validation_set), strict=True)
        )
        if resume:
            module = self._resumed_module(train, generator, device, dataset.rows.dtype)
        else:
            factory = {"generator": generator, "device": device, "dtype": dataset.rows.dtype}
            module = self._build_module(train, self._count_outputs(train.y), **factory)
            conversion.set_intercept(module, self._initial_intercept(train))
            if not stream:
                self.l2_scale_ = choose_linear(self, module, dataset, validation_set)
            self._initialize_parameters(module, generator, dataset, validation_set)
        self._freeze(module)
        score = None if validation is None else validation_score(self, validation, validation_set)
        trainer = self._make_trainer(module, generator, dataset, stream=stream)
        if resume and hasattr(self, "_training_state"):
            trainer.load_state_dict(self._training_state)
        return trainer, dataset, validation_set, score

    def _make_generator(self, group, device):
        """Return the random generator of a training, another one on each rank."""
        from skafm._training import conversion

        random = check_random_state(self.random_state)
        return conversion.make_generator(
            group.all_gather(random.randint(np.iinfo(np.int32).max))[0] + group.rank, device
        )

    def _resumed_module(self, data, generator, device, dtype, features=None):
        """Return the fitted module, of all features or of some, in the units of training."""
        from skafm._training import conversion

        factory = {"generator": generator, "device": "meta", "dtype": dtype}
        module = self._build_module(data, self._count_outputs(data.y), **factory)
        parameters = parameters_from_attributes(self, self._parameter_attributes)
        check_shapes(module, parameters)
        if features is not None:
            parameters = select_features(parameters, features, module._per_feature, self._missing_rows)
        shift, scale = self._target_scale
        conversion.load_parameters(module, parameters, -shift / scale, 1 / scale, device)
        return module

    def _to_dataset(self, data, device, *, normalize=True):
        """Return validated samples on the device."""
        from skafm._training import conversion

        target = self._encode_target(data.y)
        return conversion.to_dataset(data.X, target, data.weight, data.group, device, normalize=normalize)

    def _make_trainer(self, module, generator, dataset, *, stream=False):
        """Return the trainer of a module."""
        from skafm._training.loop import BatchConfig
        from skafm._training.losses import log_loss
        from skafm._training.trainer import Trainer

        n_samples = dataset.group.all_reduce_sum(len(dataset.rows))
        size = _auto_batch_size(n_samples) if self.batch_size == "auto" else self.batch_size
        rows_per_step = getattr(self, "_training_state", {}).get("rows_per_step", 0) if stream else 0
        loss = self._make_loss(dataset.target)
        if dataset.catalog is not None:  # its items are classes
            size, loss = min(size, dataset.catalog.max_batch_size(working_memory())), log_loss
        config = BatchConfig(size, self.shuffle and not stream, working_memory(), rows_per_step)
        optimization = (loss, penalties(self, dataset, stream=stream), self.solver, self.learning_rate)
        return Trainer(module, generator, *optimization, config, dataset.group)

    def _train(self, trainer, dataset, score, validation, task=None, *, from_linear):
        """Train until the stopping criterion, and return the history.

        With ``from_linear`` w begins at half of what it is, but what it is counts as epoch 0. Interactions take up a
        part of the main effects: beside a w that has them all, embeddings learn less that holds for new rows.
        """
        initial, required_gain = None if score is None else (score(trainer), trainer.snapshot()), None
        if from_linear and hasattr(trainer.model, "linear"):
            if getattr(self, "l2_linear", None) == "auto" and self.scoring == "loss":
                required_gain = trainer.required_gain(validation)
            trainer.halve_linear(dataset)
        stop = StoppingCriterion(self.max_iter, self.tol, self.n_iter_no_change, self._lowers_rate)
        fitted = lambda: self._fitted_attributes(trainer)  # noqa: E731
        reported = {"verbose": self.verbose and dataset.group.rank == 0, "task": task, "fitted": fitted}
        return run_epochs(trainer, dataset, score, stop, initial=initial, required_gain=required_gain, **reported)

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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _auto_batch_size(n_samples):
    """Return 1/128 of the rows, within the sizes that are accurate and fast."""
    return min(max(n_samples // 128, 200), 1024)
