"""Sums over the pairs of each row, weighted by attention, as autograd functions.

The formulas of the gradients are in the docstring of :mod:`skafm.nn._pairs`; here is what is done for each pair, and in
``network`` what is done for each distinct pair.
"""

from typing import Any

import torch
from torch import Tensor

from skafm.nn._pairs import blocks, network
from skafm.nn._pairs.dedup import DistinctPairs
from skafm.nn._pairs.network import Chunks, Settings
from skafm.nn._pairs.segment_ops import PairRows, segment_sum


class InteractionFunction(torch.autograd.Function):
    """The interaction term of Eq. 6."""

    @staticmethod
    def forward(
        ctx: Any,
        pairs: DistinctPairs,
        dropout_mask: Tensor | None,
        settings: Settings,
        entries: Tensor,
        weight: Tensor,
        bias: Tensor,
        attention_projection: Tensor,
        projection: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the interaction term (B, C), and the logarithm of the softmax's denominator (B,)."""
        parameters = weight, bias, attention_projection
        chunks = Chunks(entries, dropout_mask, len(weight), pairs, settings)
        logits, scores, signs = network.logits_and_scores(chunks, *parameters, projection)
        attention, denominators = pairs.rows.softmax(logits.index_select(0, pairs.inverse))  # (P,), (B,)
        if dropout_mask is None:
            scores = scores.index_select(1, pairs.inverse)  # (C, P)
        else:  # from the order of distinct pairs to that of rows
            scores = torch.empty_like(scores).index_copy_(1, pairs.order, scores)
        result = pairs.rows.sum(attention * scores).T  # (B, C)
        ctx.save_for_backward(entries, *parameters, projection, signs, attention, scores, result)
        ctx.chunks = chunks
        ctx.set_materialize_grads(False)
        return result, denominators

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of the entries and parameters, given those of the two results."""
        entries, weight, bias, attention_projection, projection, signs, attention, scores, result = ctx.saved_tensors
        pairs = ctx.chunks.pairs
        g_result, g_denominators = gradients  # either is None if the loss does not depend on it
        if g_result is None:
            g_result = torch.zeros_like(result)
        expanded = pairs.rows.expand(g_result.T)  # (C, P)
        g_attention = (expanded * scores).sum(0)
        g_logits = _softmax_gradient(attention, g_attention, pairs.rows, result, g_result, g_denominators)
        g_scores = attention * expanded  # (C, P)
        n_distinct = len(pairs.left)
        if ctx.chunks.dropout_mask is None:
            g_scores = torch.stack([segment_sum(pairs.inverse, each, n_distinct) for each in g_scores])  # (C, D)
        else:
            g_scores = g_scores.index_select(1, pairs.order)  # (C, P)
        scaled, g_entries = weight * attention_projection.unsqueeze(1), torch.zeros_like(entries)  # (t, k), (M, k)
        g_logits = segment_sum(pairs.inverse, g_logits, n_distinct)  # (D,)
        S, signed, g_projection = network.gradients(
            ctx.chunks, scaled, projection, signs, g_logits, g_scores, g_entries
        )
        g_parameters = _network_gradients(S, signed, weight, bias, attention_projection)
        return None, None, None, g_entries, *g_parameters, g_projection


class PoolingFunction(torch.autograd.Function):
    """The pooled vectors of Eq. 4."""

    @staticmethod
    def forward(
        ctx: Any,
        pairs: DistinctPairs,
        layout: blocks.Layout,
        settings: Settings,
        entries: Tensor,
        weight: Tensor,
        bias: Tensor,
        attention_projection: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the pooled vectors (B, k), and the logarithm of the softmax's denominator (B,)."""
        parameters = weight, bias, attention_projection
        chunks, none = Chunks(entries, None, len(weight), pairs, settings), entries.new_empty(0, entries.shape[1])
        logits, _, signs = network.logits_and_scores(chunks, *parameters, none)
        attention, denominators = pairs.rows.softmax(logits.index_select(0, pairs.inverse))  # (P,), (B,)
        pooled = blocks.pool(entries, layout, attention, pairs.rows.n_rows)
        ctx.save_for_backward(entries, *parameters, signs, attention, pooled)
        ctx.chunks, ctx.layout = chunks, layout
        ctx.set_materialize_grads(False)
        return pooled, denominators

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of the entries and parameters, given those of the two results."""
        entries, weight, bias, attention_projection, signs, attention, pooled = ctx.saved_tensors
        pairs = ctx.chunks.pairs
        g_pooled, g_denominators = gradients  # either is None if the loss does not depend on it
        if g_pooled is None:
            g_pooled = torch.zeros_like(pooled)
        g_attention, g_entries = blocks.gradients(entries, ctx.layout, attention, g_pooled)
        g_logits = _softmax_gradient(attention, g_attention, pairs.rows, pooled, g_pooled, g_denominators)
        scaled, n_distinct = weight * attention_projection.unsqueeze(1), len(pairs.left)  # (t, k)
        g_logits, no_scores = segment_sum(pairs.inverse, g_logits, n_distinct), g_logits.new_empty(0, n_distinct)
        none = entries.new_empty(0, entries.shape[1])
        S, signed, _ = network.gradients(ctx.chunks, scaled, none, signs, g_logits, no_scores, g_entries)
        g_parameters = _network_gradients(S, signed, weight, bias, attention_projection)
        return None, None, None, g_entries, *g_parameters


def _softmax_gradient(
    attention: Tensor,
    g_attention: Tensor,
    rows: PairRows,
    result: Tensor,
    g_result: Tensor,
    g_denominators: Tensor | None,
) -> Tensor:
    """Return the gradient of the logits (P,), given those of attention (P,), results (B, C) and denominators (B,)."""
    shift = (g_result * result).sum(1)  # (B,) the mean of the attention's gradient over a row
    if g_denominators is not None:
        shift = shift - g_denominators
    return attention * (g_attention - rows.expand(shift))


def _network_gradients(
    S: Tensor, signed: Tensor, weight: Tensor, bias: Tensor, attention_projection: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of W, b and h, given S (t, k) and sum(g m) (t,)."""
    return S * attention_projection.unsqueeze(1), signed * attention_projection, (S * weight).sum(1) + signed * bias
