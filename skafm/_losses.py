"""Pointwise losses of the raw score."""

from torch import Tensor


def squared_error(raw: Tensor, target: Tensor) -> Tensor:
    """Return ``(raw - target)^2`` of each row (one term of Eq. 7): (B,), (B,) -> (B,)."""
    return (raw - target).square()
