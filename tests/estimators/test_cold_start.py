"""A row that lacks a field, such as that of a new user, is predicted as that of the average one."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.preprocessing import OneHotEncoder

from skafm import FMClassifier, FMRegressor
from skafm._estimators.fields import complete_fields
from skafm._estimators.validation import Samples
from skafm._training.collectives import SINGLE_PROCESS
from skafm.nn import FM

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def ratings(seed=0, n=5000):
    """Return users and items (n, 2), the items' effects, and ratings without an effect of the users."""
    rng = np.random.default_rng(seed)
    pairs, effects = rng.integers(30, size=(n, 2)), rng.normal(size=30)
    return pairs, effects, 10 + effects[pairs[:, 1]] + 0.3 * rng.normal(size=n)


@pytest.mark.parametrize("seed", range(3))
def test_unknown_user_gets_the_effect_of_the_item(seed):
    pairs, effects, y = ratings(seed)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(pairs)
    model = FMRegressor(random_state=seed).fit(encoder.transform(pairs), y)
    unknown = model.predict(encoder.transform(np.column_stack([np.full(30, 99), np.arange(30)])))
    slope, mean = np.polyfit(effects, unknown, 1)
    assert 0.95 < slope < 1.05
    assert mean == pytest.approx(10, abs=0.1)


def test_unknown_user_of_a_classifier_gets_the_effect_of_the_item():
    pairs, effects, _ = ratings()
    rng = np.random.default_rng(1)
    y = rng.random(len(pairs)) < 1 / (1 + np.exp(-2 * effects[pairs[:, 1]]))
    encoder = OneHotEncoder(handle_unknown="ignore").fit(pairs)
    model = FMClassifier(random_state=0).fit(encoder.transform(pairs), y)
    unknown = model.decision_function(encoder.transform(np.column_stack([np.full(30, 99), np.arange(30)])))
    assert 0.7 < np.polyfit(2 * effects, unknown, 1)[0] < 1.2


def draw(n_outputs=None, k=3):
    """Return rows of two one-hot fields beside two numeric columns, one of them sparse, and an FM."""
    rng = np.random.default_rng(0)
    one_hot = np.eye(4)[rng.integers(3, size=50)], np.eye(3)[rng.integers(3, size=50)]  # nobody has feature 3
    X = np.column_stack([*one_hot, rng.normal(size=50), rng.normal(size=50) * (np.arange(50) % 2)])
    module = FM(9, k, n_outputs, dtype=torch.float64)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    return X, module


def predict(module, X):
    rows = sparse.csr_array(X)
    return module(*(torch.from_numpy(each) for each in (rows.indices, rows.data, rows.indptr))).detach().numpy()


@pytest.mark.parametrize("n_outputs", [None, 3])
def test_centering_keeps_predictions_and_makes_a_missing_field_the_average_one(n_outputs):
    X, module = draw(n_outputs)
    weight = np.linspace(1, 2, 50)
    fields, frequency = complete_fields(Samples(sparse.csr_array(X), None, weight, SINGLE_PROCESS))
    assert fields == [slice(0, 4), slice(4, 7)]
    np.testing.assert_allclose(frequency[:7], weight @ X[:, :7])
    before = predict(module, X)
    each_user = np.repeat(X[:5, None], 3, axis=1)  # five rows, with each of the three users
    each_user[:, :, :4] = np.eye(4)[:3]
    average = np.average(predict(module, each_user.reshape(15, 9)).reshape(5, 3, -1), axis=1, weights=frequency[:3])
    module._center_fields(fields, frequency)
    np.testing.assert_allclose(predict(module, X), before, rtol=1e-10)
    lacking = X[:5] * (np.arange(9) >= 4)
    np.testing.assert_allclose(predict(module, lacking).reshape(5, -1), average, rtol=1e-10)


def test_centered_terms_have_mean_zero_in_each_field():
    X, module = draw()
    fields, frequency = complete_fields(Samples(sparse.csr_array(X), None, np.ones(50), SINGLE_PROCESS))
    module._center_fields(fields, frequency)
    for field in fields:
        np.testing.assert_allclose(frequency[field] @ module.factors.detach().numpy()[field], 0, atol=1e-12)
        np.testing.assert_allclose(frequency[field] @ module.linear.weight.detach().numpy()[field], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda X: X, [slice(0, 4), slice(4, 7)]),
        (lambda X: X * np.where(np.arange(9) < 4, 0.5, 1), [slice(4, 7)]),  # not of value 1
        (lambda X: np.vstack([X, X[:1] * (np.arange(9) >= 4)]), [slice(4, 7)]),  # a row lacks it
        (lambda X: X[:, 7:], []),  # numbers
    ],
    ids=["two fields", "other values", "incomplete", "numeric"],
)
def test_complete_fields_are_found(change, expected):
    X = sparse.csr_array(change(draw()[0]))
    assert complete_fields(Samples(X, None, np.ones(X.shape[0]), SINGLE_PROCESS))[0] == expected


def test_duplicate_entries_are_one_entry():
    rows = sparse.csr_matrix(([1.0, 1.0, 1.0, 1.0], [0, 0, 1, 2], [0, 3, 4]), shape=(2, 3))  # a 2 beside a 1, and a 1
    assert complete_fields(Samples(rows, None, np.ones(2), SINGLE_PROCESS))[0] == [slice(1, 3)]
