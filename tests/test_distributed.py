"""Several ranks against one process. Each launch makes many calls, and each test checks one claim about them."""

import os
import pickle
import signal
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from distributed_ranks import BATCH, COMMON, LIMIT, NO_PRIORS, N, cases, counts, data, fit_ranker, stopped

from skafm import FMRegressor
from skafm.distributed import data_parallel

SCRIPT = Path(__file__).with_name("distributed_ranks.py")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """The folder of what two and three ranks got."""
    folder = tmp_path_factory.mktemp("ranks")
    output = subprocess.run(
        [sys.executable, SCRIPT, folder], env=ENVIRONMENT, check=True, capture_output=True, text=True
    )
    assert output.stdout.split("\n")[:2] == [f"0 {-signal.SIGKILL}", "0 0 0"], output.stderr
    return folder


@pytest.fixture
def ranks(launched):
    """What each of three ranks got."""
    return results(launched, 3)


@pytest.fixture
def failures(launched):
    """Error, its text, whether the model is as it was, and seconds: where rank 1 does not answer, and where it dies."""
    return pickle.loads((launched / "2" / "failures.pickle").read_bytes())


@cache
def results(folder, n_ranks):
    return [pickle.loads((folder / str(n_ranks) / f"{rank}.pickle").read_bytes()) for rank in range(n_ranks)]


def order(n_ranks):
    """The rows as one process must have them for the ranks' batches.

    Counted through all ranks, row j is dealt to batch j modulo their number; a rank gives its rows one after another.
    """
    steps, bounds = -(-N // BATCH), np.cumsum([0, *counts(n_ranks)])
    batches = [[] for _ in range(steps)]
    for start, stop in pairwise(bounds):
        sizes = np.bincount(np.arange(start, stop) % steps, minlength=steps)
        for batch, rows in zip(batches, np.split(np.arange(start, stop), sizes.cumsum()[:-1]), strict=True):
            batch.extend(rows)
    assert any(len(batch) != len(batches[0]) for batch in batches)
    return np.concatenate(batches).astype(int)


def fitted(model):
    """The fitted attributes, and the unit and range of the targets."""
    private = {"_target_range", "_target_scale"}
    found = {name: value for name, value in vars(model).items() if name.endswith("_") or name in private}
    assert "_target_scale" in found
    return found


def assert_same(model, expected, tolerance):
    model, expected = fitted(model), fitted(expected)
    assert model.keys() == expected.keys()
    for name, value in expected.items():
        if name == "classes_":
            assert model[name].tolist() == value.tolist()
        elif value is not None:
            layers = (model[name], value) if isinstance(value, list) else ([model[name]], [value])
            for mine, its in zip(*layers, strict=True):
                np.testing.assert_allclose(mine, its, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("name", cases())
def test_ranks_equal_one_process_with_the_same_batches(ranks, name):
    (X, _, weight), (model, target), rows = data(), cases()[name], order(len(ranks))
    assert_same(ranks[0][name], model.fit(X[rows], target[rows], weight[rows]), 1e-10)


def test_ranks_with_whole_queries_equal_one_process(ranks):
    assert_same(ranks[0]["ranker"], fit_ranker(slice(None), data()[2]), 1e-10)


def test_ranks_equal_one_process_in_single_precision(ranks):
    (X, y, _), rows = data(), order(len(ranks))
    assert_same(ranks[0]["float32"], FMRegressor(solver="sgd", **COMMON).fit(X[rows].astype(np.float32), y[rows]), 1e-5)


def test_partial_fit_equals_one_process(ranks):
    (X, y, _), rows = data(), order(len(ranks))
    model = FMRegressor(**COMMON)
    for _ in range(2):
        model.partial_fit(X[rows], y[rows])
    assert_same(ranks[0]["partial_fit"], model, 1e-10)


def test_early_stopping_equals_one_process(ranks):
    (X, y, _), rows = data(), order(len(ranks))
    shift = np.repeat(np.arange(len(ranks)), counts(len(ranks)))
    model = stopped().fit(X[rows], y[rows], X_val=X, y_val=y + shift)
    assert 1 < model.n_iter_ < model.max_iter
    assert_same(ranks[0]["stopped"], model, 1e-8)


@pytest.mark.parametrize("name", [*cases(), "stopped", "shuffled", "seeds", "masks"])
def test_every_rank_has_the_same_model(ranks, name):
    for other in ranks[1:]:
        assert_same(other[name], ranks[0][name], 0)


def test_each_rank_drops_its_own_units(ranks):
    (X, y, _), settings = data(), COMMON | NO_PRIORS
    twin = lambda dropout: FMRegressor(dropout=dropout, **settings).fit(X[: 3 * BATCH], y[: 3 * BATCH])  # noqa: E731
    assert_same(ranks[0]["no masks"], twin(0.0), 1e-10)  # the ranks have the same rows: only masks can differ
    assert np.abs(ranks[0]["masks"].factors_ - twin(0.5).factors_).max() > 1e-3


def test_fit_outside_of_the_context_shares_nothing(ranks):
    X, y, _ = data()
    for rank, found in enumerate(ranks):
        assert_same(found["outside"], FMRegressor(**COMMON).fit(X[:40] + rank, y[:40]), 0)


def test_bytes_of_a_step_do_not_grow_with_the_table(ranks):
    assert ranks[0]["bytes of 1000"] == ranks[0]["bytes of 100000"] > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rate", "learning_rate is 0.1 on rank 0 and 1.1 on rank 1"),
        ("columns", "n_features is 9 on rank 0 and 8 on rank 1"),
        ("scoring", "Only scoring='loss' is supported in distributed training, got 'r2'"),
        ("norm", "fit it in one process"),
    ],
)
def test_every_rank_says_what_is_wrong(ranks, name, message):
    for found in ranks:
        kind, text, untouched = found["errors"][name]
        assert (kind, untouched) == ("ValueError", True)
        assert message in text


def test_malformed_rows_of_one_rank_are_an_error_on_all(ranks):
    assert ranks[1]["errors"]["rows"][:2] == ("ValueError", ranks[1]["errors"]["rows"][1])
    assert "Rank 1 of" in ranks[0]["errors"]["rows"][1]
    assert "contains NaN" in ranks[0]["errors"]["rows"][1]


@pytest.mark.parametrize("name", ["mute", "dead"])
def test_lost_rank_is_an_error_on_the_other(failures, name):
    kind, text, _, _ = failures[name]
    assert kind == "RuntimeError"
    assert "Rank 0 of 2 lost the others" in text


@pytest.mark.parametrize("name", ["mute", "dead"])
def test_lost_rank_leaves_the_model_as_it_was(failures, name):
    assert failures[name][2]


def test_rank_waits_as_long_as_the_group_allows(failures):
    assert LIMIT - 1 < failures["mute"][3] < 4 * LIMIT


def test_context_without_a_process_group_says_what_to_do():
    assert not torch.distributed.is_initialized()
    with pytest.raises(RuntimeError, match="start the script with torchrun"), data_parallel():
        pass
