"""Attention over the pairs of rows of one length m, all pairs of all rows at once: for a GPU, which waits for no size.

The entries ``v_i x_i`` of the rows are a table (B, m, k); P is here the number of pairs of a row. The attention network
has the gradients of fact 4 in :mod:`skafm.nn._pairs`; the vectors are pooled by fact 2. Each sum has its order: the
same numbers give the same bits.
"""

from typing import Any

import torch
from torch import Tensor

_relu_backward = torch.ops.aten.threshold_backward


def attentional_pooling(
    entries: Tensor,
    weight: Tensor,
    bias: Tensor,
    attention_projection: Tensor,
    exists: Tensor | None = None,
    matmul_dtype: torch.dtype | None = None,
) -> Tensor:
    """Return ``sum_{i<j} a_ij z_i * z_j`` of each row (Eq. 4).

    Parameters
    ----------
    entries : Tensor of shape (B, m, k)
        The vectors z_i = v_i x_i.
    weight, bias, attention_projection : Tensor of shape (t, k), (t,), (t,)
        W, b and h.
    exists : Tensor of shape (B, m), optional
        Whether an entry belongs to its row, or fills it up, with z_i = 0; by default all do.
    matmul_dtype : torch.dtype, optional
        Type of the factors of the matrix products of the network; by default that of the parameters.

    Returns
    -------
    Tensor of shape (B, k)
    """
    n_rows, m, _ = entries.shape
    left, right = torch.triu_indices(m, m, 1, device=entries.device)  # (P,), (P,)
    interactions = _Interactions.apply(entries, left, right, matmul_dtype or entries.dtype)  # type: ignore[no-untyped-call]
    logits = _Logits.apply(interactions, weight, bias, attention_projection)  # type: ignore[no-untyped-call]
    logits = logits.view(n_rows, -1)  # (B, P)
    if exists is not None:  # finite, for a row without a pair: its sum of zeros is zero
        both = exists.index_select(1, left) & exists.index_select(1, right)
        logits = logits.masked_fill(~both, torch.finfo(logits.dtype).min)
    attention = logits.softmax(1)  # (B, P)
    cells = attention.new_zeros(n_rows, m * m).index_copy(1, left * m + right, attention).view(n_rows, m, m)
    return (torch.bmm(cells, entries) * entries).sum(1)


def bytes_per_row(length: int, k: int, t: int, itemsize: int) -> int:
    """Return the memory that a row of a batch needs in training."""
    n_pairs = length * (length - 1) // 2
    return itemsize * (n_pairs * (5 * k + 3 * t) + 8 * length * k)


class _Interactions(torch.autograd.Function):
    """The products ``z_i * z_j`` of the pairs, as a type: (B P, k)."""

    @staticmethod
    def forward(ctx: Any, entries: Tensor, left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(entries, left, right)
        one, other = entries.index_select(1, left), entries.index_select(1, right)  # (B, P, k)
        return torch.mul(one, other, out=torch.empty_like(one, dtype=dtype)).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        entries, left, right = ctx.saved_tensors
        n_rows, m, k = entries.shape
        g, numbers = gradients[0].view(n_rows, -1, k), torch.arange(m, device=left.device).unsqueeze(1)
        g_entries = torch.zeros_like(entries)
        for index, others in ((left, right), (right, left)):
            is_end = (index == numbers).to(entries.dtype).expand(n_rows, -1, -1)  # (B, m, P)
            g_entries.baddbmm_(is_end, g * entries.index_select(1, others))
        return g_entries, None, None, None


class _Logits(torch.autograd.Function):
    """The attention logits ``h' ReLU(W e + b)`` (P,) of interactions e (P, k), whose type is that of the products."""

    @staticmethod
    def forward(ctx: Any, interactions: Tensor, weight: Tensor, bias: Tensor, attention_projection: Tensor) -> Tensor:
        dtype = interactions.dtype
        hidden = torch.addmm(bias.to(dtype), interactions, weight.to(dtype).T).relu_()  # (P, t)
        ctx.save_for_backward(interactions, hidden, weight, bias, attention_projection)
        if dtype == bias.dtype:
            return torch.mv(hidden, attention_projection)
        return (hidden * attention_projection.to(dtype)).sum(1, dtype=bias.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        interactions, hidden, weight, bias, h = ctx.saved_tensors
        dtype = interactions.dtype
        gm = _relu_backward(gradients[0].to(dtype).unsqueeze(1).expand_as(hidden), hidden, 0)  # (P, t)
        S, signed = torch.mm(gm.T, interactions).to(weight.dtype), gm.sum(0, dtype=weight.dtype)  # (t, k), (t,)
        g_interactions = torch.mm(gm, (weight * h.unsqueeze(1)).to(dtype))  # (P, k)
        return g_interactions, S * h.unsqueeze(1), signed * h, (S * weight).sum(1) + signed * bias
