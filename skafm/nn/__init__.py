"""The models as torch modules on ragged rows, and their formulas as functions."""

from skafm.nn import functional
from skafm.nn._afm import AFM
from skafm.nn._deep_cross import DeepCross
from skafm.nn._deep_fm import DeepFM
from skafm.nn._ffm import FFM
from skafm.nn._fm import FM
from skafm.nn._fwfm import FwFM
from skafm.nn._hofm import HOFM
from skafm.nn._linear import SparseLinear
from skafm.nn._nfm import NFM
from skafm.nn._pairwise import PairTerms
from skafm.nn._wide_deep import WideDeep

__all__ = [
    "AFM",
    "FFM",
    "FM",
    "HOFM",
    "NFM",
    "DeepCross",
    "DeepFM",
    "FwFM",
    "PairTerms",
    "SparseLinear",
    "WideDeep",
    "functional",
]

for _public in (AFM, FFM, FM, HOFM, NFM, DeepCross, DeepFM, FwFM, PairTerms, SparseLinear, WideDeep):
    _public.__module__ = __name__  # pickles and documentation name the public module
