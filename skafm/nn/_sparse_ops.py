"""Sums over the entries of ragged rows, fast: their gradients are sums over the transposed batch.

Equal to the reference implementations in :mod:`skafm.nn.functional` in value and gradients. A batch is a sparse matrix
A (B, n_features); ``embedding_bag`` forms A V quickly, but its own backward pass takes twenty times as long. Given the
batch in CSC form, the gradient is one more ``embedding_bag``.

Letters in shapes: B rows, N entries, k factors.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from skafm.nn._base import TransposedBatch
from skafm.nn.functional import row_of_entry, sum_entries


def transpose(indices: Tensor, values: Tensor | None, offsets: Tensor, n_features: int) -> TransposedBatch:
    """Sort the entries of a batch by feature."""
    order = indices.argsort(stable=True)  # (N,)
    counts = torch.bincount(indices, minlength=n_features)  # (n_features,)
    rows = row_of_entry(offsets, len(order))[order]  # (N,)
    return TransposedBatch(rows, None if values is None else values[order], pad(counts.cumsum(0), (1, 0)))


def linear(
    weight: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
) -> Tensor:
    """Return ``sum_i w_i x_i`` of each row (the linear part of Eq. 1).

    Parameters
    ----------
    weight : Tensor of shape (n_features,) or (n_features, C)
    indices, values, offsets : Tensor
        The batch, see :mod:`skafm.nn.functional`; ``values`` is None if all are 1.
    transposed : TransposedBatch, optional
        The same batch; by default computed when a gradient needs it.

    Returns
    -------
    Tensor of shape (B,) or (B, C)
    """
    result: Tensor = _Linear.apply(weight, indices, values, offsets, transposed)  # type: ignore[no-untyped-call]
    return result


def power_sum(
    table: Tensor,
    power: int,
    indices: Tensor,
    values: Tensor | None,
    offsets: Tensor,
    transposed: TransposedBatch | None = None,
) -> Tensor:
    """Return ``sum_i (table_i x_i)^power`` of each row, elementwise.

    Parameters
    ----------
    table : Tensor of shape (n_features, k)
    power : int
    indices, values, offsets, transposed : Tensor
        As for :func:`linear`.

    Returns
    -------
    Tensor of shape (B, k)
    """
    table, indices = _select_rows(table, indices)
    x = None if values is None else values.pow(power)
    if transposed is not None and transposed.values is not None:
        transposed = transposed._replace(values=transposed.values.pow(power))
    return linear(table.pow(power), indices, x, offsets, transposed)


def bi_interaction(
    factors: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
) -> Tensor:
    """Return ``sum_{i<j} (v_i * v_j) x_i x_j`` of each row, factor by factor.

    Parameters
    ----------
    factors : Tensor of shape (n_features, k)
    indices, values, offsets, transposed : Tensor
        As for :func:`linear`.

    Returns
    -------
    Tensor of shape (B, k)
    """
    result: Tensor = _BiInteraction.apply(factors, indices, values, offsets, transposed)  # type: ignore[no-untyped-call]
    return result


def interaction(
    factors: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
) -> Tensor:
    """Return ``sum_{i<j} <v_i, v_j> x_i x_j`` of each row (the interaction term of Eq. 1).

    Parameters
    ----------
    factors : Tensor of shape (n_features, k)
    indices, values, offsets, transposed : Tensor
        As for :func:`linear`.

    Returns
    -------
    Tensor of shape (B,)
    """
    result: Tensor = _Interaction.apply(factors, indices, values, offsets, transposed)  # type: ignore[no-untyped-call]
    return result


def field_sum(
    table: Tensor,
    fields: Tensor,
    n_fields: int,
    indices: Tensor,
    values: Tensor | None,
    offsets: Tensor,
    transposed: TransposedBatch | None = None,
) -> Tensor:
    """Return ``sum_{i in f} table_i x_i`` of each row and field f: a row's embeddings by field.

    Parameters
    ----------
    table : Tensor of shape (n_features, k)
    fields : Tensor of shape (n_features,)
        The field of each feature, from 0 to ``n_fields - 1``.
    n_fields : int
    indices, values, offsets, transposed : Tensor
        As for :func:`linear`.

    Returns
    -------
    Tensor of shape (B, n_fields, k)
    """
    cell = row_of_entry(offsets, len(indices)) * n_fields + fields.index_select(0, indices)  # (N,)
    n_cells = (len(offsets) - 1) * n_fields
    order = cell.argsort(stable=True)  # (N,)
    starts = pad(torch.bincount(cell, minlength=n_cells).cumsum(0), (1, 0))  # (B n_fields + 1,)
    if transposed is not None:  # its rows become cells, too
        rows, x, ends = transposed
        field = fields.repeat_interleave(ends.diff(), output_size=len(rows))  # (N,)
        transposed = TransposedBatch(rows * n_fields + field, x, ends.long())
    values = None if values is None else values[order]
    return linear(table, indices[order].long(), values, starts, transposed).view(-1, n_fields, table.shape[1])


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        indices: Tensor,
        values: Tensor | None,
        offsets: Tensor,
        transposed: TransposedBatch | None,
    ) -> Tensor:
        ctx.save_for_backward(indices, values, offsets)
        ctx.transposed, ctx.n_features = transposed, len(weight)
        return _sum(weight, indices, values, offsets)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        indices, values, offsets = ctx.saved_tensors
        transposed = ctx.transposed or transpose(indices, values, offsets, ctx.n_features)
        return _sum(gradients[0], *transposed), None, None, None, None


class _BiInteraction(torch.autograd.Function):
    """Rendle's identity: ``1/2 (T^2 - A^2 V^2)`` with ``T = A V``, squares elementwise.

    With g (B, k) the gradient of the rows, ``dV = A' (g T) - (A^2)' g * V``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        factors: Tensor,
        indices: Tensor,
        values: Tensor | None,
        offsets: Tensor,
        transposed: TransposedBatch | None,
    ) -> Tensor:
        total = _sum(factors, indices, values, offsets)  # (B, k)
        ctx.save_for_backward(factors, indices, values, offsets, total)
        ctx.transposed = transposed
        factors, indices = _select_rows(factors, indices)
        squares = sum_entries(factors.square(), indices, _square(values), offsets)  # (B, k)
        return torch.addcmul(squares.neg_(), total, total).mul_(0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        factors, indices, values, offsets, total = ctx.saved_tensors
        rows, x, starts = ctx.transposed or transpose(indices, values, offsets, len(factors))
        g_factors = sum_entries(total * gradients[0], rows, x, starts)  # (n_features, k)
        own = sum_entries(gradients[0], rows, _square(x), starts)  # (n_features, k)
        return g_factors.addcmul_(factors, own, value=-1), None, None, None, None


class _Interaction(torch.autograd.Function):
    """The same summed over the factors: ``A^2 V^2`` then needs one number for each feature.

    ``1/2 (||T||^2 - A^2 ||v||^2)``, and with g (B,) the gradient of the rows ``dV = A' (g T) - (A^2)' g * V``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        factors: Tensor,
        indices: Tensor,
        values: Tensor | None,
        offsets: Tensor,
        transposed: TransposedBatch | None,
    ) -> Tensor:
        total = _sum(factors, indices, values, offsets)  # (B, k)
        ctx.save_for_backward(factors, indices, values, offsets, total)
        ctx.transposed = transposed
        factors, indices = _select_rows(factors, indices)
        return (_norms(total) - _sum(_norms(factors), indices, _square(values), offsets)) / 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        factors, indices, values, offsets, total = ctx.saved_tensors
        rows, x, starts = ctx.transposed or transpose(indices, values, offsets, len(factors))
        g_factors = sum_entries(total * gradients[0].unsqueeze(1), rows, x, starts)  # (n_features, k)
        own = _sum(gradients[0], rows, _square(x), starts).unsqueeze(1)  # (n_features, 1)
        return g_factors.addcmul_(factors, own, value=-1), None, None, None, None


def _select_rows(table: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of a table that the entries need, if they are few, and the entries' indices among them."""
    if len(indices) >= len(table):
        return table, indices
    return table.index_select(0, indices), torch.arange(len(indices), dtype=indices.dtype, device=indices.device)


def _sum(table: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor) -> Tensor:
    """Sum the entries of a table or vector; detached, so that embedding_bag saves nothing for its own backward pass."""
    table = table.detach()
    if table.ndim > 1:
        return sum_entries(table, indices, values, offsets)
    return sum_entries(table.unsqueeze(1), indices, values, offsets).squeeze(1)


def _square(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.square()


def _norms(table: Tensor) -> Tensor:
    """Return the squared norm of each row of a table, without a temporary table."""
    norms: Tensor = torch.linalg.vector_norm(table, dim=1)
    return norms.square()
