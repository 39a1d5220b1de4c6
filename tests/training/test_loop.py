"""The training loop and the prediction loop: objective, steps, order of rows, micro-batches, waits."""

import weakref
from itertools import islice

import numpy as np
import pytest
import torch
from conftest import ragged_matrix
from waits import Waits

from skafm._training.batching import CSRRows, Dataset
from skafm._training.loop import BatchConfig, compute_step, predict, train
from skafm._training.losses import Objective, squared_error
from skafm._training.optimizers import SOLVERS
from skafm.nn import AFM, FM, HOFM
from skafm.nn._pairs import dispatch

N, FEATURES = 30, 9


def dataset():
    rng = np.random.default_rng(3)
    weight = rng.uniform(0.5, 1.5, N)
    rows = CSRRows.from_scipy(ragged_matrix(N), torch.device("cpu"))
    return Dataset(rows, torch.tensor(rng.normal(size=N)), torch.tensor(weight / weight.mean()))


def model(make=FM, **parameters):
    sizes = (FEATURES, 3, 4) if make is AFM else (FEATURES, 3)
    module = make(*sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64, **parameters)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return module


def run(module, data, penalties=None, *, solver="sgd", lr=0.01, max_iter=1, batch_size=N, shuffle=False, memory=2**30):
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    optimizer = SOLVERS[solver](parameters, lr)
    config, generator = BatchConfig(batch_size, shuffle, memory), torch.Generator().manual_seed(0)
    objective = Objective(squared_error, penalties or {})
    return list(islice(train(module, data, objective, optimizer, config, generator), max_iter))


def objective_by_loops(module, data, penalties):
    """The objective as documented, feature by feature and row by row, as a function of the parameters."""
    parameters = dict(module.named_parameters())
    raw = module(*data.rows.slice(0, N))
    total = torch.zeros((), dtype=torch.float64)
    for row in range(N):
        term = (raw[row] - data.target[row]) ** 2
        for feature in data.rows.indices[data.rows.indptr[row] : data.rows.indptr[row + 1]]:
            for name in module._per_feature:
                term = term + penalties.get(name, 0.0) * (parameters[name][feature] ** 2).sum()
        total = total + data.weight[row] * term / N
    for name, parameter in parameters.items():
        if name not in module._per_feature:
            total = total + penalties.get(name, 0.0) * (parameter**2).sum()
    return total


PENALTIES = {"linear.weight": 0.3, "factors": 0.2}


@pytest.mark.parametrize(("make", "extra"), [(FM, {}), (AFM, {"attention_weight": 0.7})])
def test_step_descends_the_documented_objective(make, extra):
    module, data, penalties = model(make), dataset(), PENALTIES | extra
    value = objective_by_loops(module, data, penalties)
    gradients = torch.autograd.grad(value, list(module.parameters()))
    expected = [p.detach() - 0.01 * g for p, g in zip(module.parameters(), gradients, strict=True)]
    losses = run(module, data, penalties)
    assert losses[0] == pytest.approx(float(value.detach()), rel=1e-10)
    for parameter, wanted in zip(module.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.detach(), wanted, rtol=1e-9, atol=1e-12)


def test_objectives_of_batches_average_to_that_of_the_whole():
    module, data = model(), dataset()
    value = float(objective_by_loops(module, data, PENALTIES).detach())
    losses = run(module, data, PENALTIES, lr=1e-14, batch_size=7)
    assert losses[0] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("make", [FM, AFM])
def test_rows_of_features_outside_the_batch_are_untouched(solver, make):
    module, data = model(make), dataset()
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    chosen = slice(0, 3)  # rows of 0, 1 and 2 entries
    few = Dataset(
        CSRRows.from_scipy(ragged_matrix(N)[chosen], torch.device("cpu")), data.target[chosen], data.weight[chosen]
    )
    seen = set(few.rows.indices.tolist())
    unseen = [feature for feature in range(FEATURES) if feature not in seen]
    run(module, few, PENALTIES, solver=solver, batch_size=3)
    for name in module._per_feature:
        now = dict(module.named_parameters())[name].detach()
        assert torch.equal(now[unseen], before[name][unseen])
        assert not torch.equal(now, before[name])


def test_batches_differ_by_one_row_at_most(monkeypatch):
    sizes = []
    take = CSRRows.take
    monkeypatch.setattr(CSRRows, "take", lambda self, rows: sizes.append(len(rows)) or take(self, rows))
    run(model(), dataset(), batch_size=29)
    assert sizes == [15, 15]


def test_shuffle_draws_a_new_order_each_epoch(monkeypatch):
    orders = []
    take = CSRRows.take
    monkeypatch.setattr(CSRRows, "take", lambda self, rows: orders.append(rows.tolist()) or take(self, rows))
    run(model(), dataset(), shuffle=True, max_iter=2)
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(N))
    assert orders[0] != orders[1]
    assert orders[0] != list(range(N))


def test_micro_batch_is_freed_before_the_next():
    marks = []

    class Mark:
        """Lives as long as the graph that it is put on."""

    class Watched(FM):
        def forward(self, *batch):
            assert all(each() is None for each in marks)
            raw, mark = super().forward(*batch), Mark()
            raw.grad_fn.metadata["mark"] = mark
            marks.append(weakref.ref(mark))
            return raw

    run(Watched(FEATURES, 3, dtype=torch.float64), dataset(), memory=1)
    assert len(marks) == N


@pytest.mark.parametrize(("batch_size", "memory"), [(7, 2**30), (N, 1), (N, 5000)])
@pytest.mark.parametrize("X", [ragged_matrix(N), np.ones((N, FEATURES))], ids=["ragged", "one length"])
def test_predict_does_not_depend_on_the_size_of_its_batches(X, batch_size, memory):
    module, rows = model(AFM, dropout=0.5), CSRRows.from_scipy(X, torch.device("cpu"))
    whole = module.eval()(*rows.slice(0, N)).detach()
    np.testing.assert_allclose(predict(module.train(), rows, batch_size, memory), whole, rtol=1e-12)


# --- what a CUDA device would have to wait for ------------------------------------------------------------------------


HOT = (np.arange(9) + np.arange(N)[:, None]) % 3 == 0
FEATURE_COUNT = ["unique_consecutive"]
ENTRY_COUNT = ["repeat_interleave"]
LENGTH_AND_PAIRS = ["equal", "unique_consecutive"]
LEVELS_AND_ENTRIES = ["_local_scalar_dense", "_unique2", "_unique2", "repeat_interleave"]


@pytest.mark.parametrize(
    ("make", "X", "expected"),
    [
        (FM, HOT, FEATURE_COUNT),
        (FM, ragged_matrix(N), ENTRY_COUNT + FEATURE_COUNT),
        (HOFM, HOT, FEATURE_COUNT),
        (HOFM, ragged_matrix(N), ENTRY_COUNT + FEATURE_COUNT),
        (AFM, HOT, FEATURE_COUNT + LENGTH_AND_PAIRS),
        (AFM, ragged_matrix(N), ENTRY_COUNT + FEATURE_COUNT + ["equal", *LEVELS_AND_ENTRIES, "unique_consecutive"]),
    ],
    ids=["FM one-hot", "FM ragged", "HOFM one-hot", "HOFM ragged", "AFM one-hot", "AFM ragged"],
)
def test_step_waits_for_sizes_only(make, X, expected, monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", 0)
    rows, target = CSRRows.from_scipy(X.astype(float), torch.device("cpu")), torch.linspace(-1, 1, N).double()
    module = model(make, dropout=0.3)
    optimizer = SOLVERS["adagrad"]({name: p.detach() for name, p in module.named_parameters()}, 0.1)
    with Waits() as waits:
        objective = Objective(squared_error, PENALTIES)
        step = compute_step(module, Dataset(rows, target, torch.ones(N).double()), torch.arange(3, 11), objective, None)
        optimizer.step(step.parameters, step.gradients, dict.fromkeys(step.tables, step.features))
    assert waits.seen == expected


@pytest.mark.parametrize("make", [FM, HOFM])
def test_prediction_of_rows_of_one_length_waits_once(make):
    rows = CSRRows.from_scipy(HOT.astype(float), torch.device("cpu"))
    with torch.no_grad(), Waits() as waits:
        predict(model(make), rows, 4, 2**30)
    assert waits.seen == ["_local_scalar_dense"]
