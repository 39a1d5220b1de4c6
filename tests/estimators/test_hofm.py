"""What is peculiar to higher-order factorization machines: interactions of more than two features."""

from itertools import combinations

import numpy as np
import pytest
import reference

from skafm import FMRegressor, HOFMRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_hofm_learns_what_takes_three_features_and_fm_cannot():
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], size=(600, 3))
    y = X.prod(1)
    settings = {"n_factors": 8, "random_state": 0, "max_iter": 200, "l2_factors": 0.0}
    assert FMRegressor(**settings).fit(X, y).score(X, y) < 0.1
    assert HOFMRegressor(**settings).fit(X, y).score(X, y) > 0.95


def test_explanation_shares_larger_sets_among_their_pairs(ragged):
    X, y = ragged
    model = HOFMRegressor(3, order=4, random_state=0, max_iter=20, learning_rate=0.2).fit(X, y)
    row = X[np.count_nonzero(X, axis=1).argmax()]
    z = {i: model.factors_[i] * x for i, x in reference.entries(row)}  # (order - 1, k)
    expected = dict.fromkeys(combinations(z, 2), 0.0)
    for m in (2, 3, 4):
        for features in combinations(z, m):
            added = np.prod([z[i][m - 2] for i in features], axis=0).sum()
            pairs = list(combinations(features, 2))
            for pair in pairs:
                expected[pair] += added / len(pairs)
    explanation = model.explain(row[None])
    assert list(zip(explanation.feature_i, explanation.feature_j, strict=True)) == list(expected)
    np.testing.assert_allclose(explanation.interaction, list(expected.values()), rtol=1e-9, atol=1e-12)
