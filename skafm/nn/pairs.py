"""The attention of an AFM over the pairs of a batch, fast: each distinct pair is worked once.

Equal to :func:`skafm.nn.functional.attentional_interaction` and :func:`~skafm.nn.functional.attentional_pooling`, the
plain versions, in value and gradients. Four facts make it fast.

1. A batch of one-hot rows repeats its pairs. The interacted vector ``e = (v_i * v_j) x_i x_j``, its attention logit
   ``h' ReLU(W e + b)`` and its score ``p' e`` depend on the pair alone, so they are computed for each of the D distinct
   pairs and the two numbers handed out to the P pairs, whose softmax and sum are all that is left for each row. With
   dropout the score is ``(p * keep_row)' e`` and differs by row, but e and the logit do not.
2. Where the vectors themselves are pooled, because layers come after, no score says what a pair counts; but a row's sum
   over its pairs is a product of small matrices (:mod:`skafm.nn.pooling`).
3. A tensor of (P, k) or (D, k) numbers does not fit the caches. So a chunk of distinct pairs is loaded, used and
   forgotten, forward and backward, which begins with the last one; the gradients add up (:mod:`skafm.nn.attention`).
   Nothing of that size is stored but, a byte each, the signs ``m = (W e + b > 0)``.
4. The signs are all that the gradients need of the hidden layer: with g the gradient of the logits (D,) and
   ``S = (g m)' e`` (t, k), ``dW = h * S``, ``db = h * sum(g m)``, ``dh = sum_k (W * S) + b * sum(g m)`` and
   ``de = (g m) (h * W)``. So the backward pass takes two matrix products, the forward pass one.

Few pairs, ``FEW``, fit the caches as they are, and are worked by the plain version: there is nothing to gain.

A row of more pairs than memory holds is worked in parts, each as if it were a row, whose results are averaged by their
softmax's denominators; the backward pass works each part once more.

Letters in shapes: B rows, N entries, M distinct entries, P pairs, D distinct pairs, k factors, t attention size, C
outputs.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from skafm.nn import attention, functional, pooling
from skafm.nn.again import Again
from skafm.nn.attention import Chunks, Settings
from skafm.nn.distinct import Pairs, common_length, count_pairs, cut_row, distinct_entries, find_pairs, find_places
from skafm.nn.rows import PairRows, sum_by

FEW = 2**17
"""The most numbers of a (P, k) or (P, t) tensor that are worked plainly, all pairs at once."""


def attentional_interaction(
    factors: Tensor,
    weight: Tensor,
    bias: Tensor,
    attention_projection: Tensor,
    projection: Tensor,
    indices: Tensor,
    values: Tensor | None,
    offsets: Tensor,
    keep: Tensor | None = None,
    *,
    max_pairs: int = 2**22,
    matmul_dtype: torch.dtype | None = None,
    chunk_elements: int | None = None,
) -> Tensor:
    """Return ``p' sum_{i<j} a_ij (v_i * v_j) x_i x_j`` of each row (the interaction term of Eq. 6).

    Parameters
    ----------
    factors, weight, bias, attention_projection, projection : Tensor of shape (n_features, k), (t, k), (t,), (t,), (k,)
        V, W, b, h and p. With C outputs p is (C, k).
    indices, values, offsets : Tensor
        The batch, see :mod:`skafm.nn.functional`; ``values`` is None where all are 1.
    keep : Tensor of shape (B, k), optional
        Dropout: what each pooled factor of each row is multiplied by.
    max_pairs, matmul_dtype, chunk_elements
        As for :func:`attentional_pooling`.

    Returns
    -------
    Tensor of shape (B,) or (B, C)
    """
    parameters, batch = (factors, weight, bias, attention_projection), (indices, values, offsets)
    limits = _limits(factors, max_pairs, matmul_dtype, chunk_elements)
    if projection.ndim > 1:
        return _attend(parameters, batch, limits, projection, keep)
    return _attend(parameters, batch, limits, projection.unsqueeze(0), keep).squeeze(1)


def attentional_pooling(
    factors: Tensor,
    weight: Tensor,
    bias: Tensor,
    attention_projection: Tensor,
    indices: Tensor,
    values: Tensor | None,
    offsets: Tensor,
    *,
    max_pairs: int = 2**22,
    matmul_dtype: torch.dtype | None = None,
    chunk_elements: int | None = None,
) -> Tensor:
    """Return ``sum_{i<j} a_ij (v_i * v_j) x_i x_j`` of each row (Eq. 4).

    Parameters
    ----------
    factors, weight, bias, attention_projection : Tensor of shape (n_features, k), (t, k), (t,), (t,)
        V, W, b and h.
    indices, values, offsets : Tensor
        The batch, see :mod:`skafm.nn.functional`; ``values`` is None where all are 1.
    max_pairs : int, default=2**22
        A single row of more pairs is worked in parts.
    matmul_dtype : torch.dtype, optional
        Of what the three matrix products multiply; by default that of the parameters.
    chunk_elements : int, optional
        The most numbers in a chunk's (c, k) or (c, t) tensor; by default what suits the device.

    Returns
    -------
    Tensor of shape (B, k)
    """
    limits = _limits(factors, max_pairs, matmul_dtype, chunk_elements)
    return _attend((factors, weight, bias, attention_projection), (indices, values, offsets), limits)


def pair_bytes(attention_size: int) -> int:
    """Return the bytes that a pair takes: its place, what finding it took, its numbers, and t signs."""
    return 256 + attention_size


class _Limits(NamedTuple):
    max_pairs: int
    dtype: torch.dtype
    chunk_elements: int
    few: int
    """The most numbers (P, k) or (P, t) that are worked plainly."""


def _limits(factors: Tensor, max_pairs: int, matmul_dtype: torch.dtype | None, chunk_elements: int | None) -> _Limits:
    """Fill in what is not given: the chunks are what a CPU's caches hold, or a part of the free CUDA memory."""
    few = 0
    if chunk_elements is None:
        chunk_elements, few = 2**20, FEW
        if factors.device.type == "cuda":
            chunk_elements = int(torch.cuda.mem_get_info(factors.device)[0]) // (32 * factors.element_size())
    return _Limits(max_pairs, matmul_dtype or factors.dtype, chunk_elements, few)


def _attend(
    parameters: tuple[Tensor, Tensor, Tensor, Tensor],
    batch: tuple[Tensor, Tensor | None, Tensor],
    limits: _Limits,
    projection: Tensor | None = None,
    keep: Tensor | None = None,
) -> Tensor:
    """Return the pooled vectors (B, k), or with a projection (C, k) its products with them (B, C)."""
    indices, values, offsets = batch
    optional = () if projection is None else (projection,)
    training = torch.is_grad_enabled() and any(each.requires_grad for each in (*parameters, *optional))
    n_rows = len(offsets) - 1
    length = len(indices) if n_rows == 1 else common_length(offsets, len(indices))
    n_pairs, widest = count_pairs(offsets, length), max(parameters[1].shape)
    if n_rows == 1 and not training and n_pairs * widest <= limits.chunk_elements:
        # The pairs of one row are distinct, and a chunk holds them: there is nothing to gain.
        pooled = _pool_one_row(parameters, indices, values)
    elif n_pairs * widest <= limits.few and n_pairs <= limits.max_pairs:
        # To find the distinct ones among few pairs takes longer than to work them all.
        pooled = functional.attentional_pooling(*parameters, *batch)
    else:
        return _attend_to_distinct(parameters, batch, length, limits, projection, keep, training)
    return pooled if projection is None else linear(pooled if keep is None else pooled * keep, projection)


def _attend_to_distinct(
    parameters: tuple[Tensor, Tensor, Tensor, Tensor],
    batch: tuple[Tensor, Tensor | None, Tensor],
    length: int | None,
    limits: _Limits,
    projection: Tensor | None,
    keep: Tensor | None,
    training: bool,
) -> Tensor:
    """Do that for many pairs; ``length`` is how many entries each row has, if all have as many."""
    (factors, *network), (indices, values, offsets) = parameters, batch
    entries, entry = distinct_entries(factors, indices, values)
    n_rows, settings = len(offsets) - 1, Settings(limits.dtype, limits.chunk_elements, training)

    def work(part: slice, *learnt: Tensor) -> tuple[Tensor, Tensor]:
        places = find_places(offsets, len(indices), length, part)
        pairs = find_pairs(entry, places, len(entries))
        both: tuple[Tensor, Tensor]
        if projection is None:
            layout = pooling.lay_out(entry, offsets, places, length, part, limits.chunk_elements // entries.shape[1])
            both = _Pooling.apply(pairs, layout, settings, *learnt)  # type: ignore[no-untyped-call]
        else:
            both = _Interaction.apply(pairs, keep, settings, *learnt)  # type: ignore[no-untyped-call]
        return both

    parts = cut_row(len(indices), limits.max_pairs) if n_rows == 1 else [slice(None)]
    learnt = (entries, *network) if projection is None else (entries, *network, projection)
    if len(parts) == 1:
        return work(parts[0], *learnt)[0]
    worked = [Again.apply(partial(work, part), *learnt) for part in parts]  # type: ignore[no-untyped-call]
    results, totals = (torch.stack(each) for each in zip(*worked, strict=True))  # (parts, 1, C or k), (parts, 1)
    return (totals.softmax(0).unsqueeze(2) * results).sum(0)


def _pool_one_row(parameters: tuple[Tensor, Tensor, Tensor, Tensor], indices: Tensor, values: Tensor | None) -> Tensor:
    """Return the pooled vector (1, k) of one row, in as few calls as there can be: they are what a short row takes."""
    factors, *network = parameters
    left, right = torch.triu_indices(len(indices), len(indices), 1, device=indices.device)  # (P,), (P,)
    embedded = factors.index_select(0, indices)  # (N, k)
    if values is not None:
        embedded = embedded * values.unsqueeze(1)
    interactions = embedded.index_select(0, left) * embedded.index_select(0, right)  # (P, k)
    logits = functional.attention_logits(interactions, *network)  # (P,)
    return (logits.softmax(0) @ interactions).unsqueeze(0)


class _Interaction(torch.autograd.Function):
    """The formulas are in the module's docstring; what stands here is what is done for each pair."""

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


class _Pooling(torch.autograd.Function):
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
