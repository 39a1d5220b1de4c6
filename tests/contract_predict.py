"""The part of the model contract that is about predictions, and about the rows that estimators take."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import sklearn
from contract_common import ContractMeans, X, Y, raw_scores, targets, tasks
from scipy import sparse

from skafm.nn._pairs import dispatch


def scrambled(dense):
    """Return CSR with unsorted and duplicate indices and explicit zeros."""
    csr = sparse.csr_matrix(dense)
    rows, columns, values = [], [], []
    for row in range(dense.shape[0]):
        here = slice(csr.indptr[row], csr.indptr[row + 1])
        features, entries = csr.indices[here][::-1], csr.data[here][::-1]
        columns += [*features, *features, row % dense.shape[1]]
        values += [*(entries / 2), *(entries / 2), 0.0]  # sums without rounding
        rows.append(2 * len(features) + 1)
    return sparse.csr_matrix((values, columns, np.r_[0, np.cumsum(rows)]), shape=dense.shape)


def int64_csr(dense):
    """Return CSR with indices that SciPy would make int32."""
    csr = sparse.csr_array(dense)
    csr.indices, csr.indptr = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    return csr


KINDS = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc_array": sparse.csc_array,
    "coo_array": sparse.coo_array,
    "lil_matrix": sparse.lil_matrix,
    "dok_array": sparse.dok_array,
    "fortran": np.asfortranarray,
    "list": lambda dense: dense.tolist(),
    "frame": pd.DataFrame,
    "int64": int64_csr,
    "scrambled": scrambled,
}


class PredictContract(ContractMeans):
    """What must hold of the predictions of every estimator."""

    # --- predictions are the published equations ----------------------------------------------------------------------

    @pytest.mark.parametrize("unit", [(0.0, 1.0), (1000.0, 300.0), (1e-6, 1e-7)], ids=["standard", "large", "small"])
    def test_predict_equals_the_loops_in_every_unit_of_y(self, unit):
        shift, scale = unit
        model = self.make(learning_rate=0.1).fit(X, shift + scale * (Y - Y.mean()) / Y.std())
        self.assert_close("float64", model.predict(X), self.loops_of(model, X), scale)

    def test_predict_equals_the_loops_in_float32(self):
        model = self.make().fit(X.astype(np.float32), Y.astype(np.float32))
        assert model.factors_.dtype == np.float32
        self.assert_close("float32", model.predict(X), self.loops_of(model, X))

    def test_decision_function_equals_the_loops(self):
        model = self.fitted("classification")
        self.assert_close("float64", model.decision_function(X), self.loops_of(model, X))

    @tasks
    def test_each_output_equals_the_loops(self, task):
        model = self.make(task).fit(X, targets(task, several=True))
        raw = raw_scores(model, X)
        for output in range(raw.shape[1]):
            self.assert_close("float64", raw[:, output], self.loops_of(model, X, output))

    @tasks
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_model_has_the_precision_of_the_rows(self, task, dtype):
        model = self.make(task).fit(X.astype(dtype), targets(task))
        assert model.factors_.dtype == model.intercept_.dtype == raw_scores(model, X).dtype == dtype

    def test_row_without_a_pair_is_predicted_linearly(self):
        if not self.explains:
            pytest.skip("the raw score is no sum over pairs")
        model, rows = self.fitted(), np.zeros((2, 9))
        rows[1, 4] = -2.5
        self.assert_close("order of sums", model.predict(rows), model.intercept_ + rows @ model.linear_coef_)

    # --- and stay the same --------------------------------------------------------------------------------------------

    def test_rows_one_at_a_time_predict_as_together(self):
        model = self.make().fit(X, targets("regression", several=True))
        alone = np.concatenate([model.predict(X[row : row + 1]) for row in range(60)])
        self.assert_close("order of sums", alone, model.predict(X))

    def test_predictions_do_not_depend_on_the_working_memory(self):
        model = self.fitted()
        expected = model.predict(X)
        with sklearn.config_context(working_memory=0.001):
            self.assert_close("order of sums", model.predict(X), expected)

    def test_predictions_do_not_depend_on_constructor_parameters(self):
        model = self.fitted()
        expected = model.predict(X)
        assert np.array_equal(model.set_params(n_factors=7, max_iter=1).predict(X), expected)

    def test_predictions_follow_each_attribute(self):
        model, rng = self.fitted(), np.random.default_rng(0)
        for name in set(model._parameter_attributes.values()) & vars(model).keys() - {"fields_"}:
            model.predict(X)
            fitted = getattr(model, name)
            layers = isinstance(fitted, list)
            changed = np.array(fitted[0] if layers else fitted)
            changed += rng.uniform(0.5, 1.0, changed.shape)
            if layers:
                fitted[0] = changed
            else:
                setattr(model, name, changed[()])
            np.testing.assert_array_equal(model.predict(X), deepcopy(model).predict(X))  # a copy has nothing cached
            changed *= 1.1
            np.testing.assert_array_equal(model.predict(X), deepcopy(model).predict(X))

    # --- whichever path runs ------------------------------------------------------------------------------------------

    def test_few_pairs_take_the_plain_path(self, ran):
        model = self.make().fit(X, Y)
        self.assert_attention_ran(ran, "plain")
        ran.clear()
        model.predict(X)
        self.assert_attention_ran(ran, "plain")

    def test_many_pairs_take_the_path_of_distinct_ones(self, ran, monkeypatch):
        monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", 0)
        model = self.make().fit(X, Y)
        self.assert_attention_ran(ran, "distinct")
        ran.clear()
        self.assert_close("float64", model.predict(X), self.loops_of(model, X))
        self.assert_attention_ran(ran, "distinct")

    def test_one_row_takes_its_own_path(self, ran):
        model = self.fitted()
        ran.clear()
        self.assert_close("float64", model.predict(X[9:10]), self.loops_of(model, X[9:10]))
        self.assert_attention_ran(ran, "one row")

    # --- rows of every kind -------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.filterwarnings("ignore:X does not have valid feature names", "ignore:X has feature names")
    def test_rows_of_every_kind_give_the_same_model(self, kind):
        expected, model = self.fitted(), self.make().fit(KINDS[kind](X), Y)
        self.assert_close("training", model.factors_, expected.factors_)
        self.assert_close("order of sums", expected.predict(KINDS[kind](X)), expected.predict(X))

    @pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "scrambled", "int64", "fortran"])
    def test_arrays_of_the_caller_are_never_changed(self, kind):
        rows, y, weight = KINDS[kind](X), Y.copy(), np.arange(60) % 2 + 0.5

        def given():
            parts = [rows.data, rows.indices, rows.indptr] if sparse.issparse(rows) else [rows]
            return [array.tobytes() for array in [*parts, y, weight]]

        before = given()
        self.make().fit(rows, y, sample_weight=weight).predict(rows)
        assert given() == before
