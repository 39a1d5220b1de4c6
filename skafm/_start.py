"""Where a model's training begins: at random, or from a factorization machine."""

import numpy as np
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from skafm._base import FactorizationMachine
from skafm._exchange import CURRENT
from skafm._learnt import parameters_of

START = {"init": [StrOptions({"random", "fm"}), HasMethods(["fit", "predict"])], "freeze_init": ["boolean"]}
"""Constructor parameters of ``FMStart``, and what they may be."""

_SHARED = {"linear.intercept": "intercept_", "linear.weight": "coef_", "factors": "factors_"}
"""A machine's parameters and attributes that other models can begin with."""


class RandomStart(FactorizationMachine):
    """Begins as the module draws itself."""

    def _lead(self, module, generator, examples, held):
        """Leave the random start as it is."""

    def _hold(self, module):
        """Train everything."""


class FMStart(FactorizationMachine):
    """May begin with the embeddings, and w0 and w, of a factorization machine, and keep them as they are."""

    def _lead(self, module, generator, examples, held):
        if self.init == "random":
            if self.freeze_init:
                raise ValueError("freeze_init=True keeps what init gives: set init to 'fm' or to a fitted model.")
            return
        fm = self._pretrain(module, generator, examples, held) if self.init == "fm" else self._given(module)
        mine = dict(module.named_parameters())
        for name, parameter in fm.named_parameters():
            if name in _SHARED and name in mine:
                mine[name].detach().copy_(parameter.detach())

    def _hold(self, module):
        for name, parameter in module.named_parameters():
            if self.freeze_init and name in _SHARED:
                parameter.requires_grad_(False)

    def _pretrain(self, module, generator, examples, held):
        """Return a factorization machine trained on the same rows."""
        from skafm import _engine
        from skafm.nn import FM

        (n_features, n_factors), n_outputs = module.factors.shape, _n_outputs(module)
        like = {"device": module.factors.device, "dtype": module.factors.dtype}
        fm = FM(n_features, n_factors, n_outputs, dropout=self.dropout, generator=generator, **like)
        fm.linear.intercept.detach().copy_(_engine.intercept_of(module).detach())
        monitor = None if held is None else self._loss_monitor(held)
        self._run(self._training(fm, generator, examples), examples, monitor)
        return fm

    def _given(self, module):
        """Return ``init``, a fitted factorization machine, in the units of training."""
        from skafm import _engine
        from skafm.nn import FM

        check_is_fitted(self.init)
        expected, came = tuple(module.factors.shape), getattr(getattr(self.init, "factors_", None), "shape", None)
        if came != expected:
            raise ValueError(
                f"init must be a factorization machine with factors_ of shape (n_features, n_factors) = {expected}, "
                f"but {self.init} has {came}: fit it on the same columns and with the same n_factors."
            )
        theirs, mine = (getattr(model, "classes_", np.empty(0)) for model in (self.init, self))
        if not np.array_equal(theirs, mine):
            raise ValueError(
                "init must predict what is to be learnt, the same classes or numbers: fit it on the same y."
            )
        outputs, given = tuple(_engine.intercept_of(module).shape), np.shape(self.init.intercept_)
        if given != outputs:
            raise ValueError(
                f"init must predict what is to be learnt, intercept_ of shape {outputs}, but has {given}: "
                "fit it on the same targets."
            )
        n_features, n_factors = expected
        fm = FM(n_features, n_factors, _n_outputs(module), device="meta", dtype=module.factors.dtype)
        wanted = {name: _SHARED.get(name, "projection_") for name, _ in fm.named_parameters()}
        shift, scale = self._units
        _engine.fill(fm, parameters_of(self.init, wanted), -shift / scale, 1 / scale, module.factors.device)
        return fm


def _n_outputs(module):
    """Return the outputs of a module that ends in a projection, or None for a single one."""
    return None if module.projection.ndim == 1 else len(module.projection)


def typical_pairs(examples):
    """Return the weighted harmonic mean of the rows' number of pairs, of those that have any.

    With uniform attention a row of P pairs starts at p / P times the sum S of its pairs' terms, the FM's. Independent
    terms of mean zero give S a variance that grows as P, and this p then makes the mean of (p S / P - S)^2 smallest.
    """
    lengths = examples.rows.indptr.diff().double()
    n_pairs = lengths * (lengths - 1) / 2  # (n_samples,)
    paired = n_pairs > 0
    weight = n_pairs.new_ones(n_pairs.shape) if examples.weight is None else examples.weight.double()
    total = CURRENT.get().total
    n, shares = total(float(weight[paired].sum())), total(float((weight / n_pairs)[paired].sum()))
    return n / shares if shares else 1.0
