"""Pointwise losses of the raw score. A new loss is one function here and a line in ``LOSSES``."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional


def squared_error(raw: Tensor, target: Tensor) -> Tensor:
    """Return ``(raw - target)^2`` of each row (one term of Eq. 7), averaged over several outputs: (B,)."""
    error = (raw - target).square()
    return error if error.ndim == 1 else error.mean(1)


def log_loss(raw: Tensor, target: Tensor) -> Tensor:
    """Return ``-log P(target)`` of each row: (B,).

    With one output the target is 0 or 1 and ``P(1) = 1 / (1 + exp(-raw))``; with C outputs it is a class number and P
    the softmax of the raw scores.
    """
    if raw.ndim == 1:
        return functional.binary_cross_entropy_with_logits(raw, target, reduction="none")
    return functional.cross_entropy(raw, target.long(), reduction="none")


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"squared_error": squared_error, "log_loss": log_loss}
"""By scikit-learn's names."""


class Objective(NamedTuple):
    """Loss and L2 penalties: the function that training minimizes.

    The mean over the rows s of ``weight_s * (loss_s + sum_{i in s} penalty_i * ||parameter_i||^2)``, summed over the
    per-feature parameters, plus ``penalty * ||parameter||^2`` for each other one. So a feature is penalized in each row
    that has it, as in libFM, and a batch needs only its own features.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    """Pointwise loss of raw score (B,) and target (B,): (B,)."""
    penalties: Mapping[str, float | Tensor]
    """Strength by name of the parameter: a number above zero or, of per-feature parameters, (n_features,)."""
