"""The models as torch modules on ragged rows, and their formulas as functions."""

from skafm.nn import functional
from skafm.nn.afm import AFM
from skafm.nn.deep_cross import DeepCross
from skafm.nn.ffm import FFM
from skafm.nn.fm import FM
from skafm.nn.hofm import HOFM
from skafm.nn.linear import SparseLinear
from skafm.nn.nfm import NFM
from skafm.nn.wide_deep import WideDeep

__all__ = [
    "AFM",
    "FFM",
    "FM",
    "HOFM",
    "NFM",
    "DeepCross",
    "SparseLinear",
    "WideDeep",
    "functional",
]
