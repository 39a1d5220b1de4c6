"""Attention over the pairs of a batch, by the path that suits the batch.

====================  ================================================================================================
batch                 path
====================  ================================================================================================
one row, prediction   ``_pool_one_row``: its pairs are distinct, and few calls matter more than anything else
few pairs             the reference implementation: to find the distinct pairs takes longer than to compute all of them
many pairs            ``_attend_to_distinct``: each distinct pair once
one very long row     the same in parts, each as if it were a row; softmax denominators weight their average, and the
                      backward pass computes each part again
====================  ================================================================================================
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from skafm.nn import functional
from skafm.nn._pairs import autograd, blocks
from skafm.nn._pairs.checkpoint import Checkpoint
from skafm.nn._pairs.dedup import (
    common_length,
    count_pairs,
    distinct_entries,
    distinct_pairs,
    pair_positions,
    split_row,
)
from skafm.nn._pairs.network import Settings

MAX_PLAIN_ELEMENTS = 2**17
"""Most numbers of a (P, k) or (P, t) tensor for the reference implementation, which then fits the caches."""


def attentional_interaction(
    factors: Tensor,
    weight: Tensor,
    bias: Tensor,
    attention_projection: Tensor,
    projection: Tensor,
    indices: Tensor,
    values: Tensor | None,
    offsets: Tensor,
    dropout_mask: Tensor | None = None,
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
        The batch, see :mod:`skafm.nn.functional`; ``values`` is None if all are 1.
    dropout_mask : Tensor of shape (B, k), optional
        Factors that multiply each row's pooled vector.
    max_pairs, matmul_dtype, chunk_elements
        As for :func:`attentional_pooling`.

    Returns
    -------
    Tensor of shape (B,) or (B, C)
    """
    parameters, batch = (factors, weight, bias, attention_projection), (indices, values, offsets)
    limits = _limits(factors, max_pairs, matmul_dtype, chunk_elements)
    if projection.ndim > 1 and len(projection) > projection.shape[1]:  # more outputs than factors: pool first
        pooled = _attend(parameters, batch, limits)
        return linear(pooled if dropout_mask is None else pooled * dropout_mask, projection)
    if projection.ndim > 1:
        return _attend(parameters, batch, limits, projection, dropout_mask)
    return _attend(parameters, batch, limits, projection.unsqueeze(0), dropout_mask).squeeze(1)


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
        The batch, see :mod:`skafm.nn.functional`; ``values`` is None if all are 1.
    max_pairs : int, default=2**22
        A single row of more pairs is processed in parts.
    matmul_dtype : torch.dtype, optional
        Type of the factors of the three matrix products; by default that of the parameters.
    chunk_elements : int, optional
        Most numbers in a chunk's (c, k) or (c, t) tensor; by default what suits the device.

    Returns
    -------
    Tensor of shape (B, k)
    """
    limits = _limits(factors, max_pairs, matmul_dtype, chunk_elements)
    return _attend((factors, weight, bias, attention_projection), (indices, values, offsets), limits)


def pair_bytes(attention_size: int) -> int:
    """Return the memory in bytes that a pair needs: its position, what finding it takes, its numbers, and t signs."""
    return 256 + attention_size


class _Limits(NamedTuple):
    max_pairs: int
    matmul_dtype: torch.dtype
    chunk_elements: int
    plain_elements: int
    """Most numbers (P, k) or (P, t) for the reference implementation."""


def _limits(factors: Tensor, max_pairs: int, matmul_dtype: torch.dtype | None, chunk_elements: int | None) -> _Limits:
    """Fill in the defaults: a chunk is what a CPU's caches hold, or a fraction of the free CUDA memory."""
    plain_elements = 0
    if chunk_elements is None:
        chunk_elements, plain_elements = 2**20, MAX_PLAIN_ELEMENTS
        if factors.device.type == "cuda":
            chunk_elements = int(torch.cuda.mem_get_info(factors.device)[0]) // (32 * factors.element_size())
    return _Limits(max_pairs, matmul_dtype or factors.dtype, chunk_elements, plain_elements)


def _attend(
    parameters: tuple[Tensor, Tensor, Tensor, Tensor],
    batch: tuple[Tensor, Tensor | None, Tensor],
    limits: _Limits,
    projection: Tensor | None = None,
    dropout_mask: Tensor | None = None,
) -> Tensor:
    """Return the pooled vectors (B, k), or with a projection (C, k) its products with them (B, C)."""
    indices, values, offsets = batch
    optional = () if projection is None else (projection,)
    training = torch.is_grad_enabled() and any(each.requires_grad for each in (*parameters, *optional))
    n_rows = len(offsets) - 1
    length = len(indices) if n_rows == 1 else common_length(offsets, len(indices))
    n_pairs, widest = count_pairs(offsets, length), max(parameters[1].shape)
    if n_rows == 1 and not training and n_pairs * widest <= limits.chunk_elements:
        pooled = _pool_one_row(parameters, indices, values)
    elif n_pairs * widest <= limits.plain_elements and n_pairs <= limits.max_pairs:
        pooled = functional.attentional_pooling(*parameters, *batch)
    else:
        return _attend_to_distinct(parameters, batch, length, limits, projection, dropout_mask, training)
    if projection is None:
        return pooled
    return linear(pooled if dropout_mask is None else pooled * dropout_mask, projection)


def _attend_to_distinct(
    parameters: tuple[Tensor, Tensor, Tensor, Tensor],
    batch: tuple[Tensor, Tensor | None, Tensor],
    length: int | None,
    limits: _Limits,
    projection: Tensor | None,
    dropout_mask: Tensor | None,
    training: bool,
) -> Tensor:
    """Do that with each distinct pair once; ``length`` is the entries of each row, if all rows have the same number."""
    (factors, *network), (indices, values, offsets) = parameters, batch
    entries, entry_index = distinct_entries(factors, indices, values)
    n_rows, settings = len(offsets) - 1, Settings(limits.matmul_dtype, limits.chunk_elements, training)

    def attend(part: slice, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        positions = pair_positions(offsets, len(indices), length, part)
        pairs = distinct_pairs(entry_index, positions, len(entries))
        both: tuple[Tensor, Tensor]
        if projection is None:
            block_entries = limits.chunk_elements // entries.shape[1]
            layout = blocks.lay_out(entry_index, offsets, positions, length, part, block_entries)
            both = autograd.PoolingFunction.apply(pairs, layout, settings, *tensors)  # type: ignore[no-untyped-call]
        else:
            both = autograd.InteractionFunction.apply(  # type: ignore[no-untyped-call]
                pairs, dropout_mask, settings, *tensors
            )
        return both

    parts = split_row(len(indices), limits.max_pairs) if n_rows == 1 else [slice(None)]
    tensors = (entries, *network) if projection is None else (entries, *network, projection)
    if len(parts) == 1:
        return attend(parts[0], *tensors)[0]
    found = [Checkpoint.apply(partial(attend, part), *tensors) for part in parts]  # type: ignore[no-untyped-call]
    results, denominators = (torch.stack(each) for each in zip(*found, strict=True))  # (parts, 1, C or k), (parts, 1)
    return (denominators.softmax(0).unsqueeze(2) * results).sum(0)


def _pool_one_row(parameters: tuple[Tensor, Tensor, Tensor, Tensor], indices: Tensor, values: Tensor | None) -> Tensor:
    """Return the pooled vector (1, k) of one row, in as few calls as possible: they are what a short row costs."""
    factors, *network = parameters
    left, right = torch.triu_indices(len(indices), len(indices), 1, device=indices.device)  # (P,), (P,)
    embedded = factors.index_select(0, indices)  # (N, k)
    if values is not None:
        embedded = embedded * values.unsqueeze(1)
    interactions = embedded.index_select(0, left) * embedded.index_select(0, right)  # (P, k)
    logits = functional.attention_logits(interactions, *network)  # (P,)
    return (logits.softmax(0) @ interactions).unsqueeze(0)
