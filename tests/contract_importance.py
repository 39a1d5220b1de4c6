"""The part of the model contract that is about feature importances: gradient times input."""

import numpy as np
import pytest
import reference
import torch
from contract_common import ContractMeans, X, raw_scores, targets, tasks
from contract_module import BATCH, X_HOT, kinds
from scipy import sparse

from skafm._training.batching import CSRRows
from skafm._training.importance import gradient_times_input

STEP = 1e-6
"""Share of an entry by which finite differences change it."""
WEIGHT = np.arange(60) % 4 / 2
outputs = pytest.mark.parametrize("several", [False, True], ids=["one output", "several outputs"])


def mean_size(changes, weight=None):
    """Return the weighted mean size of each feature's changes (n_features, n_samples) or (..., C), over all outputs."""
    sizes = np.average(np.abs(changes), axis=1, weights=weight)
    return sizes.reshape(len(changes), -1).mean(1)


def scaled(factor):
    """Return the rows with one feature multiplied, for each feature in turn."""
    return [X * np.where(np.arange(X.shape[1]) == feature, factor, 1.0) for feature in range(X.shape[1])]


class ImportanceContract(ContractMeans):
    """What must hold of the importances of every estimator."""

    def differences(self, model):
        """Return ``x_i d raw / d x_i`` of each feature and row by finite differences, computed in float64."""
        for name in set(model._parameter_attributes.values()) & vars(model).keys():
            setattr(model, name, reference.as_double(getattr(model, name)))
        above, below = ([raw_scores(model, rows) for rows in scaled(1 + step)] for step in (STEP, -STEP))
        return (np.array(above) - np.array(below)) / (2 * STEP)

    # --- they are what the documentation says -------------------------------------------------------------------------

    @tasks
    @outputs
    @pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weighted"])
    def test_importance_is_the_mean_size_of_gradient_times_input(self, task, several, weight):
        model = self.make(task, learning_rate=0.2).fit(X, targets(task, several), sample_weight=weight)
        importances = model.feature_importances_
        assert importances.shape == (9,)
        assert importances.min() > 0
        self.assert_close("differences", importances, mean_size(self.differences(model), weight))

    @tasks
    @outputs
    def test_importance_is_the_mean_change_by_removal_where_the_raw_score_is_multilinear(self, task, several):
        if self.attends or not self.explains:
            pytest.skip("the raw score is not multilinear")
        model = self.make(task, learning_rate=0.2).fit(X, targets(task, several))
        changes = [raw_scores(model, X) - raw_scores(model, rows) for rows in scaled(0.0)]
        self.assert_close("float64", model.feature_importances_, mean_size(changes))

    def test_importance_in_float32_is_that_of_float64(self):
        model = self.make(learning_rate=0.2).fit(X.astype(np.float32), targets("regression"))
        importances = model.feature_importances_
        assert importances.dtype == np.float64
        self.assert_close("float32", importances, mean_size(self.differences(model)))

    def test_importance_is_in_the_units_of_y(self):
        first, second = (self.make().fit(X, unit * targets("regression")) for unit in (1.0, 1e4))
        self.assert_close("training", second.feature_importances_ / 1e4, first.feature_importances_)

    def test_importance_of_sparse_rows_is_that_of_dense_ones(self):
        model, sparse_model = (self.make().fit(rows, targets("regression")) for rows in (X, sparse.csr_array(X)))
        self.assert_close("training", sparse_model.feature_importances_, model.feature_importances_)

    def test_no_attribute_is_taken_for_the_weights_of_a_linear_model(self):
        model = self.fitted()  # SHAP explains what has coef_ and intercept_ as linear; selectors rank by coef_ first
        assert hasattr(model, "intercept_")
        assert not hasattr(model, "coef_")

    # --- which estimator has them -------------------------------------------------------------------------------------

    def test_fit_sets_importances_and_partial_fit_keeps_them(self):
        model, y = self.make(), targets("regression")
        assert not hasattr(model, "feature_importances_")
        model.partial_fit(X, y)
        assert not hasattr(model, "feature_importances_")
        importances = model.fit(X, y).feature_importances_
        assert model.partial_fit(X, y).feature_importances_ is importances

    def test_failed_fit_keeps_the_importances(self):
        model = self.fitted()
        importances = model.feature_importances_
        with pytest.raises(ValueError, match="infinity"):
            model.fit(X, np.full(60, np.inf))
        assert model.feature_importances_ is importances

    # --- the module ---------------------------------------------------------------------------------------------------

    @kinds
    @pytest.mark.parametrize("n_outputs", [None, 3])
    def test_gradient_times_input_equals_finite_differences(self, kind, n_outputs, path, ran):
        batch = BATCH if kind == "ragged" else CSRRows.from_scipy(X_HOT[:20], torch.device("cpu")).slice(0, 20)
        module, output = self.draw(n_outputs), torch.arange(20) % (n_outputs or 1)
        ran.clear()
        found = gradient_times_input(module, batch, output, 2**30)
        self.assert_attention_ran(ran, path)
        values = torch.ones(len(batch.indices)).double() if batch.values is None else batch.values
        expected = []
        for entry in range(len(values)):
            step = STEP * (torch.arange(len(values)) == entry).double()
            above, below = (module(batch.indices, values * (1 + s), batch.offsets).detach() for s in (step, -step))
            change = ((above - below) / (2 * STEP)).view(20, -1).gather(1, output.unsqueeze(1))
            expected.append(float(change.sum()))
        self.assert_close("differences", found, expected)

    @pytest.mark.parametrize(("memory", "n_micro_batches"), [(1, 20), (20_000, None)])
    def test_gradient_times_input_does_not_depend_on_the_memory(self, memory, n_micro_batches):
        module, output, calls = self.draw(3), torch.arange(20) % 3, []
        module.register_forward_hook(lambda *_: calls.append(1))
        expected = gradient_times_input(module, BATCH, output, 2**30)
        assert len(calls) == 1
        found = gradient_times_input(module, BATCH, output, memory)
        assert 2 < len(calls) <= 21
        assert n_micro_batches is None or len(calls) == 1 + n_micro_batches
        self.assert_close("order of sums", found, expected)
