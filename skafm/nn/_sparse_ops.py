"""Fast sums over the entries of ragged batches, whose gradients are sums over the transposed batch.

Equal to the reference implementations in :mod:`skafm.nn.functional` in value and gradients. A batch is a sparse matrix
A (B, n_features); ``embedding_bag`` computes A V fast, but its own backward pass takes twenty times as long. With the
batch in CSC form, the gradient is one more ``embedding_bag``.

Letters in shapes: B rows, N entries, k factors.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from skafm.nn._base import TransposedBatch
from skafm.nn.functional import row_of_entry, sum_entries

_MAX_COLUMNS = 8
"""With more columns, embedding_bag sums fast enough on CUDA."""


def transpose(indices: Tensor, values: Tensor | None, offsets: Tensor, n_features: int) -> TransposedBatch:
    """Return a batch in CSC form, its entries sorted by feature."""
    order = indices.argsort(stable=True)  # (N,)
    counts = torch.bincount(indices, minlength=n_features)  # (n_features,)
    rows = row_of_entry(offsets, len(order))[order]  # (N,)
    return TransposedBatch(rows, None if values is None else values[order], pad(counts.cumsum(0), (1, 0)))


def linear(
    weight: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
) -> Tensor:
    """Return ``sum_i w_i x_i`` of each row, the linear part of a factorization machine.

    Parameters
    ----------
    weight : Tensor of shape (n_features,) or (n_features, C)
    indices, values, offsets : Tensor
        The batch, see :mod:`skafm.nn.functional`; ``values`` is None if all are 1.
    transposed : TransposedBatch, optional
        The same batch in CSC form; by default computed if a gradient needs it.

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
    table, indices = select_rows(table, indices)
    powers = None if values is None else values.pow(power)  # (N,)
    if transposed is not None and transposed.values is not None:
        transposed = transposed._replace(values=transposed.values.pow(power))
    return linear(table.pow(power), indices, powers, offsets, transposed)


def bi_interaction(
    factors: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
) -> Tensor:
    """Return ``sum_{i<j} (v_i * v_j) x_i x_j`` of each row, where ``*`` is elementwise.

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
    return zero_short_rows(result, 2, values, offsets)


def interaction(
    factors: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor, transposed: TransposedBatch | None = None
) -> Tensor:
    """Return ``sum_{i<j} <v_i, v_j> x_i x_j`` of each row, the interaction term of a factorization machine.

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
    return zero_short_rows(result, 2, values, offsets)


def field_sum(
    table: Tensor,
    fields: Tensor,
    n_fields: int,
    indices: Tensor,
    values: Tensor | None,
    offsets: Tensor,
    transposed: TransposedBatch | None = None,
) -> Tensor:
    """Return ``sum_{i in f} table_i x_i`` of each row and field f.

    Parameters
    ----------
    table : Tensor of shape (n_features, k)
    fields : Tensor of shape (n_features,)
        Field of each feature, from 0 to ``n_fields - 1``.
    n_fields : int
    indices, values, offsets, transposed : Tensor
        As for :func:`linear`.

    Returns
    -------
    Tensor of shape (B, n_fields, k)
    """
    cell = row_of_entry(offsets, len(indices)) * n_fields + fields.index_select(0, indices)  # (N,), row and field
    n_cells = (len(offsets) - 1) * n_fields
    order = cell.argsort(stable=True)  # (N,)
    cell_offsets = pad(torch.bincount(cell, minlength=n_cells).cumsum(0), (1, 0))  # (B n_fields + 1,)
    if transposed is not None:  # with cells in place of rows
        rows, x, feature_offsets = transposed
        field = fields.repeat_interleave(feature_offsets.diff(), output_size=len(rows))  # (N,)
        transposed = TransposedBatch(rows * n_fields + field, x, feature_offsets.long())
    values = None if values is None else values[order]  # (N,)
    return linear(table, indices[order].long(), values, cell_offsets, transposed).view(-1, n_fields, table.shape[1])


def zero_short_rows(result: Tensor, length: int, values: Tensor | None, offsets: Tensor) -> Tensor:
    """Return results (B, ...) with 0 for rows of fewer than ``length`` entries, in place of rounding errors.

    If all values are 1 they are 0 already: v v and v^2 are the same number, but (v x) (v x) and v^2 x^2 are not.
    """
    if values is None:
        return result
    short = offsets.diff() < length  # (B,)
    return result.masked_fill(short.view(-1, *[1] * (result.ndim - 1)), 0.0)


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
        return sum_by_feature(gradients[0], transposed), None, None, None, None


class _BiInteraction(torch.autograd.Function):
    """Rendle's identity ``1/2 (T^2 - A^2 V^2)`` with ``T = A V``, where squares and ``*`` are elementwise.

    With the gradient g (B, k) of the result, ``dV = A' (g * T) - ((A^2)' g) * V``.
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
        factors, indices = select_rows(factors, indices)
        squares = sum_entries(factors.square(), indices, _square(values), offsets)  # (B, k)
        return torch.addcmul(squares.neg_(), total, total).mul_(0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        factors, indices, values, offsets, total = ctx.saved_tensors
        rows, x, feature_offsets = ctx.transposed or transpose(indices, values, offsets, len(factors))
        g_factors = sum_entries(total * gradients[0], rows, x, feature_offsets)  # (n_features, k)
        g_squares = sum_entries(gradients[0], rows, _square(x), feature_offsets)  # (n_features, k)
        return g_factors.addcmul_(factors, g_squares, value=-1), None, None, None, None


class _Interaction(torch.autograd.Function):
    """Rendle's identity summed over the factors, so that ``A^2 V^2`` needs only one number for each feature.

    It is ``1/2 (||T||^2 - A^2 ||v||^2)``. With the gradient g (B,) of the result, ``dV = A' (g * T) - ((A^2)' g) * V``.
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
        factors, indices = select_rows(factors, indices)
        return (_squared_norms(total) - _sum(_squared_norms(factors), indices, _square(values), offsets)) / 2  # (B,)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        factors, indices, values, offsets, total = ctx.saved_tensors
        transposed = ctx.transposed or transpose(indices, values, offsets, len(factors))
        g_factors = sum_entries(total * gradients[0].unsqueeze(1), *transposed)  # (n_features, k)
        squared = transposed._replace(values=_square(transposed.values))
        g_squares = sum_by_feature(gradients[0], squared).unsqueeze(1)  # (n_features, 1)
        return g_factors.addcmul_(factors, g_squares, value=-1), None, None, None, None


def select_rows(table: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of a table that few entries use, and the entries' indices among these; else the whole table."""
    if len(indices) >= len(table):
        return table, indices
    return table.index_select(0, indices), torch.arange(len(indices), dtype=indices.dtype, device=indices.device)


def _sum(table: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor) -> Tensor:
    """Sum a table or vector over the entries; detached, so that embedding_bag saves nothing for its own backward."""
    table = table.detach()
    if table.ndim > 1:
        return sum_entries(table, indices, values, offsets)
    return sum_entries(table.unsqueeze(1), indices, values, offsets).squeeze(1)


def sum_by_feature(table: Tensor, transposed: TransposedBatch) -> Tensor:
    """Sum a table or vector over the entries of each feature, of which some have very many.

    On CUDA embedding_bag takes one entry of a bag after another, for all columns at once: with few columns, and a
    feature that half of the rows have, that is a hundred times as slow as to sum each column by segments.
    """
    if table.device.type != "cuda" or table.numel() > _MAX_COLUMNS * len(table):
        return _sum(table, *transposed)
    columns = table.detach().unsqueeze(-1).flatten(1).unbind(1)
    return torch.stack([sum_segments(each, *transposed) for each in columns], 1).view(-1, *table.shape[1:])


def sum_segments(vector: Tensor, rows: Tensor, values: Tensor | None, offsets: Tensor) -> Tensor:
    """Return the sum (n_features,) of a vector (B,) over the entries of each feature, in parallel within a feature."""
    terms = vector.index_select(0, rows)  # (N,)
    terms = terms if values is None else terms * values
    return torch.segment_reduce(terms, "sum", offsets=offsets, unsafe=True)  # without a check, which would wait


def _square(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.square()


def _squared_norms(table: Tensor) -> Tensor:
    """Return the squared norm of each row of a table, without a temporary table."""
    norms: Tensor = torch.linalg.vector_norm(table, dim=1)
    return norms.square()
