"""The interaction term of an AFM, fast: each distinct pair of a batch is worked once, a cache-sized chunk at a time.

Equal to :func:`skafm.nn.functional.attentional_interaction`, the plain version, in value and gradients. Three facts
make it fast.

1. A batch of one-hot rows repeats its pairs. The interacted vector ``e = (v_i * v_j) x_i x_j``, its attention logit
   ``h' ReLU(W e + b)`` and its score ``p' e`` depend on the pair alone, so they are computed for each of the D distinct
   pairs and the two numbers handed out to the P pairs, whose softmax and sum are all that is left for each row. With
   dropout the score is ``(p * keep_row)' e`` and differs by row, but e and the logit do not.
2. A tensor of (P, k) or (D, k) numbers does not fit the caches. So a chunk of distinct pairs is loaded, used and
   forgotten, forward and backward; the gradients add up. Nothing of that size is stored but, a byte each, the signs
   ``m = (W e + b > 0)``.
3. The signs are all that the gradients need of the hidden layer: with g the gradient of the logits (D,) and
   ``S = (g m)' e`` (t, k), ``dW = h * S``, ``db = h * sum(g m)``, ``dh = sum_k (W * S) + b * sum(g m)`` and
   ``de = (g m) (h * W)``. So the backward pass takes two matrix products, the forward pass one.

A row of more pairs than memory holds is worked in parts, each as if it were a row, whose results are averaged by their
softmax's denominators; the backward pass works each part once more.

Letters in shapes: B rows, N entries, M distinct entries, P pairs, D distinct pairs, c pairs of a chunk, k factors,
t attention size.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from skafm.nn import functional
from skafm.nn.distinct import Pairs, cut_row, distinct_entries, find_pairs


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
    max_pairs : int, default=2**22
        A single row of more pairs is worked in parts.
    matmul_dtype : torch.dtype, optional
        Of what the three matrix products multiply; by default that of the parameters.
    chunk_elements : int, optional
        The most numbers in a chunk's (c, k) or (c, t) tensor; by default what suits the device.

    Returns
    -------
    Tensor of shape (B,) or (B, C)
    """
    network = (weight, bias, attention_projection)
    training = torch.is_grad_enabled() and any(each.requires_grad for each in (factors, *network, projection))
    elements = chunk_elements or _chunk_elements(factors)
    if len(offsets) == 2 and not training and len(indices) ** 2 * max(weight.shape) <= 2 * elements:  # noqa: PLR2004
        # The pairs of one row are distinct, and a chunk holds them: there is nothing to gain.
        return _of_one_row(factors, *network, projection, indices, values, keep)
    entries, entry = distinct_entries(factors, indices, values)
    outputs = projection if projection.ndim > 1 else projection.unsqueeze(0)  # (C, k)
    parameters = (entries, *network, outputs)
    settings = _Settings(len(offsets) - 1, matmul_dtype or factors.dtype, elements, training)

    def work(part: slice, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        pairs = find_pairs(entry, offsets, len(entries), part)
        both: tuple[Tensor, Tensor] = _Interaction.apply(*parameters, keep, pairs, settings)  # type: ignore[no-untyped-call]
        return both

    parts = cut_row(len(indices), max_pairs) if settings.n_rows == 1 else [slice(None)]
    if len(parts) == 1:
        result = work(parts[0], *parameters)[0]  # (C, B)
    else:
        worked = [_Again.apply(partial(work, part), *parameters) for part in parts]  # type: ignore[no-untyped-call]
        results, totals = (torch.stack(each) for each in zip(*worked, strict=True))  # (parts, C, 1), (parts, 1)
        result = (totals.softmax(0).unsqueeze(1) * results).sum(0)
    return result.T if projection.ndim > 1 else result.squeeze(0)


def _of_one_row(
    factors: Tensor,
    weight: Tensor,
    bias: Tensor,
    attention_projection: Tensor,
    projection: Tensor,
    indices: Tensor,
    values: Tensor | None,
    keep: Tensor | None,
) -> Tensor:
    """Return the interaction term of one row, in as few calls as there can be: they are what a short row takes."""
    left, right = torch.triu_indices(len(indices), len(indices), 1, device=indices.device)  # (P,), (P,)
    embedded = factors.index_select(0, indices)  # (N, k)
    if values is not None:
        embedded = embedded * values.unsqueeze(1)
    interactions = embedded.index_select(0, left) * embedded.index_select(0, right)  # (P, k)
    logits = functional.attention_logits(interactions, weight, bias, attention_projection)  # (P,)
    pooled = (logits.softmax(0) @ interactions).unsqueeze(0)  # (1, k)
    return torch.nn.functional.linear(pooled if keep is None else pooled * keep, projection)


def _chunk_elements(table: Tensor) -> int:
    """Return the most numbers of a (c, k) tensor: what a CPU's caches hold, or a part of the free CUDA memory."""
    if table.device.type == "cuda":
        return int(torch.cuda.mem_get_info(table.device)[0]) // (32 * table.element_size())
    return 2**19


class _Settings(NamedTuple):
    n_rows: int
    dtype: torch.dtype
    chunk_elements: int
    training: bool


class _Interaction(torch.autograd.Function):
    """The formulas are in the module's docstring; what stands here is what is done for each pair."""

    @staticmethod
    def forward(
        ctx: Any,
        entries: Tensor,
        weight: Tensor,
        bias: Tensor,
        attention_projection: Tensor,
        projection: Tensor,
        keep: Tensor | None,
        pairs: Pairs,
        settings: _Settings,
    ) -> tuple[Tensor, Tensor]:
        """Return the interaction term (C, B), and the logarithm of the softmax's denominator (B,)."""
        chunks = _Chunks(entries, keep, len(weight), pairs, settings)
        logits, scores, signs = _network(chunks, weight, bias, attention_projection, projection)
        attention, total = functional.segment_softmax(
            logits.index_select(0, pairs.distinct), pairs.rows, settings.n_rows
        )  # (P,), (B,)
        if keep is None:
            scores = scores.index_select(1, pairs.distinct)  # (C, P)
        else:  # from the order of distinct pairs to that of rows
            scores = torch.empty_like(scores).index_copy_(1, pairs.order, scores)
        result = torch.stack([_sum_by(pairs.rows, attention * each, settings.n_rows) for each in scores])  # (C, B)
        parameters = (entries, weight, bias, attention_projection, projection)
        ctx.save_for_backward(*pairs, *parameters, keep, signs, attention, scores, result)
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        return result, total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        pairs = Pairs(*saved[: len(Pairs._fields)])
        entries, weight, bias, attention_projection, projection, keep, signs, attention, scores, result = saved[
            len(Pairs._fields) :
        ]
        g_result, g_total = gradients  # either None where the caller's gradient does not reach it
        if g_result is None:
            g_result = torch.zeros_like(result)
        chosen = g_result.index_select(1, pairs.rows)  # (C, P)
        g_logits = attention * (chosen * (scores - result.index_select(1, pairs.rows))).sum(0)  # (P,)
        if g_total is not None:
            g_logits += attention * g_total.index_select(0, pairs.rows)
        g_scores = attention * chosen  # (C, P)
        chunks = _Chunks(entries, keep, len(weight), pairs, ctx.settings)
        scaled = weight * attention_projection.unsqueeze(1)  # (t, k)
        n_distinct = len(pairs.left)
        g_logits = _sum_by(pairs.distinct, g_logits, n_distinct)  # (D,)
        if keep is None:
            g_scores = torch.stack([_sum_by(pairs.distinct, each, n_distinct) for each in g_scores])  # (C, D)
        else:
            g_scores = g_scores.index_select(1, pairs.order)  # (C, P)
        g_entries, products, signed, g_projection = _network_backward(
            chunks, scaled, projection, signs, g_logits, g_scores
        )
        g_weight = products * attention_projection.unsqueeze(1)
        g_attention_projection = (products * weight).sum(1) + signed * bias
        g_bias = signed * attention_projection
        return g_entries, g_weight, g_bias, g_attention_projection, g_projection, None, None, None


class _Again(torch.autograd.Function):
    """Work that is done once more for its gradients, so that nothing of it is stored until then.

    What torch.utils.checkpoint does for any work; but that loads a second's worth of torch, and with torch 2.4 and 2.6
    leaves what it stored to the garbage collector.
    """

    @staticmethod
    def forward(ctx: Any, work: Callable[..., tuple[Tensor, ...]], *parameters: Tensor) -> tuple[Tensor, ...]:
        """Return what the work makes of the parameters, a tuple of tensors."""
        ctx.work = work
        ctx.save_for_backward(*parameters)
        return work(*parameters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        needs = ctx.needs_input_grad[1:]
        parameters = [each.detach().requires_grad_(need) for each, need in zip(ctx.saved_tensors, needs, strict=True)]
        with torch.enable_grad():
            results = ctx.work(*parameters)
        wanted = [each for each in parameters if each.requires_grad]
        found = iter(torch.autograd.grad(results, wanted, gradients))
        return None, *(next(found) if each.requires_grad else None for each in parameters)


def _sum_by(groups: Tensor, values: Tensor, n_groups: int) -> Tensor:
    """Sum values (P,) by group (P,): (n_groups,)."""
    return values.new_zeros(n_groups).index_add_(0, groups, values)


class _Chunks:
    """The distinct pairs, a chunk at a time, in buffers that all chunks share."""

    def __init__(self, entries: Tensor, keep: Tensor | None, t: int, pairs: Pairs, settings: _Settings) -> None:
        self.entries, self.keep, self.pairs = entries, keep, pairs
        self.dtype, self.training = settings.dtype, settings.training
        k, n = entries.shape[1], len(pairs.left)
        n_chunks = max(-(-n * max(k, t) // settings.chunk_elements), 1)
        self.size = max(-(-n // n_chunks), 1)  # of all chunks: a small last one would cost as many calls
        self.left, self.right, self.product, self.spare = (entries.new_empty(self.size, k) for _ in range(4))
        self.hidden = entries.new_empty(self.size, t, dtype=self.dtype)
        if keep is not None:
            self.rows = pairs.rows.index_select(0, pairs.order)  # (P,)
            # The first pair of each chunk: a GPU is asked for them once, or with a single chunk not at all.
            self.firsts = pairs.starts[:: self.size].tolist() if n > self.size else [0]
            self.firsts.append(len(pairs.rows))

    def __iter__(self) -> Iterator[slice]:
        n = len(self.pairs.left)
        return (slice(start, min(start + self.size, n)) for start in range(0, n, self.size))

    def load(self, chunk: slice) -> tuple[Tensor, Tensor]:
        """Return both entries of each pair, (c, k) each, to be overwritten."""
        c = chunk.stop - chunk.start
        left, right = self.left[:c], self.right[:c]
        torch.index_select(self.entries, 0, self.pairs.left[chunk], out=left)
        torch.index_select(self.entries, 0, self.pairs.right[chunk], out=right)
        return left, right

    def occurrences(self, chunk: slice) -> tuple[Tensor, slice, Tensor]:
        """Return the rows of the chunk's pairs, where these are in ``pairs.order``, and where each pair's start."""
        number = chunk.start // self.size
        where = slice(self.firsts[number], self.firsts[number + 1])
        return self.rows[where], where, self.pairs.starts[chunk.start : chunk.stop + 1] - where.start


def _network(
    chunks: _Chunks, weight: Tensor, bias: Tensor, attention_projection: Tensor, projection: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits (D,), scores, (C, D) or with dropout (C, P) by distinct pair, and, to train, signs (D, t)."""
    pairs, keep, n = chunks.pairs, chunks.keep, len(chunks.pairs.left)
    logits = weight.new_empty(n)
    scores = weight.new_empty(len(projection), n if keep is None else len(pairs.order))
    signs = torch.empty(n, len(weight), dtype=torch.uint8, device=weight.device) if chunks.training else None
    weight_T, bias = weight.to(chunks.dtype).T, bias.to(chunks.dtype)
    if keep is not None:
        kept = [keep * each for each in projection]  # C of (B, k)
        distinct = pairs.distinct.index_select(0, pairs.order)  # (P,)
    for chunk in chunks:
        left, right = chunks.load(chunk)
        product = left.mul_(right)
        hidden = chunks.hidden[: len(product)]
        torch.addmm(bias, product.to(chunks.dtype), weight_T, out=hidden)  # (c, t)
        hidden = hidden.to(weight.dtype).relu_()
        if signs is not None:
            signs[chunk].view(torch.bool).copy_(hidden)  # written as bool, read as bytes: each the faster way
        torch.mv(hidden, attention_projection, out=logits[chunk])
        if keep is None:
            for output, each in zip(scores, projection, strict=True):
                torch.mv(product, each, out=output[chunk])
        else:
            rows, where, starts = chunks.occurrences(chunk)
            at = distinct[where] - chunk.start  # (occurrences,)
            for output, table in zip(scores, kept, strict=True):
                output[where] = _dot_each(product, table, rows, starts, at)
    return logits, scores, signs


def _network_backward(
    chunks: _Chunks, scaled: Tensor, projection: Tensor, signs: Tensor, g_logits: Tensor, g_scores: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradient of the entries (M, k), S (t, k), sum(g m) (t,) and the gradient of p (C, k)."""
    pairs, keep, dtype = chunks.pairs, chunks.keep, chunks.dtype
    g_entries, S = torch.zeros_like(chunks.entries), torch.zeros_like(scaled)
    signed, g_projection = scaled.new_zeros(len(scaled)), torch.zeros_like(projection)
    low = scaled.to(dtype)
    masked = scaled.new_empty(chunks.size, len(scaled), dtype=dtype)
    for chunk in chunks:
        left, right = chunks.load(chunk)
        product = torch.mul(left, right, out=chunks.product[: len(left)])
        g_product = chunks.spare[: len(product)]  # (c, k)
        if keep is None:
            g_projection += g_scores[:, chunk] @ product
            torch.mm(g_scores[:, chunk].T, projection, out=g_product)
        else:
            rows, where, starts = chunks.occurrences(chunk)
            for output, each in enumerate(projection):
                g = g_scores[output, where]
                kept = embedding_bag(rows, keep, starts, mode="sum", per_sample_weights=g, include_last_offset=True)
                if output == 0:
                    torch.mul(kept, each, out=g_product)
                else:
                    g_product.addcmul_(kept, each)
                g_projection[output] += kept.mul_(product).sum(0)
        gm = masked[: len(product)].copy_(signs[chunk]).mul_(g_logits[chunk].to(dtype).unsqueeze(1))  # (c, t)
        signed += gm.sum(0)
        _add_product(S, gm.T, product.to(dtype))
        _add_product(g_product, gm, low)
        g_entries.index_add_(0, pairs.left[chunk], right.mul_(g_product))
        g_entries.index_add_(0, pairs.right[chunk], left.mul_(g_product))
    return g_entries, S, signed, g_projection


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a matrix product, of a lower precision maybe, to the total."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _dot_each(vectors: Tensor, table: Tensor, rows: Tensor, starts: Tensor, distinct: Tensor) -> Tensor:
    """Return ``vectors[d] . table[row]`` for each row that pair d occurs in: (c, k), (B, k) -> (occurrences,)."""
    # What embedding_bag does for the gradient of its per-sample weights; no public function is as fast.
    product: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(  # noqa: SLF001
        vectors, table, rows, starts[:-1], distinct, 0
    )
    return product
