"""Factorization machines and their relatives for scikit-learn."""

from skafm._afm import AFMClassifier, AFMRegressor
from skafm._deep_cross import DeepCrossClassifier, DeepCrossRegressor
from skafm._ffm import FFMClassifier, FFMRegressor
from skafm._fm import FMClassifier, FMRegressor
from skafm._hofm import HOFMClassifier, HOFMRegressor
from skafm._nfm import NFMClassifier, NFMRegressor
from skafm._version import __version__ as __version__
from skafm._wide_deep import WideDeepClassifier, WideDeepRegressor

__all__ = [
    "AFMClassifier",
    "AFMRegressor",
    "DeepCrossClassifier",
    "DeepCrossRegressor",
    "FFMClassifier",
    "FFMRegressor",
    "FMClassifier",
    "FMRegressor",
    "HOFMClassifier",
    "HOFMRegressor",
    "NFMClassifier",
    "NFMRegressor",
    "WideDeepClassifier",
    "WideDeepRegressor",
]
