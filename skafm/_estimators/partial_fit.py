"""One call of ``partial_fit``: its time depends on the features of its rows, not on the number of others."""

from skafm._estimators.advice import explain_divergence
from skafm._estimators.feature_subset import compact_columns, put_rows
from skafm._estimators.fields import canonical_rows
from skafm._estimators.fitted_state import attributes_from_parameters, writable_parameter
from skafm._estimators.new_features import NewFeatures
from skafm._training.collectives import current_group

_MAX_LOSSES = 1000
"""Most losses of a stream that are kept."""


class OnlineTraining(NewFeatures):
    """Trains one epoch in the order of the rows, with the optimizer of earlier calls."""

    def _partial_fit(self, X, y, sample_weight):
        """Begin or resume the training of a stream."""
        resume, share = hasattr(self, "factors_"), 0.0
        train = self._validate_samples(X, y, sample_weight, current_group(), reset=not resume, training=True)
        if resume:
            train = train._replace(X=train.X.astype(self.factors_.dtype, copy=False))
            resume, share = self._update_target_scale(train)
        else:
            self._target_scale = self._fit_target_scale(train)
        if not resume:
            self._measure_loss(train)
        with explain_divergence(self, train.X):
            loss = self._resume_stream(train, share) if resume else self._begin_stream(train)
        self.loss_curve_ = [*getattr(self, "loss_curve_", [])[1 - _MAX_LOSSES :], loss]
        self.n_iter_ = self.best_iter_ = getattr(self, "n_iter_", 0) + 1
        self.validation_scores_ = None
        return self

    def _begin_stream(self, data):
        """Train a new model and return the loss."""
        self._missing_rows = {}
        trainer, dataset, *_ = self._prepare_training(data, None, stream=True)
        loss = next(trainer.epochs(dataset))
        self._training_state = trainer.state_dict()
        self._store_fitted(trainer)
        return loss

    def _resume_stream(self, data, share):
        """Train the fitted model, its intercept corrected by a share of the mean residual, and return the loss."""
        from skafm._training import conversion

        device = conversion.resolve_device(self.device)
        known = getattr(self, "_training_state", {}).get("device") == device.type  # its state is loaded below
        generator = conversion.make_generator(0, device) if known else self._make_generator(data.group, device)
        features, rows = compact_columns(canonical_rows(self._with_missing_fields(data.X)), data.group)
        dataset = self._to_dataset(data._replace(X=rows), device, normalize=False)
        module = self._resumed_module(data, generator, device, dataset.rows.dtype, features)
        self._freeze(module)
        trainer = self._make_trainer(module, generator, dataset, stream=True)
        if hasattr(self, "_training_state"):
            trainer.load_state_dict(self._training_state, features)
        if share:
            trainer.center_residuals(dataset, share)
        loss = next(trainer.epochs(dataset))
        self._store_rows(trainer, features)
        return loss

    def _store_rows(self, trainer, features):
        """Set the fitted attributes, of the tables only these rows, and the state of the training."""
        parameters = trainer.rescaled_parameters(*self._target_scale, in_place=True)
        missing = {name: rows if rows.flags.writeable else rows.copy() for name, rows in self._missing_rows.items()}
        tables = {name: parameters.pop(name) for name in trainer.model._per_feature}
        n_features = self.n_features_in_ + max(map(len, missing.values()), default=0)
        self._training_state = trainer.update_state_dict(getattr(self, "_training_state", {}), features, n_features)
        for name in tables.keys() & trainer.optimizer.parameters.keys():
            put_rows(
                writable_parameter(self, self._parameter_attributes, name), missing.get(name), features, tables[name]
            )
        self.__dict__.update(attributes_from_parameters(parameters, self._parameter_attributes), _missing_rows=missing)
