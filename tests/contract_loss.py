"""The part of the model contract that is about the losses of regressors."""

import pickle
from functools import cache

import numpy as np
import pytest
from contract_common import ContractMeans, X, Y
from scipy.special import expit

TARGETS = {
    "absolute_error": Y,
    "huber": Y,
    "quantile": Y,
    "poisson": np.round(np.exp(Y / 2)),
    "gamma": np.exp(Y),
    "tweedie": np.maximum(np.exp(Y) - 1, 0),
    "log_loss": expit(Y),
}
"""Targets of X for each loss but the squared error, which all other parts are about."""
LINKS = {"poisson": np.log, "gamma": np.log, "tweedie": np.log, "log_loss": lambda p: np.log(p / (1 - p))}
losses = pytest.mark.parametrize("loss", TARGETS)


class LossContract(ContractMeans):
    """What must hold of every loss in every regressor."""

    def fitted_with(self, loss):
        """Return a regressor fitted on X with two targets, a new one for each call."""
        return pickle.loads(_fitted_with(type(self), loss))

    @losses
    def test_predictions_with_a_loss_are_its_link_of_the_loops(self, loss):
        model = self.fitted_with(loss)
        prediction = model.predict(X)
        for output in range(2):
            raw = LINKS.get(loss, np.asarray)(prediction[:, output])
            self.assert_close("float64", raw, self.loops_of(model, X, output))

    @losses
    def test_training_lowers_a_loss_below_that_of_the_constant(self, loss):
        model = self.fitted_with(loss)
        assert min(model.loss_curve_) < 1
        assert 0 < model.score(X, np.column_stack([TARGETS[loss], TARGETS[loss][::-1]])) < 1


@cache
def _fitted_with(contract, loss):
    weak = dict.fromkeys(contract().make()._penalties.values(), 0.001)
    settings = {"max_iter": 8, "batch_size": 30, "learning_rate": 0.05} | weak
    y = np.column_stack([TARGETS[loss], TARGETS[loss][::-1]])
    return pickle.dumps(contract().make(loss=loss, **settings).fit(X, y))
