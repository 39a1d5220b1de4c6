"""Factorization machines and attentional factorization machines for scikit-learn."""

from skafm._afm import AFMRegressor
from skafm._fm import FMRegressor

__version__ = "0.1.0"

__all__ = ["AFMRegressor", "FMRegressor"]
