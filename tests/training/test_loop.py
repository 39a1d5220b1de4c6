import weakref
from itertools import islice

import numpy as np
import pytest
import torch
from conftest import ragged_matrix

from skafm._training.batching import CSRRows, Dataset
from skafm._training.loop import BatchConfig, Objective, predict, train
from skafm._training.losses import squared_error
from skafm._training.optimizers import SOLVERS
from skafm.nn import AFM, FM

N, FEATURES = 30, 9


def examples():
    rng = np.random.default_rng(3)
    weight = rng.uniform(0.5, 1.5, N)
    rows = CSRRows.from_scipy(ragged_matrix(N), torch.device("cpu"))
    return Dataset(rows, torch.tensor(rng.normal(size=N)), torch.tensor(weight / weight.mean()))


def model(make=FM, **parameters):
    sizes = (FEATURES, 3) if make is FM else (FEATURES, 3, 4)
    module = make(*sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64, **parameters)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return module


def run(module, data, penalties=None, *, solver="sgd", lr=0.01, max_iter=1, batch_size=N, shuffle=False, memory=2**30):
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    optimizer = SOLVERS[solver](parameters, lr)
    plan, generator = BatchConfig(batch_size, shuffle, memory), torch.Generator().manual_seed(0)
    objective = Objective(squared_error, penalties or {})
    return list(islice(train(module, data, objective, optimizer, plan, generator), max_iter))


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
    module, data, penalties = model(make), examples(), PENALTIES | extra
    value = objective_by_loops(module, data, penalties)
    gradients = torch.autograd.grad(value, list(module.parameters()))
    expected = [p.detach() - 0.01 * g for p, g in zip(module.parameters(), gradients, strict=True)]
    losses = run(module, data, penalties)
    assert losses[0] == pytest.approx(float(value.detach()), rel=1e-10)
    for parameter, wanted in zip(module.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.detach(), wanted, rtol=1e-9, atol=1e-12)


def test_objectives_of_batches_average_to_that_of_the_whole():
    module, data = model(), examples()
    value = float(objective_by_loops(module, data, PENALTIES).detach())
    losses = run(module, data, PENALTIES, lr=1e-14, batch_size=7)
    assert losses[0] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("make", [FM, AFM])
def test_rows_of_features_outside_the_batch_are_untouched(solver, make):
    module, data = model(make), examples()
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
    run(model(), examples(), batch_size=29)
    assert sizes == [15, 15]


def test_shuffle_draws_a_new_order_each_epoch(monkeypatch):
    orders = []
    take = CSRRows.take
    monkeypatch.setattr(CSRRows, "take", lambda self, rows: orders.append(rows.tolist()) or take(self, rows))
    run(model(), examples(), shuffle=True, max_iter=2)
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(N))
    assert orders[0] != orders[1]
    assert orders[0] != list(range(N))


@pytest.mark.parametrize(("make", "extra"), [(FM, {}), (AFM, {"attention_weight": 0.7})])
@pytest.mark.parametrize("memory", [1, 5000])
def test_pieces_of_a_batch_make_the_same_step(make, extra, memory):
    limit = {"working_memory": memory} if make is AFM else {}  # rows are cut too
    whole, pieces = model(make), model(make, **limit)
    losses = run(whole, examples(), PENALTIES | extra)
    assert run(pieces, examples(), PENALTIES | extra, memory=memory) == pytest.approx(losses, rel=1e-10)
    for expected, actual in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


def test_a_piece_is_forgotten_before_the_next():
    pieces = []

    class Mark:
        """Lives as long as the graph that it is put on."""

    class Watched(FM):
        def forward(self, *batch):
            assert all(piece() is None for piece in pieces)
            raw, mark = super().forward(*batch), Mark()
            raw.grad_fn.metadata["mark"] = mark
            pieces.append(weakref.ref(mark))
            return raw

    run(Watched(FEATURES, 3, dtype=torch.float64), examples(), memory=1)
    assert len(pieces) == N


@pytest.mark.parametrize(("batch_size", "memory"), [(7, 2**30), (N, 1), (N, 5000)])
def test_predict_does_not_depend_on_the_size_of_its_batches(batch_size, memory):
    module, data = model(AFM, dropout=0.5), examples()
    whole = module.eval()(*data.rows.slice(0, N)).detach()
    np.testing.assert_allclose(predict(module.train(), data.rows, batch_size, memory), whole, rtol=1e-12)
