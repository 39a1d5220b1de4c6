"""The sums over the distinct pairs of :mod:`skafm.nn.pairs`, weighted by attention, with their gradients.

Letters in shapes: B rows, M distinct entries, P pairs, D distinct pairs, k factors, t attention size, C outputs.
"""

from typing import Any

import torch
from torch import Tensor

from skafm.nn import attention, pooling
from skafm.nn.attention import Chunks, Settings
from skafm.nn.distinct import Pairs
from skafm.nn.rows import PairRows, sum_by


class Interaction(torch.autograd.Function):
    """The interaction term: the formulas are in the docstring of ``pairs``, here is what is done for each pair."""

    @staticmethod
    def forward(
        ctx: Any,
        pairs: Pairs,
        keep: Tensor | None,
        settings: Settings,
        entries: Tensor,
        weight: Tensor,
        bias: Tensor,
        attention_projection: Tensor,
        projection: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the interaction term (B, C), and the logarithm of the softmax's denominator (B,)."""
        network = weight, bias, attention_projection
        chunks = Chunks(entries, keep, len(weight), pairs, settings)
        logits, scores, signs = attention.logits_and_scores(chunks, *network, projection)
        weights, total = pairs.rows.softmax(logits.index_select(0, pairs.distinct))  # (P,), (B,)
        if keep is None:
            scores = scores.index_select(1, pairs.distinct)  # (C, P)
        else:  # from the order of distinct pairs to that of rows
            scores = torch.empty_like(scores).index_copy_(1, pairs.order, scores)
        result = pairs.rows.sum(weights * scores).T  # (B, C)
        ctx.save_for_backward(entries, *network, projection, signs, weights, scores, result)
        ctx.chunks = chunks
        ctx.set_materialize_grads(False)
        return result, total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of the entries and parameters, from those of the two results."""
        entries, weight, bias, attention_projection, projection, signs, weights, scores, result = ctx.saved_tensors
        pairs = ctx.chunks.pairs
        g_result, g_total = gradients  # either None where the caller's gradient does not reach it
        if g_result is None:
            g_result = torch.zeros_like(result)
        chosen = pairs.rows.spread(g_result.T)  # (C, P)
        g_logits = _softmax_gradient(weights, (chosen * scores).sum(0), pairs.rows, result, g_result, g_total)
        g_scores = weights * chosen  # (C, P)
        n_distinct = len(pairs.left)
        if ctx.chunks.keep is None:
            g_scores = torch.stack([sum_by(pairs.distinct, each, n_distinct) for each in g_scores])  # (C, D)
        else:
            g_scores = g_scores.index_select(1, pairs.order)  # (C, P)
        scaled, g_entries = weight * attention_projection.unsqueeze(1), torch.zeros_like(entries)  # (t, k), (M, k)
        S, signed, g_projection = attention.gradients(
            ctx.chunks, scaled, projection, signs, sum_by(pairs.distinct, g_logits, n_distinct), g_scores, g_entries
        )
        g_network = _network_gradients(S, signed, weight, bias, attention_projection)
        return None, None, None, g_entries, *g_network, g_projection


class Pooling(torch.autograd.Function):
    """The same for the pooled vectors."""

    @staticmethod
    def forward(
        ctx: Any,
        pairs: Pairs,
        layout: pooling.Layout,
        settings: Settings,
        entries: Tensor,
        weight: Tensor,
        bias: Tensor,
        attention_projection: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the pooled vectors (B, k), and the logarithm of the softmax's denominator (B,)."""
        network = weight, bias, attention_projection
        chunks, none = Chunks(entries, None, len(weight), pairs, settings), entries.new_empty(0, entries.shape[1])
        logits, _, signs = attention.logits_and_scores(chunks, *network, none)
        weights, total = pairs.rows.softmax(logits.index_select(0, pairs.distinct))  # (P,), (B,)
        pooled = pooling.pool(entries, layout, weights, pairs.rows.n_rows)
        ctx.save_for_backward(entries, *network, signs, weights, pooled)
        ctx.chunks, ctx.layout = chunks, layout
        ctx.set_materialize_grads(False)
        return pooled, total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of the entries and parameters, from those of the two results."""
        entries, weight, bias, attention_projection, signs, weights, pooled = ctx.saved_tensors
        pairs = ctx.chunks.pairs
        g_pooled, g_total = gradients  # either None where the caller's gradient does not reach it
        if g_pooled is None:
            g_pooled = torch.zeros_like(pooled)
        g_weights, g_entries = pooling.gradients(entries, ctx.layout, weights, g_pooled)
        g_logits = _softmax_gradient(weights, g_weights, pairs.rows, pooled, g_pooled, g_total)
        scaled, n_distinct = weight * attention_projection.unsqueeze(1), len(pairs.left)  # (t, k)
        g_logits, no_scores = sum_by(pairs.distinct, g_logits, n_distinct), g_logits.new_empty(0, n_distinct)
        none = entries.new_empty(0, entries.shape[1])
        S, signed, _ = attention.gradients(ctx.chunks, scaled, none, signs, g_logits, no_scores, g_entries)
        g_network = _network_gradients(S, signed, weight, bias, attention_projection)
        return None, None, None, g_entries, *g_network


def _softmax_gradient(
    weights: Tensor, g_weights: Tensor, rows: PairRows, result: Tensor, g_result: Tensor, g_total: Tensor | None
) -> Tensor:
    """Return the gradient of the logits (P,), from those of weights (P,), results (B, C) and denominators (B,)."""
    shift = (g_result * result).sum(1)  # (B,) what the weights' gradient is in the mean of a row
    if g_total is not None:
        shift = shift - g_total
    return weights * (g_weights - rows.spread(shift))


def _network_gradients(
    S: Tensor, signed: Tensor, weight: Tensor, bias: Tensor, attention_projection: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of W, b and h, from S (t, k) and sum(g m) (t,)."""
    return S * attention_projection.unsqueeze(1), signed * attention_projection, (S * weight).sum(1) + signed * bias
