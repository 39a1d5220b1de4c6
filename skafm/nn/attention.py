"""The attention network of :mod:`skafm.nn.pairs` on the distinct pairs of a batch, a cache-sized chunk at a time.

Letters in shapes: B rows, M distinct entries, P pairs, D distinct pairs, c pairs of a chunk, k factors, t attention
size, C outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from skafm.nn.distinct import Pairs


class Settings(NamedTuple):
    """How the network is worked."""

    dtype: torch.dtype
    """Of what the matrix products multiply."""
    chunk_elements: int
    """The most numbers of a (c, k) or (c, t) tensor, but for 8 pairs."""
    training: bool
    """Whether gradients will be asked for."""


class Chunks:
    """The distinct pairs, a chunk at a time, in buffers that all chunks share, forward and backward.

    A buffer's rows so stay with the core that wrote them, as far as the ops allow: to fetch what another core has
    written can take ten times as long.
    """

    def __init__(self, entries: Tensor, keep: Tensor | None, t: int, pairs: Pairs, settings: Settings) -> None:
        self.entries, self.keep, self.pairs = entries, keep, pairs
        self.dtype, self.training = settings.dtype, settings.training
        k, n = entries.shape[1], len(pairs.left)
        n_chunks = max(-(-n * max(k, t) // settings.chunk_elements), 1)
        # Of all chunks, for a small last one would cost as many calls: a multiple of 8, as n is.
        self.size = max(-(-n // (8 * n_chunks)), 1) * 8
        self.all = [slice(start, min(start + self.size, n)) for start in range(0, n, self.size)]
        self.product, self.right = (entries.new_empty(self.size, k) for _ in range(2))
        self.hidden = entries.new_empty(self.size, t)
        self.low_product, self.low_hidden = (
            x if x.dtype == self.dtype else torch.empty_like(x, dtype=self.dtype) for x in (self.product, self.hidden)
        )
        self.loaded: slice | None = None
        if keep is not None:
            self.rows = pairs.rows.row.index_select(0, pairs.order)  # (P,)
            # The first pair of each chunk: a GPU is asked for them once, or with a single chunk not at all.
            self.firsts = pairs.starts[:: self.size].tolist() if n > self.size else [0]
            self.firsts.append(len(pairs.order))

    def load(self, chunk: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Return the product of each pair's entries, the second entry, and the product in ``dtype``: (c, k) each."""
        product, right, low = (x[: chunk.stop - chunk.start] for x in (self.product, self.right, self.low_product))
        if chunk != self.loaded:
            torch.index_select(self.entries, 0, self.pairs.left[chunk], out=product)
            torch.index_select(self.entries, 0, self.pairs.right[chunk], out=right)
            product.mul_(right)
            if low.dtype != product.dtype:
                low.copy_(product)
        self.loaded = None  # whoever leaves it as it is says so
        return product, right, low

    def occurrences(self, chunk: slice) -> tuple[Tensor, slice, Tensor]:
        """Return the rows of the chunk's pairs, where these are in ``pairs.order``, and where each pair's start."""
        number = chunk.start // self.size
        where = slice(self.firsts[number], self.firsts[number + 1])
        return self.rows[where], where, self.pairs.starts[chunk.start : chunk.stop + 1] - where.start


def logits_and_scores(
    chunks: Chunks, weight: Tensor, bias: Tensor, attention_projection: Tensor, projection: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits (D,), scores, (C, D) or with dropout (C, P) by distinct pair, and, to train, signs (D, t)."""
    pairs, keep, n = chunks.pairs, chunks.keep, len(chunks.pairs.left)
    logits = weight.new_empty(n)
    scores = weight.new_empty(len(projection), n if keep is None else len(pairs.order))
    signs = torch.empty(n, len(weight), dtype=torch.uint8, device=weight.device) if chunks.training else None
    weight_T = weight.to(chunks.dtype).T
    if keep is not None:
        kept = [keep * each for each in projection]  # C of (B, k)
        distinct = pairs.distinct.index_select(0, pairs.order)  # (P,)
    for chunk in chunks.all:
        product, _, low = chunks.load(chunk)
        hidden = _hidden(chunks, low, weight_T, bias)  # (c, t)
        if signs is not None:
            signs[chunk].view(torch.bool).copy_(hidden)  # written as bool, read as bytes: each the faster way
        torch.sum(hidden.mul_(attention_projection), 1, out=logits[chunk])  # mv reads rows of other cores
        if keep is None:
            last = None if chunks.training else len(projection) - 1  # then product is no longer needed
            for output, each in enumerate(projection):
                weighted = product.mul_(each) if output == last else product * each
                torch.sum(weighted, 1, out=scores[output, chunk])
        else:
            rows, where, starts = chunks.occurrences(chunk)
            at = distinct[where] - chunk.start  # (occurrences,)
            for output, table in zip(scores, kept, strict=True):
                output[where] = _dot_each(product, table, rows, starts, at)
        if chunks.training:
            chunks.loaded = chunk  # the gradients begin with the last one
    return logits, scores, signs


def _hidden(chunks: Chunks, product: Tensor, weight_T: Tensor, bias: Tensor) -> Tensor:
    """Return ReLU(W e + b), (c, t), the matrix product being of ``chunks.dtype``."""
    low = chunks.low_hidden[: len(product)]
    if low.dtype == bias.dtype:
        return torch.addmm(bias, product, weight_T, out=low).relu_()
    torch.mm(product, weight_T, out=low)
    return chunks.hidden[: len(product)].copy_(low).add_(bias).relu_()


def gradients(
    chunks: Chunks,
    scaled: Tensor,
    projection: Tensor,
    signs: Tensor,
    g_logits: Tensor,
    g_scores: Tensor,
    g_entries: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return S (t, k), sum(g m) (t,) and the gradient of p (C, k); add that of the entries to ``g_entries`` (M, k)."""
    pairs, keep, dtype = chunks.pairs, chunks.keep, chunks.dtype
    S, signed, g_projection = torch.zeros_like(scaled), scaled.new_zeros(len(scaled)), torch.zeros_like(projection)
    scaled = scaled.to(dtype)
    for chunk in reversed(chunks.all):
        product, right, low = chunks.load(chunk)
        gm = _where(signs[chunk], g_logits[chunk].to(dtype), chunks.low_hidden[: len(low)])  # (c, t)
        signed += gm.sum(0)
        S += torch.mm(gm.T, low)
        if keep is None:
            g_projection += g_scores[:, chunk] @ product
            g_product = g_scores[:, chunk].T @ projection  # (c, k)
        else:
            rows, where, starts = chunks.occurrences(chunk)
            for output, each in enumerate(projection):
                g = g_scores[output, where]
                kept = embedding_bag(rows, keep, starts, mode="sum", per_sample_weights=g, include_last_offset=True)
                last = output == len(projection) - 1  # then product is no longer needed
                g_projection[output] += _sum_pairs(product.mul_(kept) if last else product * kept)
                g_product = kept.mul_(each) if output == 0 else g_product.addcmul_(kept, each)
        if dtype == g_product.dtype:
            g_product.addmm_(gm, scaled)
        else:  # to add bfloat16 to float32 takes longer than to convert it first
            g_product.add_(product.copy_(torch.mm(gm, scaled, out=low)))
        g_entries.index_add_(0, pairs.left[chunk], right.mul_(g_product))
        left = torch.index_select(chunks.entries, 0, pairs.left[chunk], out=product)
        g_entries.index_add_(0, pairs.right[chunk], g_product.mul_(left))
    return S, signed, g_projection


def _where(signs: Tensor, g: Tensor, out: Tensor) -> Tensor:
    """Write g (c,) to where the signs (c, t) are 1, and 0 elsewhere."""
    if out.dtype != torch.bfloat16:
        return out.copy_(signs).mul_(g.unsqueeze(1))
    bits = out.view(torch.int16)  # as integers in a third of the time
    bits.copy_(signs).mul_(g.view(torch.int16).unsqueeze(1))
    return out


def _sum_pairs(vectors: Tensor) -> Tensor:
    """Sum over the pairs, (c, k) -> (k,), first of eight: each core so reads rows that it wrote, not columns of all."""
    return vectors.view(-1, 8, vectors.shape[1]).sum(1).sum(0)


def _dot_each(vectors: Tensor, table: Tensor, rows: Tensor, starts: Tensor, distinct: Tensor) -> Tensor:
    """Return ``vectors[d] . table[row]`` for each row that pair d occurs in: (c, k), (B, k) -> (occurrences,)."""
    # What embedding_bag does for the gradient of its per-sample weights; no public function is as fast.
    product: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(  # noqa: SLF001
        vectors, table, rows, starts[:-1], distinct, 0
    )
    return product
