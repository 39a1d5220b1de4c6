"""The formulas on rows of one length, whose per-feature parameters are given entry by entry.

A table (n_features, k) is then one of entries, (B, m, k): sums over the entries of a row are sums over an axis, no size
depends on the data, and autograd has the gradients. So a GPU waits for nothing. Equal to the ragged formulas.
"""

from torch import Tensor

from skafm.nn._linear import SparseLinear


def multiply(entries: Tensor, values: Tensor | None) -> Tensor:
    """Return entries (B, m, ...) times their values (B, m), which are 1 if None."""
    return entries if values is None else entries * values.view(*values.shape, *[1] * (entries.ndim - 2))


def linear(part: SparseLinear, values: Tensor | None) -> Tensor:
    """Return ``w0 + sum_i w_i x_i`` of each row, (B,) or (B, C), where w is that of each entry, (B, m) or (B, m, C)."""
    return part.intercept + multiply(part.weight, values).sum(1)


def bi_interaction(entries: Tensor) -> Tensor:
    """Return ``sum_{i<j} z_i * z_j`` (B, k) of entries z_i = v_i x_i, (B, m, k): Lemma 3.1 of Rendle (2010)."""
    return (entries.sum(1).square() - entries.square().sum(1)) / 2
