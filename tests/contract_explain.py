"""The part of the model contract that is about explanations."""

from itertools import combinations

import numpy as np
import pytest
from contract_common import ContractMeans, X, raw_scores, targets, tasks


class ExplainContract(ContractMeans):
    """What must hold of the explanations of models whose raw score is a sum over pairs, and of no others."""

    def pair_terms(self, x, a):
        """Return what each pair of a row's features adds to its raw score, from ``reference`` only.

        A set of features adds what remains of the raw score of these features without what their subsets add. Its pairs
        share that equally.
        """
        features, raw = np.flatnonzero(x).tolist(), {}
        for m in range(len(features) + 1):
            for chosen in combinations(features, m):
                raw[chosen] = self.reference(np.where(np.isin(np.arange(len(x)), chosen), x, 0.0), a)
        terms = dict.fromkeys(combinations(features, 2), 0.0)
        for chosen in (each for each in raw if len(each) > 1):
            subsets = [each for m in range(len(chosen) + 1) for each in combinations(chosen, m)]
            added = sum((-1) ** (len(chosen) - len(each)) * raw[each] for each in subsets)
            pairs = list(combinations(chosen, 2))
            for pair in pairs:
                terms[pair] += added / len(pairs)
        return terms

    @pytest.mark.parametrize("method", ["explain", "top_interactions"])
    def test_model_explains_where_its_raw_score_is_a_sum_over_pairs_only(self, method):
        for task in ("regression", "classification"):
            assert hasattr(self.make(task), method) is self.explains

    @pytest.fixture
    def explaining(self):
        """Skip the test for models that do not explain."""
        if not self.explains:
            pytest.skip("the raw score is no sum over pairs")

    @tasks
    @pytest.mark.usefixtures("explaining")
    @pytest.mark.parametrize("several", [False, True], ids=["one output", "several outputs"])
    def test_explanation_sums_to_the_raw_score(self, task, several):
        model = self.make(task).fit(X, targets(task, several))
        self.assert_close("float64", model.explain(X).sum(), raw_scores(model, X))

    @pytest.mark.usefixtures("explaining")
    def test_explanation_sums_to_the_raw_score_in_float32(self):
        model = self.make().fit(X.astype(np.float32), targets("regression"))
        np.testing.assert_allclose(model.explain(X).sum(), model.predict(X), rtol=1e-5, atol=1e-6)

    @pytest.mark.usefixtures("explaining")
    def test_pair_terms_equal_the_loops(self):
        model = self.make(learning_rate=0.2).fit(X, targets("regression"))
        attributes = {name: getattr(model, name, None) for name in model._parameter_attributes.values()}
        for row in range(10, 16):  # of 0 to 5 entries
            explanation, expected = model.explain(X[row : row + 1]), self.pair_terms(X[row], attributes)
            pairs = zip(explanation.feature_i.tolist(), explanation.feature_j.tolist(), strict=True)
            assert list(pairs) == list(expected)
            self.assert_close("float64", explanation.contribution, list(expected.values()))
