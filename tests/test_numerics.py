"""Extreme numbers: very small, very large, very many steps, and logits whose exponential overflows."""

import subprocess
import sys

import numpy as np
import pytest
import reference
import torch
from conftest import ragged_matrix
from scipy import sparse

from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor
from skafm.nn import functional
from skafm.nn._pairs import dispatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])
X = ragged_matrix(40, 6)
Y = X[:, 0] * X[:, 1] + X[:, 2]


@both
@precisions
@pytest.mark.parametrize("exponent", range(-30, 31, 10))
def test_rows_of_any_size_give_a_finite_model_or_a_clear_error(Estimator, dtype, exponent):
    scaled = (X * 10.0**exponent).astype(dtype)
    model = Estimator(2, max_iter=3, random_state=0)
    if exponent <= 0:
        assert np.isfinite(model.fit(scaled, Y).predict(scaled)).all()
        return
    try:
        raw = model.fit(scaled, Y).predict(scaled)
    except ValueError as error:
        raw, message = np.zeros(1), str(error)
        assert "scale X" in message
    assert np.isfinite(raw).all()


@both
@pytest.mark.parametrize("exponent", range(-30, 31, 10))
@precisions
def test_unit_of_y_does_not_matter_from_tiny_to_huge(Estimator, dtype, exponent):
    rows, unit = X.astype(dtype), 10.0**exponent
    one, other = (Estimator(2, max_iter=3, random_state=0).fit(rows, scale * Y) for scale in (1.0, unit))
    np.testing.assert_allclose(other.predict(rows).astype(float) / unit, one.predict(rows), rtol=1e-4, atol=1e-5)


def test_gradients_that_float32_cannot_square_are_named():
    with pytest.raises(ValueError, match=r"A gradient became too large in epoch 1: lower learning_rate"):
        FMRegressor(2, max_iter=3, random_state=0).fit((1e8 * X).astype(np.float32), Y)


@both
@pytest.mark.parametrize("solver", ["adagrad", "adam"])
@precisions
def test_state_of_many_epochs_still_moves_and_stays_finite(Estimator, solver, dtype):
    rows = X.astype(dtype)
    model = Estimator(2, solver=solver, random_state=0).partial_fit(rows, Y)
    before = model.linear_coef_.copy()
    for states in model._training_state["states"].values():
        if solver == "adagrad":  # 1e5 epochs of unit gradients
            states[0][...] = 1e5
        else:  # the weights of the moments after as many steps
            for state in states[2:]:
                state[...] = 1
    model.partial_fit(rows, Y)
    assert all(np.isfinite(state).all() for states in model._training_state["states"].values() for state in states)
    assert 0 < np.abs(model.linear_coef_ - before).max() < 0.2
    assert np.isfinite(model.predict(rows)).all()


@pytest.mark.parametrize("Estimator", [FMClassifier, AFMClassifier])
@precisions
def test_probabilities_of_huge_scores_are_probabilities(Estimator, dtype):
    rows = X.astype(dtype)
    for labels in ((Y > 0).astype(int), np.arange(40) % 3):
        model = Estimator(2, max_iter=2, random_state=0).fit(rows, labels)
        model.linear_coef_ = model.linear_coef_ + dtype(1e6)
        probabilities, logarithms = model.predict_proba(rows), model.predict_log_proba(rows)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        assert np.isfinite(logarithms).all()


# --- attention --------------------------------------------------------------------------------------------------------


def network(dtype, size):
    """Return V, W, b, h and p whose logits spread over ``size``."""
    rng = np.random.default_rng(0)
    V, W, b = rng.normal(size=(6, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
    h, p = size * rng.normal(size=4), rng.normal(size=3)
    return [torch.from_numpy(np.asarray(array, dtype)) for array in (V, W, b, h, p)]


def batch(dtype):
    csr = sparse.csr_array(X.astype(dtype))
    return torch.from_numpy(csr.indices).long(), torch.from_numpy(csr.data), torch.from_numpy(csr.indptr).long()


def test_softmax_of_logits_whose_exponential_overflows():
    logits = torch.tensor([1e4, 1e4 - 1, -1e4, 5e4, 5e4], dtype=torch.float32)
    softmax, total = functional.segment_softmax(logits, torch.tensor([0, 0, 0, 1, 1]), 3)
    expected = [np.e / (np.e + 1), 1 / (np.e + 1), 0, 0.5, 0.5]
    np.testing.assert_allclose(softmax, expected, rtol=1e-4)
    np.testing.assert_allclose(total, [1e4 + np.log(1 + 1 / np.e), 5e4 + np.log(2), -np.inf], rtol=1e-6)


@precisions
@pytest.mark.parametrize("size", [1e4, 1e8])
@pytest.mark.parametrize("max_pairs", [2**22, 2])
def test_attention_of_overflowing_logits_equals_the_equation(dtype, size, max_pairs):
    V, W, b, h, p = network(dtype, size)
    double = [array.double().numpy() for array in (V, W, b, h, p)]
    expected = [reference.afm(x, 0.0, np.zeros(6), *double) for x in X]
    plain = functional.attentional_interaction(V, W, b, h, p, *batch(dtype))
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-6, "atol": 1e-9}
    np.testing.assert_allclose(plain, expected, **tolerance)
    fast = dispatch.attentional_interaction(V, W, b, h, p, *batch(dtype), chunk_elements=2**19)
    np.testing.assert_allclose(fast, expected, **tolerance)
    (indices, values, offsets), row = batch(dtype), 34  # of six entries
    at = slice(offsets[row], offsets[row + 1])
    alone = indices[at], values[at], torch.tensor([0, 6])
    part = dispatch.attentional_interaction(V, W, b, h, p, *alone, max_pairs=max_pairs)
    np.testing.assert_allclose(part, expected[row : row + 1], **tolerance)


@precisions
def test_gradients_of_overflowing_logits_are_finite(dtype):
    parameters = [parameter.requires_grad_() for parameter in network(dtype, 1e4)]
    dispatch.attentional_interaction(*parameters, *batch(dtype), chunk_elements=2**19).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in parameters)


@precisions
@pytest.mark.parametrize("size", [1e4, 1e8])
def test_predict_and_attention_are_right_with_overflowing_logits(dtype, size):
    model = AFMRegressor(3, attention_size=4, max_iter=2, random_state=0).fit(X.astype(dtype), Y)
    arrays = [array.numpy() for array in network(dtype, size)]
    model.factors_, model.attention_coef_, model.attention_intercept_, model.attention_projection_ = arrays[:4]
    rows = X.astype(dtype)
    np.testing.assert_allclose(model.predict(rows), reference.predict(model, X), rtol=1e-4, atol=1e-5)
    sums = [weights.sum() for weights in model.attention(rows) if len(weights)]
    np.testing.assert_allclose(sums, 1, rtol=1e-5)


@precisions
def test_equal_logits_of_any_size_are_uniform_attention(dtype):
    model = AFMRegressor(3, attention_size=4, max_iter=2, random_state=0).fit(X.astype(dtype), Y)
    model.attention_coef_, model.attention_projection_ = np.zeros((4, 3), dtype), np.full(4, 1e8, dtype)
    model.attention_intercept_ = np.full(4, 1e8, dtype)
    for weights in model.attention(X.astype(dtype)):
        np.testing.assert_allclose(weights, np.full(len(weights), 1 / max(len(weights), 1)), rtol=1e-6)


# --- threads ----------------------------------------------------------------------------------------------------------

THREADS = """
import hashlib, sys, warnings
import numpy as np, torch
from skafm import AFMRegressor, FMRegressor
warnings.simplefilter("ignore")
rows = np.random.default_rng(0).integers(0, 50, size=(600, 6))
X = np.zeros((600, 300))
X[np.arange(600)[:, None], rows + 50 * np.arange(6)] = 1
y = rows[:, 0] % 7 - rows[:, 1] % 3
for threads in (1, 2, 2):
    torch.set_num_threads(threads)
    for Estimator in (FMRegressor, AFMRegressor):
        model = Estimator(32, max_iter=2, random_state=0, batch_size=300).fit(X, y)
        bits = [hashlib.sha1(each.tobytes()).hexdigest() for each in (model.factors_, model.predict(X))]
        print(threads, Estimator.__name__, *bits, model.predict(X[:1])[0])
"""


@pytest.mark.timeout(120)
def test_threads_change_rounding_at_most_and_the_same_number_nothing():
    output = subprocess.run([sys.executable, "-c", THREADS], check=True, capture_output=True, text=True).stdout
    lines = [line.split() for line in output.splitlines()]
    assert [line[1:] for line in lines[2:4]] == [line[1:] for line in lines[4:6]]  # two threads, twice
    one, two = ([float(line[-1]) for line in part] for part in (lines[:2], lines[2:4]))
    np.testing.assert_allclose(one, two, rtol=1e-6)
