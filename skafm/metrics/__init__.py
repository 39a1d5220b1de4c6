"""How well scores rank the rows of each query: hit rate, recall, reciprocal rank, average precision, NDCG."""

from skafm.metrics._ranking import average_precision_at_k, hit_rate_at_k, ndcg_at_k, recall_at_k, reciprocal_rank_at_k
from skafm.metrics._scorer import make_ranking_scorer

__all__ = [
    "average_precision_at_k",
    "hit_rate_at_k",
    "make_ranking_scorer",
    "ndcg_at_k",
    "recall_at_k",
    "reciprocal_rank_at_k",
]
