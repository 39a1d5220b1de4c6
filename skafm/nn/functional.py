"""The formulas of factorization machines, as pure functions of ragged rows.

A batch of B rows is three tensors, as in :func:`torch.nn.functional.embedding_bag`: ``indices`` (N,), the feature of
each non-zero entry; ``values`` (N,), its value x_i; ``offsets`` (B + 1,), row r being the entries
``offsets[r]:offsets[r + 1]``. Within a row the features are distinct.

Letters in shapes: B rows, N entries, P pairs, k factors, t attention size.
"""

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


def _sum_entries(table: Tensor, indices: Tensor, values: Tensor, offsets: Tensor) -> Tensor:
    """Sum ``table[i] * x_i`` over the entries of each row: (n_features, k) -> (B, k)."""
    return embedding_bag(indices, table, offsets, mode="sum", per_sample_weights=values, include_last_offset=True)


def linear(weight: Tensor, indices: Tensor, values: Tensor, offsets: Tensor) -> Tensor:
    """Return ``sum_i w_i x_i`` of each row (the linear part of Eq. 1).

    Parameters
    ----------
    weight : Tensor of shape (n_features,)
    indices, values, offsets : Tensor
        The batch, see the module's docstring.

    Returns
    -------
    Tensor of shape (B,)
    """
    return _sum_entries(weight.unsqueeze(1), indices, values, offsets).squeeze(1)


def bi_interaction(factors: Tensor, indices: Tensor, values: Tensor, offsets: Tensor) -> Tensor:
    """Return ``sum_{i<j} (v_i * v_j) x_i x_j`` of each row, in time linear in the entries.

    Rendle (2010), Lemma 3.1: ``1/2 [(sum_i v_i x_i)^2 - sum_i (v_i x_i)^2]``, factor by factor. Its sum over the
    factors is the interaction term of Eq. 1.

    Parameters
    ----------
    factors : Tensor of shape (n_features, k)
    indices, values, offsets : Tensor
        The batch, see the module's docstring.

    Returns
    -------
    Tensor of shape (B, k)
    """
    total = _sum_entries(factors, indices, values, offsets)  # (B, k)
    squares = _sum_entries(factors.square(), indices, values.square(), offsets)  # (B, k)
    return (total.square() - squares) / 2


def pairs(offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Enumerate the pairs of entries of each row, R_x in the paper.

    Parameters
    ----------
    offsets : Tensor of shape (B + 1,)

    Returns
    -------
    left, right : Tensor of shape (P,)
        Positions of the two entries of each pair among the N entries, left < right, row after row.
    pair_offsets : Tensor of shape (B + 1,)
        The pairs of row r are ``pair_offsets[r]:pair_offsets[r + 1]``.
    """
    lengths = offsets.diff()  # (B,)
    entries = torch.arange(int(lengths.sum()), device=offsets.device)  # (N,)
    partners = offsets[1:].repeat_interleave(lengths) - entries - 1  # (N,) later entries of the same row
    first = partners.cumsum(0) - partners  # (N,) an entry's first pair
    left = entries.repeat_interleave(partners)  # (P,)
    right = left + 1 + torch.arange(len(left), device=offsets.device) - first[left]  # (P,)
    pair_offsets = torch.nn.functional.pad((lengths * (lengths - 1) // 2).cumsum(0), (1, 0))  # (B + 1,)
    return left, right, pair_offsets


def attention_logits(interactions: Tensor, weight: Tensor, bias: Tensor, projection: Tensor) -> Tensor:
    """Return ``a'_ij = h' ReLU(W (v_i * v_j) x_i x_j + b)`` (Eq. 5, first line).

    Parameters
    ----------
    interactions : Tensor of shape (P, k)
        The interacted vectors ``(v_i * v_j) x_i x_j`` of Eq. 2.
    weight, bias, projection : Tensor of shape (t, k), (t,), (t,)
        W, b and h.

    Returns
    -------
    Tensor of shape (P,)
    """
    return torch.addmm(bias, interactions, weight.T).relu() @ projection  # (P, t) -> (P,)


def segment_softmax(logits: Tensor, segments: Tensor, n_segments: int) -> Tensor:
    """Return the softmax of ``logits`` within each segment (Eq. 5, second line, a segment being a row).

    Parameters
    ----------
    logits : Tensor of shape (P,)
    segments : Tensor of shape (P,)
        The segment of each logit, from 0 to ``n_segments - 1``; a segment may be empty.
    n_segments : int

    Returns
    -------
    Tensor of shape (P,)
    """
    highest = logits.new_full((n_segments,), -torch.inf)
    # The softmax does not depend on the shift, so no gradient flows through it.
    highest = highest.scatter_reduce(0, segments, logits.detach(), "amax")
    exponential = (logits - highest[segments]).exp()  # (P,)
    total = exponential.new_zeros(n_segments).index_add(0, segments, exponential)  # (n_segments,)
    return exponential / total.index_select(0, segments)


def pool(interactions: Tensor, attention: Tensor, pair_offsets: Tensor) -> Tensor:
    """Return ``sum a_ij (v_i * v_j) x_i x_j`` over the pairs of each row (Eq. 4).

    Parameters
    ----------
    interactions : Tensor of shape (P, k)
    attention : Tensor of shape (P,)
    pair_offsets : Tensor of shape (B + 1,)
        The pairs of row r are ``pair_offsets[r]:pair_offsets[r + 1]``.

    Returns
    -------
    Tensor of shape (B, k)
        Zero for a row without a pair.
    """
    every = torch.arange(len(interactions), device=interactions.device)
    return _sum_entries(interactions, every, attention, pair_offsets)


def dropout(values: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero each element with probability ``p`` and divide the others by ``1 - p`` (Srivastava et al., 2014).

    Unlike :func:`torch.nn.functional.dropout` it draws from a generator of the caller's.

    Parameters
    ----------
    values : Tensor
    p : float
        From 0, which returns ``values`` itself, to below 1.
    generator : torch.Generator, optional
        On the device of ``values``; by default torch's global one.

    Returns
    -------
    Tensor
        Of the shape of ``values``.
    """
    if p == 0:
        return values
    drawn = torch.rand(values.shape, generator=generator, device=values.device, dtype=values.dtype)
    return values * (drawn >= p) / (1 - p)
