"""Factorization machines and their variants for scikit-learn."""

from skafm._estimators.afm import AFMClassifier, AFMRegressor
from skafm._estimators.bayesian_fm import BayesianFMClassifier, BayesianFMRegressor
from skafm._estimators.deep_cross import DeepCrossClassifier, DeepCrossRegressor
from skafm._estimators.deep_fm import DeepFMClassifier, DeepFMRegressor
from skafm._estimators.ffm import FFMClassifier, FFMRegressor
from skafm._estimators.fm import FMClassifier, FMRegressor
from skafm._estimators.fwfm import FwFMClassifier, FwFMRegressor
from skafm._estimators.hofm import HOFMClassifier, HOFMRegressor
from skafm._estimators.implicit_feedback import ImplicitFeedback
from skafm._estimators.nfm import NFMClassifier, NFMRegressor
from skafm._estimators.rankers import AFMRanker, FMRanker
from skafm._estimators.wide_deep import WideDeepClassifier, WideDeepRegressor
from skafm._version import __version__ as __version__

__all__ = [
    "AFMClassifier",
    "AFMRanker",
    "AFMRegressor",
    "BayesianFMClassifier",
    "BayesianFMRegressor",
    "DeepCrossClassifier",
    "DeepCrossRegressor",
    "DeepFMClassifier",
    "DeepFMRegressor",
    "FFMClassifier",
    "FFMRegressor",
    "FMClassifier",
    "FMRanker",
    "FMRegressor",
    "FwFMClassifier",
    "FwFMRegressor",
    "HOFMClassifier",
    "HOFMRegressor",
    "ImplicitFeedback",
    "NFMClassifier",
    "NFMRegressor",
    "WideDeepClassifier",
    "WideDeepRegressor",
]

for _public in __all__:
    globals()[_public].__module__ = __name__  # pickles and documentation name the public module
