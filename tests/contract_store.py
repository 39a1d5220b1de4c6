"""The part of the model contract that is about models that are stored, or moved to another device."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import skops.io
import torch
from conftest import cuda
from contract_common import ContractMeans, X, raw_scores, targets, tasks

import skafm

OURS = [f"skafm.{name}" for name in skafm.__all__]


def by_skops(model):
    """Return what a skops file gives back."""
    return skops.io.loads(skops.io.dumps(model), trusted=OURS)


def stopped_early(contract, task):
    """Return an estimator with all that a fit can leave behind."""
    scoring = "accuracy" if task == "classification" else "r2"
    state = np.random.RandomState(0)
    return contract.make(task, early_stopping=True, scoring=scoring, random_state=state).fit(X, targets(task))


def of_several_outputs(contract, task):
    """Return an estimator of several raw scores."""
    return contract.make(task).fit(X, targets(task, several=True))


def in_parts(contract, task):
    """Return an estimator that can resume."""
    classes = {"classes": ["no", "yes"]} if task == "classification" else {}
    return contract.make(task, solver="adam", dropout=0.2).partial_fit(X[:30], targets(task)[:30], **classes)


def with_an_init(contract, task):
    """Return an estimator that holds another one."""
    if "init" not in inspect.signature(type(contract.make(task))).parameters:
        pytest.skip("has no init")
    first = skafm.FMClassifier if task == "classification" else skafm.FMRegressor
    y = targets(task)
    return contract.make(task, init=first(3, max_iter=2).fit(X, y)).fit(X, y)


fits = pytest.mark.parametrize("fit", [stopped_early, of_several_outputs, in_parts, with_an_init])
stores = pytest.mark.parametrize(
    "store", [lambda model: pickle.loads(pickle.dumps(model)), by_skops], ids=["pickle", "skops"]
)


class StoreContract(ContractMeans):
    """What must hold of every stored estimator."""

    @tasks
    @fits
    @stores
    def test_stored_model_predicts_the_same_bits(self, task, fit, store):
        model = fit(self, task)
        assert np.array_equal(raw_scores(store(model), X), raw_scores(model, X))

    @tasks
    def test_copied_model_predicts_the_same_bits(self, task):
        model = stopped_early(self, task)
        assert np.array_equal(raw_scores(copy.deepcopy(model), X), raw_scores(model, X))

    @tasks
    @stores
    def test_partial_fit_resumes_as_if_nothing_had_been_stored(self, task, store):
        model, y = in_parts(self, task), targets(task)
        stored = store(model)
        expected = raw_scores(model.partial_fit(X[30:], y[30:]), X)
        assert np.array_equal(raw_scores(stored.partial_fit(X[30:], y[30:]), X), expected)

    @tasks
    @fits
    def test_skops_file_names_no_type_but_the_estimators(self, task, fit):
        assert set(skops.io.get_untrusted_types(data=skops.io.dumps(fit(self, task)))) <= {*OURS}

    @tasks
    @fits
    def test_fitted_attributes_are_plain(self, task, fit):
        def kinds(value):
            children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
            return {type(value)}.union(*map(kinds, children))

        model = fit(self, task)
        fitted = {name: value for name, value in vars(model).items() if name not in model.get_params(deep=False)}
        scalars = {type(None), bool, int, float, str, np.float64, np.int64}
        assert fitted
        assert kinds(fitted) <= scalars | {list, tuple, dict, np.ndarray}

    # --- devices ------------------------------------------------------------------------------------------------------

    @cuda
    @tasks
    def test_model_fitted_on_cuda_predicts_the_same_on_the_cpu(self, task, path):  # noqa: ARG002
        y = targets(task)
        model = self.make(task, dropout=0.2, early_stopping=True, device="cuda").fit(X, y)
        model.partial_fit(X[:20], y[:20])
        moved = pickle.loads(pickle.dumps(model)).set_params(device="cpu")
        self.assert_close("float64", raw_scores(model, X), raw_scores(moved, X))
        if self.explains:
            self.assert_close("float64", *(each.explain(X).interaction for each in (model, moved)))

    @cuda
    def test_fits_on_cuda_give_the_same_bits_with_attention_if_torch_is_asked(self):
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(2000, 9)).astype(np.float32) * (rng.random((2000, 9)) < 0.7)
        model = self.make(n_factors=16, max_iter=2, batch_size=1024, dropout=0.2, device="cuda")
        torch.use_deterministic_algorithms(self.attends)
        try:
            first, second = (model.fit(rows, rows[:, 0] * rows[:, 1]).predict(rows) for _ in range(2))
        finally:
            torch.use_deterministic_algorithms(False)
        np.testing.assert_array_equal(first, second)
