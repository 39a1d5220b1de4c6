"""Data sets of the paper, and negative sampling as it was done for them."""

from skafm.datasets._fetch import fetch_frappe, fetch_movielens_tags
from skafm.datasets._sampling import sample_negatives

__all__ = ["fetch_frappe", "fetch_movielens_tags", "sample_negatives"]
