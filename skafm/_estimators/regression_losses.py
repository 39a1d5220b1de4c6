"""The losses of regressors: what each asks of the targets. The formulas are in ``skafm/_training/losses.py``.

Link, range, best constant and deviance are those of scikit-learn's own losses.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from skafm._estimators.sklearn_compat import losses as reference
from skafm._estimators.target_units import LogitUnits, LogUnits, RobustUnits, StandardUnits, TargetUnits

_FAR = 2.0
"""Targets farther from the constant, in the units of training, count as this far in the unit of a loss."""


class LossKind(NamedTuple):
    """A loss by its name."""

    function: str
    """Its name in ``skafm._training.losses.LOSSES``."""
    reference: Callable
    """scikit-learn's loss."""
    units: TargetUnits
    needs: str = "any number"
    """What a target must be."""
    options: Mapping[str, float] = MappingProxyType({})
    """Of the function and of scikit-learn's loss."""


_ROBUST, _LOG = RobustUnits(), LogUnits()
KINDS = {
    "squared_error": LossKind("squared_error", reference.HalfSquaredError, StandardUnits()),
    "absolute_error": LossKind("absolute_error", reference.AbsoluteError, _ROBUST),
    "huber": LossKind("huber", reference.HuberLoss, _ROBUST, options={"delta": 1.0}),
    "quantile": LossKind("quantile", reference.PinballLoss, _ROBUST),
    "poisson": LossKind("poisson", reference.HalfPoissonLoss, _LOG, "at least 0"),
    "gamma": LossKind("gamma", reference.HalfGammaLoss, _LOG, "above 0"),
    "tweedie": LossKind("tweedie", reference.HalfTweedieLoss, _LOG, "at least 0", {"power": 1.5}),
    "log_loss": LossKind("rate_log_loss", reference.HalfBinomialLoss, LogitUnits(), "rates from 0 to 1"),
}
"""By the constructor parameter ``loss``."""


class RegressionLoss:
    """A loss with its options; targets and raw scores are those of one output, in the units of training."""

    def __init__(self, name: str, **options: float) -> None:
        self.name, self.kind = name, KINDS[name]
        self.options: dict[str, Any] = dict(self.kind.options) | options
        self.reference = self.kind.reference(**self.options)

    @property
    def units(self) -> TargetUnits:
        """The units of training."""
        return self.kind.units

    @property
    def link(self) -> str:
        """Function of a prediction that is the raw score: "identity", "log" or "logit"."""
        if self.reference.interval_y_pred.high == 1:
            return "logit"
        return "log" if self.reference.interval_y_pred.low == 0 else "identity"

    @property
    def level(self) -> float:
        """Of a loss in the units of y, the quantile that it is about."""
        level: float = self.options.get("quantile", 0.5)
        return level

    def predict(self, raw):
        """Return predictions from raw scores in the units of y."""
        if self.link == "identity":
            return raw
        with np.errstate(over="ignore"):
            return self.reference.link.inverse(raw)

    def check(self, y):
        """Raise a ValueError if a target is out of the loss's range."""
        if not self.reference.in_y_true_range(y):
            other = "loss='poisson', which takes 0, or " if self.name == "gamma" and y.min() == 0 else ""
            raise ValueError(
                f"With loss={self.name!r} y must be {self.kind.needs}, but it has values from {y.min()} to {y.max()}: "
                f"correct or leave out these rows, or use {other}loss='squared_error', which takes any number."
            )

    def constant(self, y, weight):
        """Return the best constant raw score of targets (n,); where it is infinite, as if half a row were different."""
        if self.link == "identity":
            return self.reference.fit_intercept_only(y, weight)
        mean, half = np.average(y, weights=weight), 0.5 / len(y)
        if self.link == "log":
            return np.log(mean if mean > 0 else half)
        return self.reference.link.link(np.clip(mean, half, 1 - half))

    def deviance(self, y, raw, weight):
        """Return the weighted mean loss of targets (n,), at least 0, of raw scores (n,) or ()."""
        y, raw = (np.ascontiguousarray(np.broadcast_to(each, y.shape), np.float64) for each in (y, raw))
        losses = self.reference.loss(y, raw) + self.reference.constant_to_optimal_zero(y)
        return np.average(losses, weights=weight)

    def unit(self, y, weight):
        """Return the loss of the best constant, outliers aside, by which the losses of targets (n,) are divided."""
        constant = self.constant(y, weight)
        near = np.clip(y, constant - _FAR, constant + _FAR) if self.link == "identity" else y
        loss = self.deviance(near, constant, weight)
        return loss if loss > 0 else 1.0

    def d2(self, y, raw, weight):
        """Return the share of the loss of the best constant that raw scores save; of constant targets 1 or 0."""
        loss, worst = (self.deviance(y, each, weight) for each in (raw, self.constant(y, weight)))
        if y.min() == y.max() or worst <= 0:
            return float(loss <= 0)
        return 1 - loss / worst


def fitted_loss(model):
    """Return the loss that a regressor was fitted with."""
    name, options = model._fitted_loss
    return RegressionLoss(name, **options)


def check_same_link(init, model):
    """Raise a ValueError if the raw scores of two fitted regressors are on different scales."""
    if not (hasattr(init, "_fitted_loss") and hasattr(model, "_fitted_loss")):
        return
    given, own = fitted_loss(init), fitted_loss(model)
    if given.link != own.link:
        raise ValueError(
            f"init must have been fitted with a loss of the same link: loss={given.name!r} has the link {given.link}, "
            f"but loss={own.name!r} has the link {own.link}."
        )
