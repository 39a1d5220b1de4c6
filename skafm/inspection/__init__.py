"""What a fitted model has learnt and how it was trained: explanations and pictures."""

from skafm.inspection._explanation import Explanation

__all__ = ["Explanation"]
