"""The formulas of factorization machines, as pure functions of ragged batches.

A batch of B rows is three tensors, as in :func:`torch.nn.functional.embedding_bag`: ``indices`` (N,), the feature of
each non-zero entry; ``values`` (N,), its value x_i; and ``offsets`` (B + 1,): the entries of row r are
``offsets[r]:offsets[r + 1]``. The features of a row are distinct.

Letters in shapes: B rows, N entries, P pairs, k factors, t attention size, C outputs. Equations are those of Xiao et
al. (2017) unless another source is given.

These functions are the reference implementations. The models use faster ones, ``skafm.nn._sparse_ops`` and
``skafm.nn._pairs``, which the tests compare with these.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

__all__ = [
    "anova",
    "attention_logits",
    "attentional_interaction",
    "attentional_pooling",
    "bi_interaction",
    "dropout_mask",
    "linear",
    "pairs",
    "pool",
    "row_of_entry",
    "segment_softmax",
    "sum_entries",
]


def row_of_entry(offsets: Tensor, n_entries: int | None = None) -> Tensor:
    """Return the row of each entry.

    Parameters
    ----------
    offsets : Tensor of shape (B + 1,)
        Index of the first entry of each row, and N.
    n_entries : int, optional
        N, if known; saves a synchronization with the GPU.

    Returns
    -------
    Tensor of shape (N,)
        From 0 to B - 1, non-decreasing.

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import row_of_entry
    >>> row_of_entry(torch.tensor([0, 3, 3, 4]))
    tensor([0, 0, 0, 2])
    """
    rows = torch.arange(len(offsets) - 1, device=offsets.device)
    return rows.repeat_interleave(offsets.diff(), output_size=n_entries)


def sum_entries(table: Tensor, indices: Tensor, values: Tensor | None, offsets: Tensor) -> Tensor:
    """Return ``sum_i table_i x_i`` of each row: the product of the batch, as a sparse matrix, with a table.

    Parameters
    ----------
    table : Tensor of shape (n_features, k)
        One vector for each feature.
    indices, values, offsets : Tensor
        The batch, see :mod:`skafm.nn.functional`; ``values`` may be None if all are 1.

    Returns
    -------
    Tensor of shape (B, k)

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import sum_entries
    >>> indices, values, offsets = torch.tensor([0, 1, 2, 1]), torch.tensor([1.0, 2, 3, 4]), torch.tensor([0, 3, 4])
    >>> V = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    >>> sum_entries(V, indices, values, offsets)  # 1 v_0 + 2 v_1 + 3 v_2, and 4 v_1
    tensor([[3., 8.],
            [4., 4.]])
    """
    return embedding_bag(indices, table, offsets, mode="sum", per_sample_weights=values, include_last_offset=True)


def linear(weight: Tensor, indices: Tensor, values: Tensor, offsets: Tensor) -> Tensor:
    """Return ``sum_i w_i x_i`` of each row, the linear part of a factorization machine.

    Parameters
    ----------
    weight : Tensor of shape (n_features,)
        Linear weights w.
    indices, values, offsets : Tensor
        The batch, see :mod:`skafm.nn.functional`.

    Returns
    -------
    Tensor of shape (B,)

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import linear
    >>> indices, values, offsets = torch.tensor([0, 1, 2, 1]), torch.tensor([1.0, 2, 3, 4]), torch.tensor([0, 3, 4])
    >>> linear(torch.tensor([1.0, 0.5, 2.0]), indices, values, offsets)  # 1 + 0.5 * 2 + 2 * 3, and 0.5 * 4
    tensor([8., 2.])
    """
    return sum_entries(weight.unsqueeze(1), indices, values, offsets).squeeze(1)


def bi_interaction(factors: Tensor, indices: Tensor, values: Tensor, offsets: Tensor) -> Tensor:
    """Return ``sum_{i<j} (v_i * v_j) x_i x_j`` of each row, in time linear in the number of entries.

    By Lemma 3.1 of Rendle (2010) it is ``1/2 [(sum_i v_i x_i)^2 - sum_i (v_i x_i)^2]``, with elementwise squares. The
    sum over the factors is the interaction term of Eq. 1.

    Parameters
    ----------
    factors : Tensor of shape (n_features, k)
        Embeddings V.
    indices, values, offsets : Tensor
        The batch, see :mod:`skafm.nn.functional`.

    Returns
    -------
    Tensor of shape (B, k)

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import bi_interaction
    >>> indices, values, offsets = torch.tensor([0, 1, 2, 1]), torch.tensor([1.0, 2, 3, 4]), torch.tensor([0, 3, 4])
    >>> V = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    >>> bi_interaction(V, indices, values, offsets)  # (v_0 * v_1) 2 + (v_0 * v_2) 3 + (v_1 * v_2) 6, and no pair
    tensor([[ 2., 12.],
            [ 0.,  0.]])
    """
    total = sum_entries(factors, indices, values, offsets)  # (B, k)
    squares = sum_entries(factors.square(), indices, values.square(), offsets)  # (B, k)
    return (total.square() - squares) / 2


def pairs(offsets: Tensor, n_entries: int | None = None, part: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor]:
    """Enumerate the pairs of entries of each row.

    The pairs of a row are the set R_x of the paper.

    Parameters
    ----------
    offsets : Tensor of shape (B + 1,)
        Index of the first entry of each row, and N.
    n_entries : int, optional
        N, if known; saves a synchronization with the GPU.
    part : slice, optional
        Entries whose pairs to return, as left entries; by default all.

    Returns
    -------
    left, right : Tensor of shape (P,)
        Indices of the two entries of each pair, left < right, ordered by row and left entry.
    rows : Tensor of shape (P,)
        Row of each pair.

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import pairs
    >>> pairs(torch.tensor([0, 3, 4]))  # a row of three entries, and one of one
    (tensor([0, 0, 1]), tensor([1, 2, 2]), tensor([0, 0, 0]))
    """
    row = row_of_entry(offsets, n_entries)  # (N,)
    entries = torch.arange(len(row), device=row.device)[part]  # (part of N,)
    row = row[part]
    n_right = offsets[1:].index_select(0, row) - entries - 1  # (part of N,), later entries of the same row
    first_pair = n_right.cumsum(0) - n_right  # (part of N,)
    left = torch.arange(len(entries), device=row.device).repeat_interleave(n_right)  # (P,), within the part
    right = (entries + 1 - first_pair).index_select(0, left) + torch.arange(len(left), device=row.device)  # (P,)
    return entries.index_select(0, left), right, row.index_select(0, left)


def attention_logits(interactions: Tensor, weight: Tensor, bias: Tensor, projection: Tensor) -> Tensor:
    """Return the attention logits ``a'_ij = h' ReLU(W (v_i * v_j) x_i x_j + b)`` of pairs.

    This is the first line of Eq. 5.

    Parameters
    ----------
    interactions : Tensor of shape (P, k)
        Interacted vectors ``(v_i * v_j) x_i x_j`` of Eq. 2.
    weight, bias, projection : Tensor of shape (t, k), (t,), (t,)
        W, b and h of the attention network.

    Returns
    -------
    Tensor of shape (P,)

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import attention_logits
    >>> W, b, h = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0])
    >>> attention_logits(torch.tensor([[3.0, -4.0], [0.0, 1.0]]), W, b, h)  # 1 * 3 + 2 * 0, and 1 * 0 + 2 * 2
    tensor([3., 4.])
    """
    return torch.addmm(bias, interactions, weight.T).relu() @ projection  # (P, t) -> (P,)


def segment_softmax(logits: Tensor, segments: Tensor, n_segments: int) -> tuple[Tensor, Tensor]:
    """Return the softmax of ``logits`` within each segment.

    With the rows as segments it is the second line of Eq. 5.

    Parameters
    ----------
    logits : Tensor of shape (P,)
        Logits, finite.
    segments : Tensor of shape (P,)
        Segment of each logit, from 0 to ``n_segments - 1``, in any order.
    n_segments : int
        Number of segments, including empty ones.

    Returns
    -------
    softmax : Tensor of shape (P,)
        Softmax; sums to 1 over each segment that is not empty.
    logsumexp : Tensor of shape (n_segments,)
        Logarithm of the softmax denominator of each segment; minus infinity for an empty segment.

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import segment_softmax
    >>> softmax, _ = segment_softmax(torch.tensor([0.0, 0.0, 5.0]), torch.tensor([0, 0, 2]), n_segments=3)
    >>> softmax
    tensor([0.5000, 0.5000, 1.0000])
    """
    maximum = logits.new_full((n_segments,), -torch.inf)
    # Detached: the softmax does not depend on the shift, so no gradient flows through it.
    maximum = maximum.scatter_reduce(0, segments, logits.detach(), "amax")
    exponentials = (logits - maximum.index_select(0, segments)).exp()  # (P,)
    denominator = exponentials.new_zeros(n_segments).index_add(0, segments, exponentials)  # (n_segments,)
    return exponentials / denominator.index_select(0, segments), maximum + denominator.log()


def pool(interactions: Tensor, attention: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """Return the sum of the interactions of each row, weighted by attention.

    This is the attention-based pooling of Eq. 4, ``sum a_ij (v_i * v_j) x_i x_j`` over the pairs of the row.

    Parameters
    ----------
    interactions : Tensor of shape (P, k)
        Interacted vectors ``(v_i * v_j) x_i x_j`` of Eq. 2.
    attention : Tensor of shape (P,)
        Attention weights a_ij.
    rows : Tensor of shape (P,)
        Row of each pair, from 0 to ``n_rows - 1``.
    n_rows : int
        B, including rows without pairs.

    Returns
    -------
    Tensor of shape (B, k)
        Zero for rows without pairs.

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import pool
    >>> interactions, rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0, 0])
    >>> pool(interactions, torch.tensor([0.25, 0.75]), rows, n_rows=2)  # the second row has no pair
    tensor([[2.5000, 3.5000],
            [0.0000, 0.0000]])
    """
    zeros = interactions.new_zeros(n_rows, interactions.shape[1])
    return zeros.index_add(0, rows, attention.unsqueeze(1) * interactions)


def attentional_pooling(
    factors: Tensor,
    weight: Tensor,
    bias: Tensor,
    attention_projection: Tensor,
    indices: Tensor,
    values: Tensor | None,
    offsets: Tensor,
) -> Tensor:
    """Return ``sum_{i<j} a_ij (v_i * v_j) x_i x_j`` of each row, pair by pair.

    This is the attention-based pooling of Eq. 4, with the attention weights of Eq. 5.

    Parameters
    ----------
    factors, weight, bias, attention_projection : Tensor of shape (n_features, k), (t, k), (t,), (t,)
        Embeddings V, and W, b and h of the attention network.
    indices, values, offsets : Tensor
        The batch, see :mod:`skafm.nn.functional`; ``values`` may be None if all are 1.

    Returns
    -------
    Tensor of shape (B, k)

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import attentional_pooling
    >>> indices, values, offsets = torch.tensor([0, 1, 2, 1]), torch.tensor([1.0, 2, 3, 4]), torch.tensor([0, 3, 4])
    >>> V = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    >>> W, b, h = torch.ones(1, 2), torch.zeros(1), torch.zeros(1)  # h = 0: uniform attention, a mean
    >>> attentional_pooling(V, W, b, h, indices, values, offsets)
    tensor([[0.6667, 4.0000],
            [0.0000, 0.0000]])
    """
    left, right, rows = pairs(offsets, len(indices))
    embedded = factors.index_select(0, indices)  # (N, k)
    if values is not None:
        embedded = embedded * values.unsqueeze(1)
    interactions = embedded.index_select(0, left) * embedded.index_select(0, right)  # (P, k), Eq. 2
    logits = attention_logits(interactions, weight, bias, attention_projection)  # (P,)
    attention, _ = segment_softmax(logits, rows, len(offsets) - 1)  # (P,)
    return pool(interactions, attention, rows, len(offsets) - 1)


def anova(power_sums: Sequence[Tensor]) -> Tensor:
    """Return the ANOVA kernel of degree m of numbers z_i, from their power sums.

    The kernel ``A_m = sum_{i_1 < ... < i_m} z_{i_1} ... z_{i_m}`` follows from the power sums ``D_t = sum_i z_i^t``,
    t = 1 to m, by the recursion ``A_m = 1/m sum_{t=1}^m (-1)^{t+1} A_{m-t} D_t`` with ``A_0 = 1`` (Blondel et al.,
    2016, "Higher-Order Factorization Machines", Eq. 7). With z_i = v_i x_i the time is linear in the number of entries.
    For m = 2 it is Rendle's identity.

    Parameters
    ----------
    power_sums : sequence of Tensor
        D_1 to D_m, all of the same shape.

    Returns
    -------
    Tensor of the same shape

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import anova
    >>> z = torch.tensor([1.0, 2.0, 3.0])
    >>> anova([(z**t).sum() for t in (1, 2)])  # 1 * 2 + 1 * 3 + 2 * 3
    tensor(11.)
    """
    kernels = [torch.ones_like(power_sums[0])]
    for degree in range(1, len(power_sums) + 1):
        terms = [(-1) ** (t + 1) * kernels[degree - t] * power_sums[t - 1] for t in range(1, degree + 1)]
        kernels.append(torch.stack(terms).sum(0) / degree)
    return kernels[-1]


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
) -> Tensor:
    """Return ``p' sum_{i<j} a_ij (v_i * v_j) x_i x_j`` of each row, pair by pair.

    This is the interaction term of Eq. 6.

    Parameters
    ----------
    factors, weight, bias, attention_projection, projection : Tensor of shape (n_features, k), (t, k), (t,), (t,), (k,)
        Embeddings V, W, b and h of the attention network, and p. With C outputs p is (C, k).
    indices, values, offsets : Tensor
        The batch, see :mod:`skafm.nn.functional`; ``values`` may be None if all are 1.
    dropout_mask : Tensor of shape (B, k), optional
        Mask that multiplies the pooled vectors, see :func:`dropout_mask`.

    Returns
    -------
    Tensor of shape (B,) or (B, C)

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import attentional_interaction
    >>> indices, values, offsets = torch.tensor([0, 1, 2, 1]), torch.tensor([1.0, 2, 3, 4]), torch.tensor([0, 3, 4])
    >>> V = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    >>> W, b, h, p = torch.ones(1, 2), torch.zeros(1), torch.zeros(1), torch.tensor([3.0, 3.0])
    >>> attentional_interaction(V, W, b, h, p, indices, values, offsets)  # uniform attention, p = 3 for 3 pairs: an FM
    tensor([14.,  0.])
    """
    pooled = attentional_pooling(factors, weight, bias, attention_projection, indices, values, offsets)  # (B, k)
    return torch.nn.functional.linear(pooled if dropout_mask is None else pooled * dropout_mask, projection)


def dropout_mask(shape: tuple[int, ...], p: float, generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Draw a dropout mask: 0 with probability p, otherwise ``1 / (1 - p)`` (Srivastava et al., 2014).

    Parameters
    ----------
    shape : tuple of int
        Shape of the mask.
    p : float
        Probability of dropping an element, at least 0 and below 1; rounded to a multiple of 2^-16.
    generator : torch.Generator or None
        Random generator on the device of ``like``; None is torch's global one.
    like : Tensor
        Tensor whose device and dtype the mask gets.

    Returns
    -------
    Tensor of shape ``shape``

    Examples
    --------
    >>> import torch
    >>> from skafm.nn.functional import dropout_mask
    >>> mask = dropout_mask((2, 3), 0.5, torch.Generator().manual_seed(0), like=torch.empty(0))
    >>> mask.shape, bool(((mask == 0) | (mask == 2)).all())
    (torch.Size([2, 3]), True)
    """
    # Four draws of 16 bits from each 64-bit random number, as drawing takes most of the time of dropout.
    size, dropped = math.prod(shape), min(round(float(p) * 2**16), 2**16 - 1)
    words = torch.empty(-(-size // 4), dtype=torch.int64, device=like.device).random_(
        -(2**63), None, generator=generator
    )
    draws = words.view(torch.int16)[:size].view(shape)
    kept = torch.ge(draws, dropped - 2**15, out=like.new_empty(shape))  # in a third of the time of a mask of bools
    return kept.mul_(2**16 / (2**16 - dropped))
