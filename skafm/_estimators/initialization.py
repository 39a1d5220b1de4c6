"""The parameters that training begins with: random, or those of a factorization machine."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skafm._estimators.base import FactorizationMachine
from skafm._estimators.fitted_state import parameters_from_attributes
from skafm._estimators.regression_losses import check_same_link
from skafm._estimators.scoring import negative_loss

_FM_PARAMETERS = {"linear.intercept": "intercept_", "linear.weight": "linear_coef_", "factors": "factors_"}
"""Parameters of a factorization machine that other models can begin with, and their attributes."""


class RandomInitialization(FactorizationMachine):
    """Begins with the module's random parameters."""

    def _initialize_parameters(self, module, generator, dataset, validation):
        """Keep the random parameters."""


class FMInitialization(FactorizationMachine):
    """Can begin with the embeddings, w0 and w of a factorization machine, and keep them fixed."""

    def _initialize_parameters(self, module, generator, dataset, validation):
        if self.init == "random":
            if self.freeze_init:
                raise ValueError("freeze_init=True needs initial parameters: set init to 'fm' or to a fitted model.")
            return
        fm = self._pretrain_fm(module, generator, dataset, validation) if self.init == "fm" else self._given_fm(module)
        own = dict(module.named_parameters())
        for name, parameter in fm.named_parameters():
            if name in _FM_PARAMETERS and name in own:
                own[name].detach().copy_(parameter.detach())

    def _freeze(self, module):
        super()._freeze(module)
        for name, parameter in module.named_parameters():
            if self.freeze_init and name in _FM_PARAMETERS:
                parameter.requires_grad_(False)

    def _pretrain_fm(self, module, generator, dataset, validation):
        """Return a factorization machine trained on the same rows."""
        from skafm._training.conversion import intercept_of
        from skafm.nn import FM

        (n_features, n_factors), n_outputs = module.factors.shape, _count_outputs(module)
        like = {"device": module.factors.device, "dtype": module.factors.dtype}
        fm = FM(n_features, n_factors, n_outputs, dropout=self.dropout, generator=generator, **like)
        fm.linear.intercept.detach().copy_(intercept_of(module)[1].detach())
        if hasattr(module, "linear"):
            fm.linear.weight.detach().copy_(module.linear.weight.detach())
        score = None if validation is None else negative_loss(validation)
        self._train(self._make_trainer(fm, generator, dataset), dataset, score, validation, from_linear=True)
        return fm

    def _given_fm(self, module):
        """Return ``init``, a fitted factorization machine, in the units of training."""
        from skafm._training.conversion import intercept_of, load_parameters
        from skafm.nn import FM

        check_is_fitted(self.init)
        expected, given = tuple(module.factors.shape), getattr(getattr(self.init, "factors_", None), "shape", None)
        if given != expected:
            raise ValueError(
                f"init must be a factorization machine with factors_ of shape (n_features, n_factors) = {expected}, "
                f"but {self.init} has {given}: fit it on the same columns and with the same n_factors."
            )
        theirs, own = (getattr(model, "classes_", np.empty(0)) for model in (self.init, self))
        if not np.array_equal(theirs, own):
            raise ValueError("init must have been fitted on the same target, the same classes or a regression target.")
        check_same_link(self.init, self)
        outputs, given = tuple(intercept_of(module)[1].shape), np.shape(self.init.intercept_)
        if given != outputs:
            raise ValueError(
                f"init must have been fitted on the same targets: expected intercept_ of shape {outputs}, got {given}."
            )
        n_features, n_factors = expected
        fm = FM(n_features, n_factors, _count_outputs(module), device="meta", dtype=module.factors.dtype)
        names = {name: _FM_PARAMETERS.get(name, "projection_") for name, _ in fm.named_parameters()}
        shift, scale = self._target_scale
        parameters = parameters_from_attributes(self.init, names)
        load_parameters(fm, parameters, -shift / scale, 1 / scale, module.factors.device)
        return fm


def _count_outputs(module):
    """Return the outputs of a module with a projection, or None for a single one."""
    return None if module.projection.ndim == 1 else len(module.projection)


def typical_pairs(dataset):
    """Return the weighted harmonic mean of the number of pairs of the rows that have any.

    With uniform attention a row of P pairs starts at p / P times the sum S of its pairs' terms, the FM's. Independent
    terms of mean zero give S a variance proportional to P, and this p then minimizes the mean of (p S / P - S)^2.
    """
    lengths = dataset.rows.indptr.diff().double()
    n_pairs = lengths * (lengths - 1) / 2  # (n_samples,)
    has_pairs = n_pairs > 0
    weight = n_pairs.new_ones(n_pairs.shape) if dataset.weight is None else dataset.weight.double()
    total = dataset.group.all_reduce_sum
    n, shares = total(float(weight[has_pairs].sum())), total(float((weight / n_pairs)[has_pairs].sum()))
    return n / shares if shares else 1.0
