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
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from skafm.nn import functional, pooling, weighting
from skafm.nn.again import Again
from skafm.nn.attention import Settings
from skafm.nn.distinct import common_length, count_pairs, cut_row, distinct_entries, find_pairs, find_places

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
            both = weighting.Pooling.apply(pairs, layout, settings, *learnt)  # type: ignore[no-untyped-call]
        else:
            both = weighting.Interaction.apply(pairs, keep, settings, *learnt)  # type: ignore[no-untyped-call]
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
