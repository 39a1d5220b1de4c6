"""Losses of whole queries. A new one is one function here and a line in ``RANKING_LOSSES``.

A function takes the raw scores s (B,) of rows, their relevance y (B,), their queries (B,), numbers from 0 to Q - 1, and
their weights c (B,), and returns the loss (Q,) of each query. A row of weight 2 counts as two, but for the ranks of
``lambdarank``. Without two grades a query has no pairs, and a mean over them of 0.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

from skafm._training.batching import split_costs
from skafm._training.losses import Loss

PART = 1024
"""Rows of longer queries are compared within parts of about this size, so that a row has no more opponents."""
_CHUNK = 2**20
"""Most pairs that are computed at once, some 50 bytes each."""


def pairwise(raw: Tensor, relevance: Tensor, query: Tensor, weight: Tensor) -> Tensor:
    """Return ``sum c_i c_j log(1 + exp(s_j - s_i)) / sum c_i c_j`` over the pairs with ``y_i > y_j`` (RankNet).

    Burges et al. (2005). With relevance 0 and 1 it is BPR (Rendle et al., 2009).
    """
    return _mean_over_pairs(raw, relevance, query, lambda i, j: _at(weight, i) * _at(weight, j))


def lambdarank(raw: Tensor, relevance: Tensor, query: Tensor, weight: Tensor, *, k: int | None = None) -> Tensor:
    """Return ``sum c_ij log(1 + exp(s_j - s_i)) / sum c_ij`` over the pairs with ``y_i > y_j`` (LambdaRank).

    ``c_ij = c_i c_j (y_i - y_j) |d_i - d_j|`` is what the query's NDCG would change by if the two rows changed places,
    but for a factor of the query: ``d_i = 1 / log2(1 + rank_i)``, 0 beyond rank k. It counts as constant (Burges,
    2010).
    """
    rank = _ranks(raw.detach(), query).to(raw.dtype)  # (B,)
    discount = 1 / torch.log2(1 + rank)
    if k is not None:
        discount = discount * (rank <= k)

    def change(i: Tensor, j: Tensor) -> Tensor:
        gain = _at(relevance, i) - _at(relevance, j)  # (P,)
        return _at(weight, i) * _at(weight, j) * gain * (_at(discount, i) - _at(discount, j)).abs()

    return _mean_over_pairs(raw, relevance, query, change)


def softmax(raw: Tensor, relevance: Tensor, query: Tensor, weight: Tensor) -> Tensor:
    """Return ``-sum_i t_i log p_i``, with ``t_i = c_i y_i / sum_j c_j y_j``, ``p_i = exp(s_i) / sum_j c_j exp(s_j)``.

    The sums are over the rows of a query. It is ListNet (Cao et al., 2007) in the form of Bruch et al. (2019), in which
    it bounds NDCG.
    """
    zeros = raw.new_zeros(_count(query))  # (Q,)
    largest = zeros.scatter_reduce(0, query, raw.detach(), "amax", include_self=False)  # (Q,)
    shifted = raw - largest[query]  # (B,)
    partition = zeros.index_add(0, query, weight * shifted.exp()).log()  # (Q,)
    gain = weight * relevance  # (B,)
    total = zeros.index_add(0, query, gain)  # (Q,)
    target = gain / torch.where(total > 0, total, 1)[query]  # (B,)
    return zeros.index_add(0, query, target * (partition[query] - shifted))


RANKING_LOSSES: dict[str, Callable[..., Tensor]] = {
    "pairwise": pairwise,
    "softmax": softmax,
    "lambdarank": lambdarank,
}


def make_ranking_loss(name: str, **options: Any) -> Loss:
    """Return the loss of each row (B,), which is that of its query.

    Parameters
    ----------
    name : str
        Key of ``RANKING_LOSSES``.
    **options
        Of the loss.

    Returns
    -------
    loss : callable
        Takes raw scores (B,) and targets (B, 3): relevance, number of the query, and weight of each row.
    """
    function = partial(RANKING_LOSSES[name], **options)

    def loss(raw: Tensor, target: Tensor) -> Tensor:
        relevance, number, weight = target.unbind(1)  # (B,)
        _, query = torch.unique(number, return_inverse=True)  # (B,) from 0 to Q - 1
        losses: Tensor = function(raw, relevance, query, weight)  # (Q,)
        return _at(losses, query)

    return loss


def rank_gain(metric: str, k: int | None) -> Loss:
    """Return the function of what each item, a number (B,), counts by its rank in raw scores (B, M); ties never help.

    It is the metric of that name of a query in which this item is the only relevant one.
    """
    gain = _GAINS[metric]

    def value(raw: Tensor, item: Tensor) -> Tensor:
        own = raw.gather(1, item.long().unsqueeze(1))  # (B, 1)
        rank = (raw >= own).sum(1).to(raw.dtype)  # (B,) from 1
        return gain(rank) if k is None else gain(rank) * (rank <= k)

    return value


_GAINS: dict[str, Callable[[Tensor], Tensor]] = {
    "ndcg": lambda rank: 1 / torch.log2(1 + rank),
    "hit_rate": torch.ones_like,
    "recall": torch.ones_like,
    "reciprocal_rank": lambda rank: 1 / rank,
    "average_precision": lambda rank: 1 / rank,
}


def set_weight(target: Tensor, weight: Tensor) -> Tensor:
    """Return targets (B, 3) with other weights (B,)."""
    return torch.cat([target[:, :2], weight.to(target).unsqueeze(1)], 1)


def _mean_over_pairs(
    raw: Tensor, relevance: Tensor, query: Tensor, pair_weight: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Return the weighted mean (Q,) of ``log(1 + exp(s_j - s_i))`` over the pairs of each query with ``y_i > y_j``.

    Of the pairs nothing is kept for the backward pass: the slopes (B,) are computed beside the values.
    """
    order, first, stop = _opponents(relevance, query)
    score, counts = raw.detach(), stop - first  # (B,)
    slope, total, norm = torch.zeros_like(score), score.new_zeros(_count(query)), score.new_zeros(_count(query))
    for rows in split_costs(counts, _CHUNK):
        n = counts[rows]
        left = torch.arange(rows.start, rows.stop, device=n.device).repeat_interleave(n)  # (P,)
        right = torch.arange(len(left), device=n.device) + (first[rows] - n.cumsum(0) + n).repeat_interleave(n)  # (P,)
        i, j, of = _at(order, left), _at(order, right), _at(query, _at(order, left))  # (P,)
        c, lead = pair_weight(i, j), _at(score, j) - _at(score, i)  # (P,)
        total.index_add_(0, of, c * softplus(lead))
        norm.index_add_(0, of, c)
        pull = c * lead.sigmoid()
        slope.index_add_(0, j, pull).index_add_(0, i, -pull)
    linear = torch.zeros_like(total).index_add(0, query, slope * (raw - score))  # (Q,) zeros, with the slopes
    return (total + linear) / torch.where(norm > 0, norm, 1)


def _opponents(relevance: Tensor, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Order the rows (B,) such that the less relevant ones of a row's query, or of its part, are adjacent.

    Returns
    -------
    order : Tensor of shape (B,)
        Row at each position.
    first, stop : Tensor of shape (B,)
        The row at a position is more relevant than those at the positions from ``first`` to ``stop - 1``.
    """
    order, place = _by_query(relevance, query)
    n_parts = (query.bincount() + PART - 1) // PART  # (Q,)
    part = (n_parts.cumsum(0) - n_parts)[query[order]] + place % n_parts[query[order]]  # (B,) each has all grades
    by_part = part.argsort(stable=True)
    order, part = order[by_part], part[by_part]
    new = (part.diff() != 0) | (relevance[order].diff() != 0)  # (B - 1,)
    return order, _ends(pad(new.cumsum(0), (1, 0))), _ends(part)


def _ends(keys: Tensor) -> Tensor:
    """Return for each of sorted keys (B,) the position behind the last equal one."""
    _, inverse, counts = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
    ends: Tensor = counts.cumsum(0)[inverse]
    return ends


def _ranks(score: Tensor, query: Tensor) -> Tensor:
    """Return the rank (B,) of each row in its query, from 1, the greatest score first."""
    order, place = _by_query(score, query)
    return torch.empty_like(place).scatter_(0, order, place + 1)


def _by_query(key: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (B,) by query and then by key, the greatest first, and the place (B,) of each in its query."""
    order = key.argsort(descending=True, stable=True)
    order = _at(order, _at(query, order).argsort(stable=True))
    n_rows = query.bincount()  # (Q,)
    starts = n_rows.cumsum(0) - n_rows  # (Q,)
    return order, torch.arange(len(order), device=order.device) - _at(starts, _at(query, order))


def _at(values: Tensor, rows: Tensor) -> Tensor:
    """Return some of the values (B,); an index in brackets takes three times as long on few of them."""
    return values.index_select(0, rows)


def _count(query: Tensor) -> int:
    """Return the number of queries."""
    return int(query.max()) + 1 if len(query) else 0
