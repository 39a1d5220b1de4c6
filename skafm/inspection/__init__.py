"""Explanations of predictions, and plots of predictions, interactions and training."""

from skafm.inspection._explain import explain, top_interactions
from skafm.inspection._explanation import Explanation
from skafm.inspection._interaction import InteractionDisplay
from skafm.inspection._loss_curve import LossCurveDisplay
from skafm.inspection._waterfall import WaterfallDisplay

__all__ = [
    "Explanation",
    "InteractionDisplay",
    "LossCurveDisplay",
    "WaterfallDisplay",
    "explain",
    "top_interactions",
]

for _public in (Explanation, InteractionDisplay, LossCurveDisplay, WaterfallDisplay, explain, top_interactions):
    _public.__module__ = __name__  # pickles and documentation name the public module
