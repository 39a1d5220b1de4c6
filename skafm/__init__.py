"""Factorization machines and attentional factorization machines for scikit-learn."""

from skafm._afm import AFMClassifier, AFMRegressor
from skafm._fm import FMClassifier, FMRegressor

__version__ = "0.1.0"

__all__ = ["AFMClassifier", "AFMRegressor", "FMClassifier", "FMRegressor"]
