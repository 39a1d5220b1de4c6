"""The data sets of the AFM paper, and negative sampling for implicit feedback."""

from skafm.datasets._fetch import fetch_frappe, fetch_movielens_tags
from skafm.datasets._sampling import sample_negatives

__all__ = ["fetch_frappe", "fetch_movielens_tags", "sample_negatives"]
