"""The part of the model contract that is about the best items of a context."""

import numpy as np
import sklearn
from contract_common import ContractMeans, X, raw_scores, tasks

from skafm.recommendation import recommend

CONTEXTS, ITEMS = X[:20].copy(), X[20:50].copy()
"""Real-valued rows: the first five columns are of contexts, the others of items."""
CONTEXTS[:, 5:], ITEMS[:, :5] = 0, 0


def scores_of_all(model):
    """Return the predictions of all contexts and items: (20, 30)."""
    rows = (CONTEXTS[:, None] + ITEMS).reshape(-1, X.shape[1])
    return raw_scores(model, rows).reshape(len(CONTEXTS), len(ITEMS))


class RecommendContract(ContractMeans):
    """What must hold of the items that any estimator recommends."""

    @tasks
    def test_recommended_items_are_those_of_the_best_predictions(self, task):
        model = self.fitted(task)
        expected = scores_of_all(model)
        indices, scores = recommend(model, CONTEXTS, ITEMS, n=7)
        self.assert_close("order of sums", scores, -np.sort(-expected, axis=1)[:, :7])
        self.assert_close("order of sums", np.take_along_axis(expected, indices, axis=1), scores)

    def test_recommended_items_do_not_depend_on_the_memory(self):
        model, mask = self.fitted(), np.arange(120).reshape(4, 30) % 3 > 0
        expected = recommend(model, CONTEXTS[:4], ITEMS, candidates=mask)
        with sklearn.config_context(working_memory=0.002):  # a context at a time, and three rows
            indices, scores = recommend(model, CONTEXTS[:4], ITEMS, candidates=mask)
        assert (indices == expected[0]).all()
        self.assert_close("order of sums", scores, expected[1])
