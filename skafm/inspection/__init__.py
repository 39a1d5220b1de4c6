"""What a fitted model has learnt and how it was trained: explanations and pictures."""

from skafm.inspection._explanation import Explanation
from skafm.inspection._interaction import InteractionDisplay
from skafm.inspection._loss_curve import LossCurveDisplay
from skafm.inspection._waterfall import WaterfallDisplay

__all__ = ["Explanation", "InteractionDisplay", "LossCurveDisplay", "WaterfallDisplay"]
