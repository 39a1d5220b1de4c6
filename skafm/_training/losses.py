"""Pointwise losses of the raw score. A new loss is one function here and a line in ``LOSSES``.

A function takes raw scores and targets, (B,) or (B, C), and returns the loss of each number, in the same shape. A loss
of several raw scores together, as that of classes, returns (B,).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]
_STEEP = 40.0
"""From this raw score on a loss takes the tangent of exp, which would soon leave the range of float32."""


def squared_error(raw: Tensor, target: Tensor) -> Tensor:
    """Return ``(raw - target)^2`` (one term of Eq. 7)."""
    return (raw - target).square()


def absolute_error(raw: Tensor, target: Tensor) -> Tensor:
    """Return ``|raw - target|``."""
    return (raw - target).abs()


def huber(raw: Tensor, target: Tensor, *, delta: float) -> Tensor:
    """Return ``r^2 / 2`` of ``r = |raw - target|`` up to ``delta``, ``delta (r - delta / 2)`` beyond (Huber, 1964)."""
    return functional.huber_loss(raw, target, reduction="none", delta=delta)


def quantile(raw: Tensor, target: Tensor, *, quantile: float) -> Tensor:
    """Return ``quantile e`` of ``e = target - raw`` above 0, ``(quantile - 1) e`` below (Koenker and Bassett, 1978)."""
    error = target - raw
    return torch.where(error > 0, quantile * error, (quantile - 1) * error)


def poisson(raw: Tensor, target: Tensor) -> Tensor:
    """Return half the Poisson deviance, ``exp(raw) - y raw + y log y - y`` for the target y."""
    return _exp(raw) - target * raw + torch.xlogy(target, target) - target


def gamma(raw: Tensor, target: Tensor) -> Tensor:
    """Return half the gamma deviance, ``raw + y exp(-raw) - log y - 1`` for the target y."""
    return raw + target * _exp(-raw) - target.log() - 1


def tweedie(raw: Tensor, target: Tensor, *, power: float) -> Tensor:
    """Return half the Tweedie deviance of a power p between 1 and 2.

    ``exp((2 - p) raw) / (2 - p) - y exp((1 - p) raw) / (1 - p) + y^(2 - p) / ((1 - p) (2 - p))`` for the target y.
    """
    a, b = 2 - power, 1 - power
    return _exp(a * raw) / a - target * _exp(b * raw) / b + target.pow(a) / (a * b)


def rate_log_loss(raw: Tensor, target: Tensor) -> Tensor:
    """Return half the binomial deviance, ``y log(y / q) + (1 - y) log((1 - y) / (1 - q))``.

    The target y is a rate from 0 to 1, and ``q = 1 / (1 + exp(-raw))``.
    """
    entropy = torch.xlogy(target, target) + torch.xlogy(1 - target, 1 - target)
    return functional.binary_cross_entropy_with_logits(raw, target, reduction="none") + entropy


def log_loss(raw: Tensor, target: Tensor) -> Tensor:
    """Return ``-log P(target)`` of each row: (B,).

    With one output the target is 0 or 1 and ``P(1) = 1 / (1 + exp(-raw))``; with C outputs it is a class number and P
    the softmax of the raw scores.
    """
    if raw.ndim == 1:
        return functional.binary_cross_entropy_with_logits(raw, target, reduction="none")
    return functional.cross_entropy(raw, target.long(), reduction="none")


def _exp(raw: Tensor) -> Tensor:
    """Return ``exp(raw)``, from ``_STEEP`` on its tangent."""
    return raw.clamp(max=_STEEP).exp() * (1 + (raw - _STEEP).clamp(min=0))


LOSSES: dict[str, Callable[..., Tensor]] = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
    "quantile": quantile,
    "poisson": poisson,
    "gamma": gamma,
    "tweedie": tweedie,
    "rate_log_loss": rate_log_loss,
    "log_loss": log_loss,
}
"""By scikit-learn's names; it has one name for the log loss of rates and of classes."""


def make_loss(name: str, unit: ArrayLike | None = None, like: Tensor | None = None, **options: Any) -> Loss:
    """Return the loss of each row (B,), which is averaged over several outputs.

    Parameters
    ----------
    name : str
        Key of ``LOSSES``.
    unit : array-like of shape () or (C,), optional
        What the losses of each output are divided by.
    like : Tensor, optional
        Has the precision and the device of the raw scores; needed with ``unit``.
    **options
        Of the loss.
    """
    function = partial(LOSSES[name], **options) if options else LOSSES[name]
    factor = None if unit is None or like is None else 1 / torch.as_tensor(unit, dtype=like.dtype, device=like.device)

    def loss(raw: Tensor, target: Tensor) -> Tensor:
        losses: Tensor = function(raw, target) if factor is None else function(raw, target) * factor
        return losses if losses.ndim == 1 else losses.mean(1)  # (B,)

    return loss


class Objective(NamedTuple):
    """Loss and L2 penalties: the function that training minimizes.

    The mean over the rows s of ``weight_s * (loss_s + sum_{i in s} penalty_i * ||parameter_i||^2)``, summed over the
    per-feature parameters, plus ``penalty * ||parameter||^2`` for each other one. So a feature is penalized in each row
    that has it, as in libFM, and a batch needs only its own features.
    """

    loss: Loss
    """Loss of each row, of raw scores (B,) or (B, C) and targets: (B,)."""
    penalties: Mapping[str, float | Tensor]
    """Strength by name of the parameter: a number above zero or, of per-feature parameters, (n_features,)."""
