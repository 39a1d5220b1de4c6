"""Explanations find what was planted, and what they rank high is what moves the prediction."""

import numpy as np
import pytest
from sklearn.inspection import permutation_importance
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMRegressor, FMRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
PLANTED = {(0, 1), (2, 3), (4, 5)}
N_FIELDS, N_LEVELS = 10, 4


def plant(seed):
    """Return rows of ten fields, and a target of three of their 45 interactions, noise as strong as one of them."""
    rng = np.random.default_rng(seed)
    X = rng.integers(N_LEVELS, size=(2500, N_FIELDS))
    y = rng.normal(size=len(X))
    for i, j in sorted(PLANTED):
        table = rng.normal(size=(N_LEVELS, N_LEVELS))
        table -= table.mean(0)
        table -= table.mean(1, keepdims=True)  # nothing that a linear model could see
        y += (table / table.std())[X[:, i], X[:, j]]
    return X, y


def fit(Estimator, X, y):
    own = {"attention_size": 8, "l2_attention": 0.01} if Estimator is AFMRegressor else {}
    model = Estimator(8, random_state=0, max_iter=30, early_stopping=True, dropout=0.2, **own)
    return make_pipeline(OneHotEncoder(dtype=np.float32), model).fit(X, y)


def found(pipeline, X):
    """Return the share of the planted pairs among the three that the model ranks first."""
    top = pipeline[-1].top_interactions(pipeline[0].transform(X), 3, fields=np.repeat(np.arange(N_FIELDS), N_LEVELS))
    return np.mean([pair in PLANTED for pair in zip(top["feature_i"], top["feature_j"], strict=True)])


def found_by_permutation(pipeline, X, y):
    """Return the same for pairs ranked by the product of their fields' importances."""
    importance = permutation_importance(pipeline, X, y, n_repeats=2, random_state=0).importances_mean.clip(0)
    pairs = [(importance[i] * importance[j], (i, j)) for i in range(N_FIELDS) for j in range(i + 1, N_FIELDS)]
    return np.mean([pair in PLANTED for _, pair in sorted(pairs, reverse=True)[:3]])


def test_attention_weighted_ranking_finds_the_planted_pairs():
    scores = []
    for seed in range(6):
        X, y = plant(seed)
        afm, fm = fit(AFMRegressor, X, y), fit(FMRegressor, X, y)
        scores.append([found(afm, X), found(fm, X), found_by_permutation(afm, X[:1000], y[:1000])])
    afm_score, fm_score, permutation = np.mean(scores, axis=0)
    assert afm_score >= 0.9
    assert afm_score >= fm_score - 0.05
    assert afm_score > permutation + 0.2  # which knows fields only, not pairs


def raw_without(explanation, deleted):
    """Return each row's raw score if the deleted pairs, a mask, were not there and attention shared among the rest."""
    attention = np.where(deleted, 0, explanation.attention)
    total, score = (
        np.bincount(explanation.rows, values) for values in (attention, attention * explanation.interaction)
    )
    linear = np.bincount(explanation.linear_rows, explanation.linear)
    return explanation.intercept + linear + score / np.maximum(total, 1e-12)


def test_deleting_what_ranks_high_moves_the_prediction_most():
    X, y = plant(0)
    pipeline = fit(AFMRegressor, X, y)
    explanation = pipeline[-1].explain(pipeline[0].transform(X[:500]))
    np.testing.assert_allclose(
        raw_without(explanation, np.zeros(len(explanation.rows), bool)), explanation.sum(), rtol=1e-4
    )
    strength = np.abs(explanation.contribution).reshape(500, -1)  # all rows have 45 pairs
    rank = np.argsort(np.argsort(-strength, axis=1), axis=1)
    shuffled = np.random.default_rng(0).permuted(rank, axis=1)

    def move(order, n):
        return np.abs(raw_without(explanation, (order < n).ravel()) - explanation.sum()).mean()

    for n in (1, 2, 4, 8):
        highest, random, lowest = move(rank, n), move(shuffled, n), move(44 - rank, n)
        assert highest > 1.4 * random
        assert random > 1.4 * lowest
