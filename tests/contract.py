"""The contract of a model: what must hold of every estimator and of its module.

A new model inherits all of it in ``test_models.py`` by writing two methods: ``make`` returns a small estimator, and
``reference`` computes the raw score of one row by slow loops. Whatever is fast is compared with these loops, module and
estimator alike: a module's parameters are given to them under the names of the fitted attributes.

What does not hold of a model is skipped with the reason, by overriding the test. A tolerance that is too strict for a
model is overridden in ``tolerances``, beside a comment that gives the reason.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import pytest
from contract_explain import ExplainContract
from contract_fit import FitContract
from contract_importance import ImportanceContract
from contract_loss import LossContract
from contract_module import ModuleContract
from contract_predict import PredictContract
from contract_recommend import RecommendContract
from contract_store import StoreContract


class ModelContract(
    ModuleContract,
    PredictContract,
    FitContract,
    LossContract,
    StoreContract,
    ExplainContract,
    ImportanceContract,
    RecommendContract,
    ABC,
):
    """What a model says of itself, and the tests that follow from it."""

    attends: ClassVar[bool]
    """Whether attention weighs the pairs of a row."""
    explains: ClassVar[bool]
    """Whether the raw score is a sum over the pairs of a row, so that ``explain`` can return its terms."""
    learning: ClassVar[dict] = {}
    """Parameters with which the small estimator learns what the tests ask, whatever the seed."""
    tolerances: ClassVar[dict] = {
        "loops": {"rtol": 1e-10, "atol": 1e-12},  # a module and the loops
        "rescaled": {"rtol": 1e-10, "atol": 1e-12},  # a rescaled module, and its raw score shifted and scaled
        "gradcheck": {"rtol": 1e-3, "atol": 1e-5},  # gradients and finite differences
        "differences": {"rtol": 1e-6, "atol": 1e-7},  # importances and finite differences
        "gradients": {"rtol": 1e-10, "atol": 1e-10},  # the gradients of a step, computed in two ways
        "float64": {"rtol": 1e-10, "atol": 1e-12},  # predictions and the loops
        "float32": {"rtol": 1e-4, "atol": 1e-5},  # the same where the model is in float32
        "order of sums": {"rtol": 1e-12, "atol": 1e-12},  # predictions that are summed in two orders
        "training": {"rtol": 1e-7, "atol": 1e-12},  # trainings that sum in two orders
    }
    """What is compared -> options of ``assert_allclose``."""
    pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

    @abstractmethod
    def make(self, task="regression", **parameters):
        """Return a small estimator for nine columns, not fitted; ``task`` is "regression" or "classification"."""

    @abstractmethod
    def reference(self, x, a):
        """Return the raw score of a dense row x by loops; ``a`` has the fitted attributes of one output by name."""
