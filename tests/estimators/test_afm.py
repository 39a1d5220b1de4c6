"""What is peculiar to attentional factorization machines: attention, reduced precision, the memory of long rows."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import reference
import torch
from conftest import on_each_device, ragged_matrix

from skafm import AFMRegressor
from skafm._training.batching import CSRRows, Dataset
from skafm._training.loop import compute_step
from skafm._training.losses import Objective, squared_error
from skafm.nn import AFM
from skafm.nn._pairs import dispatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"n_factors": 3, "random_state": 0, "max_iter": 30, "batch_size": 16, "learning_rate": 0.2}


@pytest.fixture
def model(ragged):
    """A model fitted on ragged rows."""
    return AFMRegressor(**SMALL).fit(*ragged)


# --- attention --------------------------------------------------------------------------------------------------------


def test_attention_equals_the_loops(model, ragged):
    X, _ = ragged
    network = (model.attention_coef_, model.attention_intercept_, model.attention_projection_)
    for x, weights in zip(X, model.attention(X), strict=True):
        np.testing.assert_allclose(weights, reference.attention(x, model.factors_, *network)[2], rtol=1e-10)


def test_attention_has_a_weight_for_each_pair(model, ragged):
    X, _ = ragged
    lengths = np.count_nonzero(X, axis=1)
    assert [len(weights) for weights in model.attention(X)] == (lengths * (lengths - 1) // 2).tolist()


def test_attention_of_each_row_sums_to_one(model, ragged):
    sums = [weights.sum() for weights in model.attention(ragged[0]) if len(weights)]
    assert len(sums) == 48
    np.testing.assert_allclose(sums, 1, rtol=1e-12)


def test_attention_differs_between_the_pairs_of_a_row(model, ragged):
    weights = model.attention(ragged[0])[-1]
    assert np.std(weights) > 0.01 / len(weights)


# --- reduced precision ------------------------------------------------------------------------------------------------


def test_reduced_precision_trains_alike_and_predicts_in_full(ragged, monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", 0)  # with few pairs the precision is full
    X, y = ragged
    numbers = {"l2_linear": 0.0, "l2_factors": 0.003}
    model, reduced = (AFMRegressor(**SMALL, **numbers, reduced_precision=own).fit(X, y) for own in (False, True))
    assert not np.array_equal(model.factors_, reduced.factors_)
    np.testing.assert_allclose(reduced.predict(X), reference.predict(reduced, X), rtol=1e-10)
    assert reduced.score(X, y) == pytest.approx(model.score(X, y), abs=0.05)


def step(X, device, *, reduced):
    """Return a step on 20 rows in float32."""
    generator = torch.Generator().manual_seed(0)
    module = AFM(9, 3, 4, reduced_precision=reduced, generator=generator)
    for parameter in (module.attention_projection, module.factors):
        torch.nn.init.normal_(parameter, generator=generator)
    target = torch.linspace(-1, 1, len(X), device=device)
    data = Dataset(CSRRows.from_scipy(X.astype(np.float32), torch.device(device)), target, torch.ones_like(target))
    return compute_step(module.to(device), data, torch.arange(3, 23, device=device), Objective(squared_error, {}), None)


@pytest.mark.parametrize(
    "X", [(np.arange(9) + np.arange(30)[:, None]) % 3 == 0, ragged_matrix(30)], ids=["one-hot", "ragged"]
)
@on_each_device
def test_step_in_reduced_precision_is_near_the_full_one(X, device, monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", 0)
    full, reduced = (step(X, device, reduced=choice).gradients for choice in (False, True))
    assert not torch.equal(full["attention_weight"], reduced["attention_weight"])
    for name, gradient in full.items():
        scale = full["attention_weight"] if name == "attention_bias" else gradient  # b's parts cancel over a row
        assert (reduced[name] - gradient).norm() <= 0.02 * scale.norm(), name


# --- memory -----------------------------------------------------------------------------------------------------------

LONG_ROWS = """
import sys, warnings
import numpy as np, sklearn
from skafm import AFMRegressor
warnings.simplefilter("ignore")

def peak():  # ru_maxrss would begin at the size of the process that started this
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) / 1024

X = np.random.default_rng(0).normal(size=(2, 2000)).astype(np.float32)
model = AFMRegressor(16, attention_size=16, max_iter=1, dropout=0.2, solver="sgd", learning_rate=1e-9)
with sklearn.config_context(working_memory=1):
    model.fit(X[:, :300], [0.0, 1.0]).predict(X[:, :300])  # loads all there is to load
before = peak()
with sklearn.config_context(working_memory=int(sys.argv[1])):
    model.fit(X, [0.0, 1.0]).predict(X)
print(peak(), peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("working_memory", [1024, 64])
def test_rows_of_two_million_pairs_keep_to_the_working_memory(working_memory):
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    output = run([sys.executable, "-c", LONG_ROWS, str(working_memory)]).stdout
    whole, more = (float(figure) for figure in output.split())
    assert whole < 1500
    assert more < 1.5 * working_memory + 50
