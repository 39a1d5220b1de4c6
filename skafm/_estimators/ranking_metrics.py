"""The metrics of rankers, by name."""

from skafm.metrics import average_precision_at_k, hit_rate_at_k, ndcg_at_k, recall_at_k, reciprocal_rank_at_k

METRICS = {
    "ndcg": ndcg_at_k,
    "hit_rate": hit_rate_at_k,
    "recall": recall_at_k,
    "reciprocal_rank": reciprocal_rank_at_k,
    "average_precision": average_precision_at_k,
}
"""By the constructor parameter ``metric``."""
