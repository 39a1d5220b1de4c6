"""Attention over the pairs of rows of one length m, all pairs of all rows at once: for a GPU, which waits for no size.

The entries ``v_i x_i`` of the rows are a table (B, m, k); P is here the number of pairs of a row. The entries of a row
lie on a circle, and its pairs are those at distance 1, 2, ... up to m/2, at which there are half as many. With the
entries first, (m, B, k), the pairs of a distance are products of two adjacent blocks, so that nothing is gathered.

The attention network has the gradients of fact 4 in :mod:`skafm.nn._pairs`; the vectors are pooled by fact 2.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from skafm.nn._pairs import fused

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
        Whether an entry belongs to its row, or fills it up, with z_i = 0; in each row those that do come first. By
        default all do.
    matmul_dtype : torch.dtype, optional
        Type of the factors of the matrix products of the network; by default that of the parameters.

    Returns
    -------
    Tensor of shape (B, k)
    """
    if fused.suit(entries, weight):
        return fused.attentional_pooling(entries, weight, bias, attention_projection, exists, matmul_dtype)
    m = entries.shape[1]
    number = torch.arange(m * (m - 1) // 2, device=entries.device)  # (P,)
    left = number % m
    right = (left + number // m + 1) % m
    interactions = _Interactions.apply(entries, matmul_dtype or entries.dtype)  # type: ignore[no-untyped-call]
    logits = _Logits.apply(interactions, weight, bias, attention_projection)  # type: ignore[no-untyped-call]
    logits = logits.view(len(number), -1).T  # (B, P)
    if exists is not None:  # finite, for a row without a pair: its sum of zeros is zero
        both = exists.index_select(1, left) & exists.index_select(1, right)
        logits = logits.masked_fill(~both, torch.finfo(logits.dtype).min)
    attention = logits.softmax(1)  # (B, P)
    cells = attention.new_zeros(len(entries), m * m).index_copy(1, left * m + right, attention).view(-1, m, m)
    return (torch.bmm(cells, entries) * entries).sum(1)


def bytes_per_row(length: int, k: int, t: int, itemsize: int) -> int:
    """Return the memory that a row of a batch needs in training on CUDA."""
    if fused.enabled(length, t, itemsize):
        return fused.bytes_per_row(length, k, t, itemsize)
    n_pairs = length * (length - 1) // 2
    return itemsize * (n_pairs * (2 * k + 3 * t) + 12 * length * k)


def _circle(entries: Tensor) -> tuple[Tensor, Iterator[tuple[slice, slice, slice]]]:
    """Return the entries (B, m, k) of rows twice around, (2 m, B, k), and the blocks of their pairs.

    A block has the pairs at one distance: two slices of entries and the slice (B times as many) of these pairs.
    """
    n_rows, m, k = entries.shape
    circle = entries.transpose(0, 1).expand(2, m, n_rows, k).flatten(0, 1)

    def blocks() -> Iterator[tuple[slice, slice, slice]]:
        for distance in range(1, m // 2 + 1):
            n, start = m // 2 if 2 * distance == m else m, (distance - 1) * m
            yield slice(n), slice(distance, distance + n), slice(start * n_rows, (start + n) * n_rows)

    return circle, blocks()


class _Interactions(torch.autograd.Function):
    """The products ``z_i * z_j`` of the pairs, as a type: (P B, k), a pair of all rows after another."""

    @staticmethod
    def forward(ctx: Any, entries: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(entries)
        n_rows, m, k = entries.shape
        circle, blocks = _circle(entries)
        interactions = entries.new_empty((m * (m - 1) // 2 * n_rows, k), dtype=dtype)
        for one, other, pairs in blocks:
            block = interactions[pairs].view_as(circle[one])  # (m, B, k), or half of it
            if dtype == entries.dtype:
                torch.mul(circle[one], circle[other], out=block)
            else:
                block.copy_(circle[one] * circle[other])  # on CUDA a product that converts takes longer
        return interactions

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (entries,) = ctx.saved_tensors
        circle, blocks = _circle(entries)
        g_circle = torch.zeros_like(circle)
        for one, other, pairs in blocks:
            g = gradients[0][pairs].to(entries.dtype).view_as(circle[one])
            g_circle[one].addcmul_(g, circle[other])
            g_circle[other].addcmul_(g, circle[one])
        return g_circle.view(2, -1, *circle.shape[1:]).sum(0).transpose(0, 1), None


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
