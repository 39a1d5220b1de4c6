"""What the parts of the model contract share: data, the loops, modules with drawn parameters, and which path ran."""

import pickle
from collections import Counter
from functools import cache, wraps

import numpy as np
import pytest
import reference
import torch
from conftest import ragged_matrix

from skafm._estimators.fitted_state import attributes_from_parameters
from skafm._estimators.validation import Samples
from skafm._training import batching
from skafm._training.collectives import SINGLE_PROCESS
from skafm.nn import functional
from skafm.nn._pairs import dispatch

X = ragged_matrix()
"""Rows of 0 to 9 entries, real-valued: (60, 9)."""
Y = X[:, 0] - 2 * X[:, 1] * X[:, 2] + X[:, 3] * X[:, 4] + 0.5
SMALL = {"n_factors": 3, "max_iter": 4, "batch_size": 16, "early_stopping": False, "random_state": 0}
"""Parameters that keep an estimator small, for ``make``."""
FIELDS = [0, 0, 1, 2, 1, 2, 0, 3, 3]
"""Fields of the nine columns, for ``make``: columns of a field are not always adjacent."""

PATHS = {
    "plain": (functional, "attentional_pooling"),
    "distinct": (dispatch, "_attend_to_distinct"),
    "one row": (dispatch, "_pool_one_row"),
    "sorting": (batching, "_by_sorting"),
    "counting": (batching, "_by_counting"),
}
"""The functions between which the code chooses, for attention and for the features of a batch."""


class ContractMeans:
    """The means that the tests of a model share; the model itself is described in ``contract.py``."""

    def assert_close(self, what, actual, expected, scale=1.0):
        """Compare within the named tolerance, in units of ``scale``."""
        actual, expected = (np.asarray(each) / scale for each in (actual, expected))
        np.testing.assert_allclose(actual, expected, **self.tolerances[what])

    def loops(self, attributes, rows, output=None):
        """Return the raw scores of rows by loops, or one of several outputs."""
        own = ("intercept_", "linear_coef_", "projection_")
        one = {} if output is None else {name: attributes[name][output] for name in own if name in attributes}
        return np.array([self.reference(x, attributes | one) for x in rows])

    def loops_of(self, model, rows, output=None):
        """Return the raw scores of rows by loops in float64, from an estimator's public attributes."""
        names = [name for name in model._parameter_attributes.values() if hasattr(model, name)]
        return self.loops({name: reference.as_double(getattr(model, name)) for name in names}, rows, output)

    def build(self, n_outputs=None, seed=0, device="cpu", **parameters):
        """Return a new module with the initial parameters that a fit would draw."""
        generator = torch.Generator(device).manual_seed(seed)
        factory = {"generator": generator, "device": device, "dtype": torch.float64}
        data = Samples(X, Y, np.ones(len(X)), SINGLE_PROCESS)
        return self.make(**parameters)._build_module(data, n_outputs, **factory)

    def draw(self, n_outputs=None, **parameters):
        """Return a module whose parameters all have a value that matters, to predict with."""
        module, generator = self.build(n_outputs, **parameters), torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if "variances" in name or "n_batches" in name:
                    parameter.uniform_(0.5, 2.0, generator=generator)
                elif parameter.is_floating_point():
                    parameter.normal_(generator=generator)
        return module.eval()

    def attributes_of(self, module):
        """Return a module's parameters as fitted attributes."""
        parameters = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
        return attributes_from_parameters(parameters, self.make()._parameter_attributes)

    def fitted(self, task="regression"):
        """Return an estimator fitted on X, a new one for each call."""
        return pickle.loads(_fitted(type(self), task))

    @pytest.fixture
    def ran(self, monkeypatch):
        """Count the calls of the functions in ``PATHS``, which run as ever."""
        calls = Counter()

        def counting(path, function):
            @wraps(function)
            def counted(*args, **kwargs):
                calls[path] += 1
                return function(*args, **kwargs)

            return counted

        for path, (owner, name) in PATHS.items():
            monkeypatch.setattr(owner, name, counting(path, getattr(owner, name)))
        return calls

    @pytest.fixture(params=["plain", "distinct"])
    def path(self, request, monkeypatch):
        """Make every batch one of few pairs, or of many, and return the path that attention should take."""
        if request.param == "distinct" and not self.attends:
            pytest.skip("without attention there is only one path")
        if request.param == "distinct":
            monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", 0)
        return request.param

    def assert_attention_ran(self, ran, path):
        """Assert that attention took the path, and no other; without attention, none."""
        assert {each for each in ("plain", "distinct", "one row") if ran[each]} == ({path} if self.attends else set())


@cache
def _fitted(contract, task):
    """Return a pickled estimator, fitted on X."""
    return pickle.dumps(contract().make(task).fit(X, targets(task)))


def targets(task, several=False):
    """Return targets of X: numbers or labels, of one raw score or of several."""
    if task == "regression":
        return np.column_stack([Y, 3 - 10 * Y * X[:, 5]]) if several else Y
    if several:
        return np.array(["low", "middle", "high"])[np.digitize(Y, [0.3, 0.7])]
    return np.where(Y > 0.5, "yes", "no")


def raw_scores(model, rows):
    """Return the raw scores by the public method that returns them."""
    return getattr(model, "decision_function", model.predict)(rows)


tasks = pytest.mark.parametrize("task", ["regression", "classification"])
