"""The part of the model contract that is about training."""

import pickle

import numpy as np
import pytest
import sklearn
import torch
from conftest import on_each_device, ragged_matrix
from contract_common import ContractMeans, X, Y, raw_scores, targets, tasks
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skafm._training import batching

LEARN = {"max_iter": 60, "batch_size": 32}


def exclusive_or():
    """Return rows of three fields, two levels each, and whether the first two differ."""
    rng = np.random.default_rng(0)
    bits, rows = rng.integers(0, 2, size=(400, 3)), np.zeros((400, 9))
    for column, levels in zip(bits.T, [(0, 1), (2, 4), (7, 8)], strict=True):
        rows[np.arange(400), np.take(levels, column)] = 1
    return rows, bits[:, 0] ^ bits[:, 1]


class FitContract(ContractMeans):
    """What must hold of the training of every estimator."""

    # --- it learns ----------------------------------------------------------------------------------------------------

    @tasks
    @on_each_device
    def test_learns_an_exclusive_or(self, task, device):
        rows, y = exclusive_or()
        model = self.make(task, device=device, **LEARN | self.learning)
        assert model.fit(rows, y).score(rows, y) > 0.95

    def test_learns_three_classes(self):
        y = np.digitize(X[:, 0], [-0.3, 0.3])
        model = self.make("classification", max_iter=300, batch_size="auto", **self.learning).fit(X, y)
        probability = model.predict_proba(X)
        assert probability.shape == (60, 3)
        np.testing.assert_allclose(probability.sum(1), 1)
        assert model.score(X, y) > 0.8 > np.bincount(y).max() / 60 + 0.15

    def test_learns_two_targets(self):
        y = np.column_stack([1000 + 50 * Y, X[:, 5]])
        weak = dict.fromkeys(self.make()._penalties.values(), 0.003)  # there is no noise
        model = self.make(max_iter=200, batch_size="auto", learning_rate=0.05, **weak | self.learning).fit(X, y)
        assert model.predict(X).shape == (60, 2)
        assert model.score(X, y) > 0.8

    @pytest.mark.parametrize("most", [0, 1])
    def test_rows_that_have_no_pair_at_all_are_fitted(self, most):
        rows = ragged_matrix(40)
        rows[(rows != 0).cumsum(1) > most] = 0
        assert np.isfinite(self.make().fit(rows, np.arange(40.0)).predict(rows)).all()

    # --- the same way every time --------------------------------------------------------------------------------------

    @tasks
    @pytest.mark.parametrize("copy", [clone, lambda model: model], ids=["clone", "itself"])
    def test_same_seed_gives_the_same_bits(self, task, copy):
        model, y = self.make(task, dropout=0.3), targets(task)
        first = raw_scores(model.fit(X, y), X)
        assert np.array_equal(first, raw_scores(copy(model).fit(X, y), X))

    def test_global_generators_dtype_and_threads_are_untouched(self):
        def state():
            numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002 the global one is the point
            torch_state = torch.get_rng_state().tolist()
            return numpy_state, torch_state, torch.get_default_dtype(), torch.get_num_threads()

        before = state()
        self.make(dropout=0.5).fit(X.astype(np.float32), Y).predict(X)
        assert state() == before

    @tasks
    @pytest.mark.parametrize("solver", ["adagrad", "adam", "sgd"])
    def test_partial_fit_in_parts_equals_fit(self, task, solver):
        y = np.arange(60) % 2  # in each half the same shares, mean and spread, and rows of the same lengths
        settings = {"solver": solver, "dropout": 0.3, "batch_size": 30, "learning_rate": 0.01}
        settings |= dict.fromkeys(self.make()._penalties.values(), 0.01)  # "auto" has no prior in a stream
        whole = self.make(task, shuffle=False, **settings | {"max_iter": 1}).fit(X, y)
        parts = self.make(task, **settings)
        parts.partial_fit(X[:30], y[:30], **{"classes": [0, 1]} if task == "classification" else {})
        parts = pickle.loads(pickle.dumps(parts))  # a pause
        parts.partial_fit(X[30:], y[30:])
        self.assert_close("training", raw_scores(parts, X), raw_scores(whole, X))
        np.testing.assert_allclose(np.mean(parts.loss_curve_), whole.loss_curve_[0], rtol=1e-9)

    def test_micro_batches_fit_the_same_model(self):
        with sklearn.config_context(working_memory=0.001):
            model = self.make().fit(X, Y)
        self.assert_close("training", model.predict(X), self.fitted().predict(X))

    # --- features of a batch ------------------------------------------------------------------------------------------

    def test_features_of_small_batches_are_sorted(self, ran):
        self.make().fit(X, Y)
        assert ran["sorting"] > 0
        assert ran["counting"] == 0

    def test_features_of_large_batches_are_counted(self, ran, monkeypatch):
        rows, y = np.tile(X, (31, 1)), np.tile(Y, 31)  # 8,370 entries
        model = self.make(early_stopping=False, batch_size=2000, max_iter=1).fit(rows, y)
        assert ran["counting"] > 0
        assert ran["sorting"] == 0
        monkeypatch.setattr(batching, "_by_counting", lambda batch, _: batching._by_sorting(batch))
        expected = self.make(early_stopping=False, batch_size=2000, max_iter=1).fit(rows, y)
        assert ran["sorting"] > 0
        self.assert_close("training", model.factors_, expected.factors_)

    # --- it stops and resumes -----------------------------------------------------------------------------------------

    def test_early_stopping_keeps_the_best_epoch(self):
        settings = {"max_iter": 40} | dict.fromkeys(self.make()._penalties.values(), 0.01) | self.learning
        model = self.make(early_stopping=True, n_iter_no_change=3, **settings)
        model.fit(X, Y, X_val=X[:20], y_val=Y[:20] + 0.1)
        assert model.best_iter_ == 1 + np.argmax(model.validation_scores_)
        error = np.mean((model.predict(X[:20]) - Y[:20] - 0.1) ** 2) / Y.var()
        assert -error == pytest.approx(model.validation_scores_[model.best_iter_ - 1], rel=1e-6)

    def test_warm_start_resumes(self):
        model = self.make(warm_start=True, max_iter=5, tol=0).fit(X, Y)
        before = model.loss_curve_[0]
        assert model.fit(X, Y).loss_curve_[0] < before

    def test_warm_start_with_another_size_is_refused(self):
        model = self.make(warm_start=True, max_iter=1).fit(X, Y)
        sizes = r"fitted \(.*\b3\), required \(.*\b7\)"
        with pytest.raises(ValueError, match=f"Shape mismatch for factors: {sizes}.*model sizes.*must not change"):
            model.set_params(n_factors=7).fit(X, Y)

    def test_grid_search_in_a_pipeline(self):
        rng = np.random.default_rng(0)
        rows = rng.choice(["a", "b", "c"], size=(200, 3))
        y = (rows[:, 0] == rows[:, 1]) + rng.normal(scale=0.1, size=200)
        model = self.make(early_stopping=False)
        grid = {f"{type(model).__name__.lower()}__dropout": [0.0, 0.1]}
        search = GridSearchCV(make_pipeline(OneHotEncoder(), model), grid, cv=2, error_score="raise").fit(rows, y)
        assert len(set(search.cv_results_["mean_test_score"])) == 2
