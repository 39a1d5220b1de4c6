"""Faults around a fit: Ctrl-C, callbacks and scorers that raise, full disks, no memory."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from conftest import ragged_matrix

from skafm import AFMRegressor, FMRegressor
from skafm.nn._pairs import dispatch, network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
X = ragged_matrix(40, 6)
Y = X[:, 0] * X[:, 1] + X[:, 2]


@pytest.fixture
def unharmed():
    """Return a function that fits a model, and one that asserts that it is as it was."""

    def fitted(Estimator, **parameters):
        model = Estimator(2, max_iter=3, random_state=0).fit(X, Y).set_params(**parameters)
        return model, dict(vars(model)), model.predict(X)

    def check(model, state, expected):
        assert vars(model).keys() == state.keys()
        assert all(vars(model)[name] is value for name, value in state.items())
        assert np.array_equal(model.predict(X), expected)

    return fitted, check


# --- Ctrl-C, by a true signal -----------------------------------------------------------------------------------------

MOMENTS = [  # method, moment, the call in it that is interrupted, early stopping, what is left
    ("fit", "to_dataset", 1, False, "as it was"),
    ("fit", "step", 3, False, "as it was"),  # in the first epoch
    ("fit", "pretraining", 15, False, "as it was"),
    ("fit", "step", 15, False, "model of 2"),
    ("fit", "evaluate", 1, True, "as it was"),  # of the initial parameters
    ("fit", "evaluate", 4, True, "model of 3"),
    ("fit", "rescaled_parameters", 1, False, "as it was"),  # trained, and not yet stored
    ("partial_fit", "step", 3, False, "as it was"),
]

INTERRUPTED = """
import os, signal, warnings
from unittest import mock
import numpy as np
from skafm import AFMRegressor
from skafm._training import conversion, optimizers, trainer

X = np.random.default_rng(0).normal(size=(60, 5)) * (np.arange(300).reshape(60, 5) % 3 > 0)
y = X[:, 0] * X[:, 1]
OWNERS = {"to_dataset": conversion, "evaluate": trainer.Trainer, "rescaled_parameters": trainer.Trainer}

def signalled(function, n):
    calls = []
    def called(*args, **kwargs):
        calls.append(None)
        if len(calls) == n:
            os.kill(os.getpid(), signal.SIGINT)
        return function(*args, **kwargs)
    return called

def left(method, moment, n, early):
    init, name = ("fm", "step") if moment == "pretraining" else ("random", moment)
    model = AFMRegressor(2, max_iter=2, random_state=0).fit(X, y)
    model.set_params(batch_size=10, max_iter=8, tol=0.0, early_stopping=early, init=init)
    before, expected = dict(vars(model)), model.predict(X)
    owner = OWNERS.get(name, optimizers.Optimizer)
    patch = mock.patch.object(owner, name, signalled(getattr(owner, name), n))
    with warnings.catch_warnings(record=True) as caught, patch:
        warnings.simplefilter("always")
        try:
            getattr(model, method)(X, y)
        except KeyboardInterrupt:
            caught.clear()
    if not caught:
        same = vars(model).keys() == before.keys() and all(vars(model)[key] is value for key, value in before.items())
        return "as it was" if same and np.array_equal(model.predict(X), expected) else "harmed"
    messages = [str(each.message) for each in caught if "interrupted" in str(each.message)]
    assert len(messages) == 1 and f"after {model.n_iter_} completed epochs" in messages[0], messages
    assert len(model.loss_curve_) == model.n_iter_ and np.isfinite(model.predict(X)).all()
    return f"model of {model.n_iter_}"

warnings.simplefilter("ignore")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process that a script starts with & would ignore it
for *moment, _ in MOMENTS:
    print(left(*moment), flush=True)
"""


def test_interrupt_leaves_the_epochs_done_or_nothing():
    code = f"MOMENTS = {MOMENTS}\n{INTERRUPTED}"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=200
    ).stdout
    assert output.splitlines() == [expected for *_, expected in MOMENTS]


# --- what others raise ------------------------------------------------------------------------------------------------


@both
def test_scorer_that_raises_leaves_the_estimator_as_it_was(Estimator, unharmed):
    fitted, check = unharmed
    calls = []

    def scorer(*_, **__):
        calls.append(None)
        if len(calls) == 2:
            raise LookupError("no score")
        return 0.5

    model, *before = fitted(Estimator, early_stopping=True, scoring=scorer)
    with pytest.raises(LookupError, match="no score"):
        model.fit(X, Y)
    check(model, *before)


class Failing:
    """A callback that raises at the end of the second epoch."""

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, **_):  # noqa: ARG002
        if context.task_name == "epoch" and context.task_id == 1:
            raise LookupError("no callback")


@both
@pytest.mark.skipif(importlib.util.find_spec("sklearn.callback") is None, reason="this scikit-learn has no callbacks")
def test_callback_that_raises_leaves_the_estimator_as_it_was(Estimator, unharmed):
    fitted, check = unharmed
    model = fitted(Estimator)[0].set_callbacks(Failing())
    state, expected = dict(vars(model)), model.predict(X)
    with pytest.raises(LookupError, match="no callback"):
        model.fit(X, Y)
    check(model, state, expected)


# --- no memory, no disk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_no_memory_for_a_chunk_leaves_the_estimator_as_it_was(method, error, unharmed, monkeypatch):
    fitted, check = unharmed
    model, *before = fitted(AFMRegressor)
    load, calls = network.Chunks.load, []

    def exhausted(self, chunk):
        calls.append(None)
        if len(calls) == 2:
            raise error("no memory")
        return load(self, chunk)

    monkeypatch.setattr(network.Chunks, "load", exhausted)
    monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", 0)  # few pairs are computed without chunks
    with pytest.raises(error, match="no memory"):
        getattr(model, method)(X, Y)
    monkeypatch.undo()
    check(model, *before)


@both
def test_no_memory_while_predicting_leaves_the_estimator_as_it_was(Estimator, unharmed, monkeypatch):
    fitted, check = unharmed
    model, *before = fitted(Estimator)

    def exhausted(*_):
        raise MemoryError("no memory")

    monkeypatch.setattr("skafm._training.conversion.predict", exhausted)
    with pytest.raises(MemoryError, match="no memory"):
        model.predict(X)
    monkeypatch.undo()
    check(model, *before)


@both
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no disk that is always full")
def test_full_disk_while_saving_leaves_the_estimator_as_it_was(Estimator, unharmed):
    fitted, check = unharmed
    model, *before = fitted(Estimator)
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("wb", buffering=0) as full:
        joblib.dump(model, full)
    check(model, *before)
    assert model.fit(X, Y).n_iter_ == 3
