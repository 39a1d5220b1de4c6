"""The linear and the interaction term of an FM, fast: their gradients by products with the transposed batch.

Equal to :func:`skafm.nn.functional.linear` and :func:`~skafm.nn.functional.bi_interaction`, the plain versions, in
value and gradients. A batch is a sparse matrix A (B, n_features); ``embedding_bag`` forms A V quickly, but its own
backward pass takes twenty times as long. With the batch's CSC form at hand, ``columns``, the gradient is one more
embedding_bag.

Letters in shapes: B rows, N entries, k factors.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from skafm.nn.functional import row_of_entry, sum_entries

Columns = tuple[Tensor, Tensor | None, Tensor]
"""The entries of a batch, feature after feature: their rows (N,), their values (N,), None where all are 1, and
``starts`` (n_features + 1,), the entries of feature i being ``starts[i]:starts[i + 1]``."""


def columns_of(indices: Tensor, values: Tensor | None, offsets: Tensor, n_features: int) -> Columns:
    """Sort the entries of a batch by feature."""
    order = indices.argsort(stable=True)  # (N,)
    counts = torch.bincount(indices, minlength=n_features)  # (n_features,)
    rows = row_of_entry(offsets, len(order))[order]  # (N,)
    return rows, None if values is None else values[order], pad(counts.cumsum(0), (1, 0))


def linear(
    weight: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor, columns: Columns | None = None
) -> Tensor:
    """Return ``sum_i w_i x_i`` of each row (the linear part of Eq. 1).

    Parameters
    ----------
    weight : Tensor of shape (n_features,)
    indices, values, offsets : Tensor
        The batch, see :mod:`skafm.nn.functional`; ``values`` is None where all are 1.
    columns : tuple of Tensor, optional
        See ``Columns``; found when a gradient needs it and it is not given.

    Returns
    -------
    Tensor of shape (B,)
    """
    result: Tensor = _Linear.apply(weight, indices, values, offsets, columns)  # type: ignore[no-untyped-call]
    return result


def interaction(
    factors: Tensor,
    indices: Tensor,
    values: Tensor | None,
    offsets: Tensor,
    columns: Columns | None = None,
    keep: Tensor | None = None,
) -> Tensor:
    """Return ``sum_{i<j} <v_i, v_j> x_i x_j`` of each row (the interaction term of Eq. 1).

    Parameters
    ----------
    factors : Tensor of shape (n_features, k)
    indices, values, offsets : Tensor
        The batch, see :mod:`skafm.nn.functional`; ``values`` is None where all are 1.
    columns : tuple of Tensor, optional
        See ``Columns``; found when a gradient needs it and it is not given.
    keep : Tensor of shape (B, k), optional
        Dropout: what each pooled factor of each row is multiplied by.

    Returns
    -------
    Tensor of shape (B,)
    """
    result: Tensor = _Interaction.apply(factors, indices, values, offsets, columns, keep)  # type: ignore[no-untyped-call]
    return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor, columns: Columns | None
    ) -> Tensor:
        ctx.save_for_backward(indices, values, offsets)
        ctx.columns, ctx.n_features = columns, len(weight)
        return sum_entries(weight.unsqueeze(1), indices, values, offsets).squeeze(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        indices, values, offsets = ctx.saved_tensors
        columns = ctx.columns or columns_of(indices, values, offsets, ctx.n_features)
        return _sum_column(gradients[0], columns), None, None, None, None


class _Interaction(torch.autograd.Function):
    """Rendle's identity: ``1/2 sum_f keep_f [T_f^2 - (A^2 V^2)_f]`` with ``T = A V``, A^2 and V^2 elementwise.

    With g the gradient of the rows, ``dV = A' (g keep T) - (A^2)' (g keep) * V``. Where nothing is dropped the second
    terms come down to one number for each feature: ``A^2 ||v||^2``, and ``(A^2)' g``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        factors: Tensor,
        indices: Tensor,
        values: Tensor | None,
        offsets: Tensor,
        columns: Columns | None,
        keep: Tensor | None,
    ) -> Tensor:
        total = sum_entries(factors, indices, values, offsets)  # (B, k)
        ctx.save_for_backward(factors, indices, values, offsets, total, keep)
        ctx.columns = columns
        if keep is None:
            norms = _norms(factors).unsqueeze(1)  # (n_features, 1)
            return (_norms(total) - sum_entries(norms, indices, _square(values), offsets).squeeze(1)) / 2
        squares = sum_entries(factors.square(), indices, _square(values), offsets)  # (B, k)
        return torch.addcmul(squares.neg_(), total, total).mul_(keep).sum(1) / 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        factors, indices, values, offsets, total, keep = ctx.saved_tensors
        rows, x, starts = ctx.columns or columns_of(indices, values, offsets, len(factors))
        g = gradients[0].unsqueeze(1)  # (B, 1)
        squared = (rows, _square(x), starts)
        if keep is None:
            g_factors = sum_entries(total * g, rows, x, starts)  # (n_features, k)
            own = _sum_column(gradients[0], squared).unsqueeze(1)  # (n_features, 1)
        else:
            kept = keep * g  # (B, k)
            g_factors = sum_entries(total * kept, rows, x, starts)
            own = sum_entries(kept, *squared)  # (n_features, k)
        return g_factors.addcmul_(factors, own, value=-1), None, None, None, None, None


def _sum_column(values: Tensor, columns: Columns) -> Tensor:
    """Sum ``values_r x_ri`` over the rows r that have feature i: (B,) -> (n_features,)."""
    return sum_entries(values.unsqueeze(1), *columns).squeeze(1)


def _square(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.square()


def _norms(table: Tensor) -> Tensor:
    """Return the squared norm of each row of a table, without a second table."""
    norms: Tensor = torch.linalg.vector_norm(table, dim=1)
    return norms.square()
