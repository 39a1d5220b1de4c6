"""Factorization machines whose posterior distribution is sampled, for any target."""

import time
from abc import abstractmethod
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from skafm._estimators.advice import warn
from skafm._estimators.bayesian_explain import ExplainDrawsMixin
from skafm._estimators.callbacks import FitTask
from skafm._estimators.feature_subset import compact_columns, select_features
from skafm._estimators.fields import canonical_rows, complete_fields, encode_fields, infer_fields
from skafm._estimators.fitted_model import working_memory
from skafm._estimators.fitted_state import invalidate_cache
from skafm._estimators.parameters import FIELDS, TRAINING
from skafm._estimators.posterior import Draws, attributes_from_draws, draws_from_attributes
from skafm._estimators.sklearn_compat import CallbackSupportMixin, Interval, fit_context, with_callbacks
from skafm._estimators.validation import check_finite
from skafm._training.collectives import SINGLE_PROCESS, current_group

_SMALL_FIELD = 5
"""Fields with fewer columns say too little of their spread (Gelman, 2006): they share one prior."""
_TRAINED = ("n_factors", "max_iter", "warm_start", "verbose", "random_state", "device")
SAMPLING = (
    {name: TRAINING[name] for name in _TRAINED} | FIELDS | {"burn_in": [Interval(Integral, 0, None, closed="left")]}
)
"""The constructor parameters, and what they may be."""


class BayesianModel(CallbackSupportMixin, ExplainDrawsMixin):
    """Samples the posterior distribution of the parameters, and averages over the draws."""

    _parameter_attributes = {
        "linear.intercept": "intercept_",
        "linear.weight": "linear_coef_",
        "factors": "factors_",
        "projection": "projection_",
    }
    _task: str
    """"regression" or "classification"."""
    _parameter_constraints = SAMPLING

    @abstractmethod
    def _encode_target(self, data, *, reset):
        """Return what is observed, (n_samples, n_outputs), and shift and scale from the raw score to that of y."""

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Sample the posterior distribution.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Training data, finite. float32 is computed in float32, twice as fast and with draws of half the size,
            everything else in float64.
        y : array-like of shape (n_samples,)
            Finite targets in any unit; of a classifier the labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, by which the precision of the noise is multiplied: a sample of weight 2 counts as two.
            ``None`` gives all samples a weight of 1.

        Returns
        -------
        self : object
            The fitted estimator. If interrupted by Ctrl-C after the first draw was kept, the draws so far, with a
            warning.

        Raises
        ------
        ValueError
            If the input is malformed, if too few blocks of columns are independent, or if the draws are not finite.
        KeyboardInterrupt
            If interrupted before a draw was kept. After this or any other error the estimator is unchanged.
        """
        task = FitTask(self, X, y, self.max_iter, sample_weight=sample_weight)
        with self._restore_on_error():
            resume = self.warm_start and hasattr(self, "factors_")
            if not resume:
                self._forget_fit()
            if current_group() is not SINGLE_PROCESS:
                raise ValueError(f"{type(self).__name__} samples in one process: fit it without torch.distributed.")
            data = self._validate_samples(X, y, sample_weight, SINGLE_PROCESS, reset=not resume, training=True)
            before = self._check_draws() if resume else None
            observed, shift, scale = self._encode_target(data, reset=not resume)
            sampler = self._make_sampler(data, observed, before, shift, scale)
            store = lambda: self._attributes(sampler, before, shift, scale)  # noqa: E731
            n_sweeps = self._sample(sampler, task, store, 0 if resume else self.burn_in)
            self.__dict__.update(store(), n_iter_=n_sweeps + (self.n_iter_ if resume else 0))
            invalidate_cache(self)
            task.end()
        return self

    def _forget_fit(self):
        """Remove what an earlier fit has left."""
        own = ["classes_", "fields_", "projection_", "n_iter_", "factors_", "intercept_", "linear_coef_"]
        for name in (
            *own,
            "intercept_draws_",
            "linear_coef_draws_",
            "noise_std_draws_",
            "_missing_rows",
            "_missing_draws",
        ):
            self.__dict__.pop(name, None)

    def _check_draws(self):
        """Return the draws of the previous fit, to be resumed."""
        draws = draws_from_attributes(self)
        if draws.factors.shape[3] != self.n_factors:
            raise ValueError(
                f"n_factors={self.n_factors} differs from the {draws.factors.shape[3]} of the previous fit: with "
                "warm_start=True it must not change; use warm_start=False to fit anew."
            )
        return draws

    def _make_sampler(self, data, observed, before, shift, scale):
        """Return the sampler before its first sweep."""
        from skafm._sampling.problem import make_problem
        from skafm._sampling.sampler import Sampler
        from skafm._training import conversion

        rows, inferred = canonical_rows(data.X), infer_fields(data.X)
        if before is None:
            self.fields_ = self._find_fields(inferred)
            fields = [field for field in complete_fields(data)[0] if field.stop - field.start > 1]
            self._missing_bounds = np.array([end for field in fields for end in (field.start, field.stop)], np.int64)
        device = conversion.resolve_device(self.device)
        sizes = (self.n_factors, working_memory(), device)
        problem = make_problem(rows, data.weight, inferred, self.fields_, *sizes)
        seeds = check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=observed.shape[1])
        missing = self.fields_[self._missing_bounds[::2]]
        n_kept = self.max_iter if before is not None else max(self.max_iter - self.burn_in, 1)
        sampler = Sampler(problem, self._task, observed, self.n_factors, seeds.tolist(), missing, n_kept)
        if before is not None:
            intercepts, weights, factors, _ = before.rescale(-shift / scale, 1 / scale)
            n = self.n_features_in_
            sampler.set_parameters(intercepts[:, -1], weights[:n, :, -1], factors[:n, :, -1])
        return sampler

    def _find_fields(self, inferred):
        """Return the field (n_features,) of each column, from 0, by which columns share a prior."""
        if not isinstance(self.fields, str):
            return encode_fields(self.fields, self.n_features_in_)[1]
        small = np.bincount(inferred)[inferred] < _SMALL_FIELD
        return np.unique(np.where(small, inferred.max() + 1, inferred), return_inverse=True)[1]

    def _sample(self, sampler, task, store, burn_in):
        """Sweep, keep the draws after the burn-in, and return the number of sweeps."""
        sweep, stop = 0, False
        try:
            while sweep < self.max_iter and not stop:
                started, epoch = time.perf_counter(), task.begin_epoch()
                error = sampler.sweep()
                sweep += 1
                sampler.record(keep=sweep > burn_in or sweep == self.max_iter)
                if self.verbose:
                    seconds = time.perf_counter() - started
                    print(f"Sweep {sweep}/{self.max_iter}: root mean square residual {error:.6f}, {seconds:.2f} s")  # noqa: T201
                stop = task.end_epoch(epoch, store)
        except KeyboardInterrupt:
            if not sampler.n_kept:
                raise
            warn(f"Sampling was interrupted: returning the {sampler.n_kept} draws so far.", UserWarning)
        except FloatingPointError as error:
            raise ValueError(
                f"The draws of sweep {sweep + 1} are not finite: scale X, e.g. with MaxAbsScaler, or pass it in "
                "float64."
            ) from error
        return sweep

    def _attributes(self, sampler, before, shift, scale):
        """Return the fitted attributes."""
        draws = Draws(*sampler.kept()).rescale(shift, scale)
        return attributes_from_draws(draws if before is None else before.append(draws), self.n_features_in_)

    def _rebuild_module(self, n_outputs, **factory):
        from skafm.nn import FM

        n_features, n_factors = self.factors_.shape
        return FM(n_features, n_factors, n_outputs, **factory)

    def _score_draws(self, X):
        """Return the raw score of each row by each draw, (n_samples, n_draws) or (n_samples, n_classes, n_draws)."""
        from skafm._sampling.scores import score_draws
        from skafm._training import conversion

        X = self._with_missing_fields(self._validate_rows(X))
        features, rows = compact_columns(canonical_rows(X))
        tables = {"factors": self.factors_, "draws": self.linear_coef_draws_}
        missing = dict(self._missing_rows, draws=self._missing_draws)
        tables = select_features(tables, features, tables, missing)
        shape = self.intercept_draws_.shape
        intercepts = self.intercept_draws_.ravel()
        factors = tables["factors"] * np.sqrt(shape[-1]).astype(self.factors_.dtype)
        weights = tables["draws"].reshape(len(features), -1)
        given = (intercepts, weights, factors, conversion.resolve_device(self.device), working_memory())
        raw = score_draws(rows, *given)
        check_finite(X, raw)
        return raw.reshape(-1, *shape)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
