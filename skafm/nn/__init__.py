"""The models as torch modules on ragged rows, and their formulas as functions."""

from skafm.nn import functional
from skafm.nn.afm import AFM
from skafm.nn.fm import FM
from skafm.nn.linear import SparseLinear

__all__ = ["AFM", "FM", "SparseLinear", "functional"]
