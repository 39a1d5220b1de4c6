"""The attention network on the distinct pairs of a batch, one cache-sized chunk at a time, forward and backward."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from skafm.nn._pairs.dedup import DistinctPairs


class Settings(NamedTuple):
    """How the network is computed."""

    matmul_dtype: torch.dtype
    """Type of the factors of the matrix products."""
    chunk_elements: int
    """Most numbers of a (c, k) or (c, t) tensor, except that a chunk has at least 8 pairs."""
    training: bool
    """Whether gradients are needed."""


class Chunks:
    """The distinct pairs, one chunk at a time, in buffers that all chunks share, forward and backward.

    So a buffer's rows stay in the cache of the core that wrote them, as far as the operations allow: to read what
    another core has written can take ten times as long.
    """

    def __init__(
        self, entries: Tensor, dropout_mask: Tensor | None, t: int, pairs: DistinctPairs, settings: Settings
    ) -> None:
        self.entries, self.dropout_mask, self.pairs = entries, dropout_mask, pairs
        self.matmul_dtype, self.training = settings.matmul_dtype, settings.training
        k, n = entries.shape[1], len(pairs.left)
        n_chunks = max(-(-n * max(k, t) // settings.chunk_elements), 1)
        # The same size for all chunks, since a small last one would cost as many calls: a multiple of 8, as n is.
        self.size = max(-(-n // (8 * n_chunks)), 1) * 8
        self.all = [slice(start, min(start + self.size, n)) for start in range(0, n, self.size)]
        self.product, self.right = (entries.new_empty(self.size, k) for _ in range(2))
        self.hidden = entries.new_empty(self.size, t)
        self.cast_product, self.cast_hidden = (
            x if x.dtype == self.matmul_dtype else torch.empty_like(x, dtype=self.matmul_dtype)
            for x in (self.product, self.hidden)
        )
        self.loaded: slice | None = None
        if dropout_mask is not None:
            self.rows = pairs.rows.row.index_select(0, pairs.order)  # (P,)
            # The first pair of each chunk: the host reads them once, or with a single chunk not at all.
            self.firsts = pairs.offsets[:: self.size].tolist() if n > self.size else [0]
            self.firsts.append(len(pairs.order))

    def load(self, chunk: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Return the product of each pair's entries, the second entry, and the product as matmul_dtype: (c, k) each."""
        product, right, cast = (x[: chunk.stop - chunk.start] for x in (self.product, self.right, self.cast_product))
        if chunk != self.loaded:
            torch.index_select(self.entries, 0, self.pairs.left[chunk], out=product)
            torch.index_select(self.entries, 0, self.pairs.right[chunk], out=right)
            product.mul_(right)
            if cast.dtype != product.dtype:
                cast.copy_(product)
        self.loaded = None  # a caller that does not change the buffers sets it again
        return product, right, cast

    def occurrences(self, chunk: slice) -> tuple[Tensor, slice, Tensor]:
        """Return the rows of the chunk's pairs, their slice of ``pairs.order``, and the offsets in it."""
        number = chunk.start // self.size
        where = slice(self.firsts[number], self.firsts[number + 1])
        return self.rows[where], where, self.pairs.offsets[chunk.start : chunk.stop + 1] - where.start


def logits_and_scores(
    chunks: Chunks, weight: Tensor, bias: Tensor, attention_projection: Tensor, projection: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits (D,), scores, (C, D) or with dropout (C, P) by distinct pair, and, in training, signs (D, t)."""
    pairs, dropout_mask, n = chunks.pairs, chunks.dropout_mask, len(chunks.pairs.left)
    logits = weight.new_empty(n)
    scores = weight.new_empty(len(projection), n if dropout_mask is None else len(pairs.order))
    signs = torch.empty(n, len(weight), dtype=torch.uint8, device=weight.device) if chunks.training else None
    weight_T = weight.to(chunks.matmul_dtype).T
    if dropout_mask is not None:
        masked = [dropout_mask * each for each in projection]  # C of (B, k)
        inverse = pairs.inverse.index_select(0, pairs.order)  # (P,)
    for chunk in chunks.all:
        product, _, cast = chunks.load(chunk)
        hidden = _hidden(chunks, cast, weight_T, bias)  # (c, t)
        if signs is not None:
            signs[chunk].view(torch.bool).copy_(hidden)  # written as bool, read as bytes: each is the faster way
        torch.sum(hidden.mul_(attention_projection), 1, out=logits[chunk])  # mv would read rows of other cores
        if dropout_mask is None:
            last = None if chunks.training else len(projection) - 1  # product is no longer needed then
            for output, each in enumerate(projection):
                weighted = product.mul_(each) if output == last else product * each
                torch.sum(weighted, 1, out=scores[output, chunk])
        else:
            rows, where, offsets = chunks.occurrences(chunk)
            local = inverse[where] - chunk.start  # (occurrences,)
            for output, table in zip(scores, masked, strict=True):
                output[where] = dot_occurrences(product, table, rows, offsets, local)
        if chunks.training:
            chunks.loaded = chunk  # the backward pass begins with the last one
    return logits, scores, signs


def _hidden(chunks: Chunks, product: Tensor, weight_T: Tensor, bias: Tensor) -> Tensor:
    """Return ReLU(W e + b), (c, t), with a matrix product in ``matmul_dtype``."""
    cast = chunks.cast_hidden[: len(product)]
    if cast.dtype == bias.dtype:
        return torch.addmm(bias, product, weight_T, out=cast).relu_()
    torch.mm(product, weight_T, out=cast)
    return chunks.hidden[: len(product)].copy_(cast).add_(bias).relu_()


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
    pairs, dropout_mask, dtype = chunks.pairs, chunks.dropout_mask, chunks.matmul_dtype
    S, signed, g_projection = torch.zeros_like(scaled), scaled.new_zeros(len(scaled)), torch.zeros_like(projection)
    scaled = scaled.to(dtype)
    for chunk in reversed(chunks.all):
        product, right, cast = chunks.load(chunk)
        gm = _where(signs[chunk], g_logits[chunk].to(dtype), chunks.cast_hidden[: len(cast)])  # (c, t)
        signed += gm.sum(0)
        S += torch.mm(gm.T, cast)
        if dropout_mask is None:
            g_projection += g_scores[:, chunk] @ product
            g_product = g_scores[:, chunk].T @ projection  # (c, k)
        else:
            rows, where, offsets = chunks.occurrences(chunk)
            for output, each in enumerate(projection):
                masked = _sum_bags(rows, dropout_mask, offsets, g_scores[output, where])  # (c, k)
                last = output == len(projection) - 1  # product is no longer needed then
                g_projection[output] += _sum_over_pairs(product.mul_(masked) if last else product * masked)
                g_product = masked.mul_(each) if output == 0 else g_product.addcmul_(masked, each)
        if dtype == g_product.dtype:
            g_product.addmm_(gm, scaled)
        else:  # to add bfloat16 to float32 takes longer than to convert it first
            g_product.add_(product.copy_(torch.mm(gm, scaled, out=cast)))
        g_entries.index_add_(0, pairs.left[chunk], right.mul_(g_product))
        left = torch.index_select(chunks.entries, 0, pairs.left[chunk], out=product)
        g_entries.index_add_(0, pairs.right[chunk], g_product.mul_(left))
    return S, signed, g_projection


def _where(signs: Tensor, g: Tensor, out: Tensor) -> Tensor:
    """Write g (c,) where the signs (c, t) are 1, and 0 elsewhere."""
    if out.dtype != torch.bfloat16:
        return out.copy_(signs).mul_(g.unsqueeze(1))
    bits = out.view(torch.int16)  # a third of the time as integers
    bits.copy_(signs).mul_(g.view(torch.int16).unsqueeze(1))
    return out


def _sum_bags(indices: Tensor, table: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    return embedding_bag(indices, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)


def _sum_over_pairs(vectors: Tensor) -> Tensor:
    """Sum over the pairs, (c, k) -> (k,), first over groups of eight: each core then reads rows that it wrote."""
    return vectors.view(-1, 8, vectors.shape[1]).sum(1).sum(0)


_EMBEDDING_BAG_BACKWARD = getattr(torch.ops.aten, "_embedding_bag_per_sample_weights_backward", None)
"""Private in torch: the gradient of embedding_bag's per-sample weights. No public function is as fast."""


def dot_occurrences(vectors: Tensor, table: Tensor, rows: Tensor, offsets: Tensor, inverse: Tensor) -> Tensor:
    """Return ``vectors[d] . table[row]`` for each row that distinct pair d occurs in.

    Parameters
    ----------
    vectors, table : Tensor of shape (c, k), (B, k)
    rows, inverse : Tensor of shape (occurrences,)
        Row and distinct pair of each occurrence.
    offsets : Tensor of shape (c + 1,)
        Distinct pair d has the occurrences ``offsets[d]:offsets[d + 1]``.

    Returns
    -------
    Tensor of shape (occurrences,)
    """
    if _EMBEDDING_BAG_BACKWARD is None:
        return (vectors.index_select(0, inverse) * table.index_select(0, rows)).sum(1)
    product: Tensor = _EMBEDDING_BAG_BACKWARD(vectors, table, rows, offsets[:-1], inverse, 0)
    return product
