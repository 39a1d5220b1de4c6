"""Steps of fixed shapes are those of the loop, and the host waits for nothing in them; on CUDA they are graphs."""

from itertools import islice

import numpy as np
import pytest
import torch
from conftest import cuda, interpreted
from torch import nn
from waits import Waits

from skafm._options import EXPERIMENTAL_CUDA
from skafm._training import cuda_graph, fixed_steps
from skafm._training.batching import CSRRows, Dataset
from skafm._training.fixed_steps import FixedSteps, compact_entries
from skafm._training.loop import BatchConfig, train
from skafm._training.losses import LOSSES, Objective, make_loss
from skafm._training.optimizers import SOLVERS
from skafm._training.padded_rows import PaddedRows
from skafm.nn import AFM, FFM, FM, NFM
from skafm.nn._pairs import fused

N, FEATURES, LENGTH = 45, 12, 4
TABLES = ("linear.weight", "factors")
MODELS = {"FM": (FM, (5,)), "AFM": (AFM, (5, 6)), "NFM": (NFM, (5, (4,), None)), "deep AFM": (NFM, (5, (4,), 6))}
OPTIONS = {"huber": {"delta": 1.0}, "quantile": {"quantile": 0.3}, "tweedie": {"power": 1.5}}
SQUARED = make_loss("squared_error")
ABOUT = ("values", "shorter", "weighted", "n_outputs", "uneven")  # what a data set is asked for
models = pytest.mark.parametrize("name", MODELS)


def draw_rows(values, shorter, device="cpu", *, uneven=False):
    """Return rows of four entries, ones or real values; if asked, a third with fewer, or two of none and one of 8."""
    rng, X = np.random.default_rng(0), np.zeros((N, FEATURES))
    for number, row in enumerate(X):
        length = 1 + number % LENGTH if shorter and number % 3 == 0 else LENGTH
        length = {3: 0, 7: 8, 20: 0}.get(number, length) if uneven else length
        # The last column is in no row.
        row[rng.choice(FEATURES - 1, length, replace=False)] = rng.normal(size=length) if values else 1
    return CSRRows.from_scipy(X, torch.device(device))


def dataset(
    *, values=False, shorter=False, weighted=False, n_outputs=None, loss="squared_error", device="cpu", uneven=False
):
    rng = np.random.default_rng(1)
    if loss == "log_loss":
        target = rng.integers(0, n_outputs or 2, N).astype(float)
    elif loss in {"poisson", "gamma", "tweedie", "rate_log_loss"}:
        target = rng.uniform(0.1, 0.9, size=N if n_outputs is None else (N, n_outputs))
    else:
        target = rng.normal(size=N if n_outputs is None else (N, n_outputs))
    weight = torch.tensor(rng.uniform(0.5, 1.5, N), device=device) if weighted else None
    return Dataset(draw_rows(values, shorter, device, uneven=uneven), torch.tensor(target, device=device), weight)


def model(name, n_outputs=None, device="cpu", **options):
    """Return a model whose parameters all matter, and its generator."""
    make, sizes = MODELS[name]
    generator = torch.Generator(device).manual_seed(0)
    module = make(FEATURES, *sizes, n_outputs, generator=generator, dtype=torch.float64, device=device, **options)
    for seed, parameter in enumerate(module.parameters()):
        draws = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        parameter.detach().copy_(0.5 * draws)
    return module, generator


def run(module, generator, data, *, penalties=None, loss="squared_error", solver="adagrad", epochs=3, batch=12, step=0):
    """Train, in batches of 12 and 11 rows, and return the losses of the epochs."""
    parameters = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    config = BatchConfig(batch, shuffle=True, memory=2**30, rows_per_step=step)
    optimizer = SOLVERS[solver](parameters, 0.05)
    objective = Objective(make_loss(loss, **OPTIONS.get(loss, {})), penalties or {})
    epochs_of = train(module, data, objective, optimizer, config, generator)
    return list(islice(epochs_of, epochs)), optimizer


def assert_same_training(monkeypatch, name, options=None, freeze=(), **settings):
    """Train by the steps of the loop and by those of fixed shapes, and compare all that they leave."""
    about = {each: settings.pop(each) for each in ABOUT if each in settings}
    data = dataset(**about, loss=settings.get("loss", "squared_error"))
    found = []
    for devices in (set(), {"cpu"}):
        monkeypatch.setattr(fixed_steps, "DEVICE_TYPES", devices)
        module, generator = model(name, about.get("n_outputs"), **options or {})
        for each in freeze:
            module.get_parameter(each).requires_grad_(False)
        assert bool(fixed_steps.suiting_rows(module, data, settings.get("batch", 12))) == bool(devices)
        losses, optimizer = run(module, generator, data, **settings)
        found.append((losses, dict(module.named_parameters()), optimizer.states, generator.get_state()))
    (losses, parameters, states, state), (own_losses, own, own_states, own_state) = found
    np.testing.assert_allclose(own_losses, losses, rtol=1e-10)
    assert torch.equal(own_state, state)
    for each, expected in parameters.items():
        np.testing.assert_allclose(own[each].detach(), expected.detach(), rtol=1e-10, atol=1e-10)
    for each, expected in states.items():
        for one, other in zip(own_states[each], expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


# --- the same training ------------------------------------------------------------------------------------------------


@models
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("values", [False, True])
def test_training_is_the_loops(name, solver, values, monkeypatch):
    assert_same_training(monkeypatch, name, solver=solver, values=values)


@models
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n_outputs", [None, 3])
def test_training_of_each_target_is_the_loops(name, loss, n_outputs, monkeypatch):
    assert_same_training(monkeypatch, name, loss=loss, n_outputs=n_outputs, weighted=True)


@models
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_outputs", [None, 3])
def test_training_with_penalties_is_the_loops(name, weighted, n_outputs, monkeypatch):
    penalties = dict.fromkeys(TABLES, 0.1) | ({"attention_weight": 0.2} if name == "AFM" else {})
    assert_same_training(monkeypatch, name, penalties=penalties, weighted=weighted, n_outputs=n_outputs)
    penalties = {each: torch.linspace(0.1, 0.5, FEATURES).double() for each in TABLES}
    assert_same_training(monkeypatch, name, penalties=penalties, weighted=weighted, n_outputs=n_outputs)


@models
@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("solver", ["adagrad", "adam"])
def test_training_on_padded_rows_is_the_loops(name, values, solver, monkeypatch):
    penalties = dict.fromkeys(TABLES, 0.1)
    about = {"values": values, "shorter": True, "weighted": True}
    assert_same_training(monkeypatch, name, penalties=penalties, solver=solver, **about)


@models
@pytest.mark.parametrize("solver", ["adagrad", "adam"])
def test_training_on_uneven_rows_is_the_loops(name, solver, monkeypatch):
    monkeypatch.setenv(EXPERIMENTAL_CUDA, "1")
    penalties = dict.fromkeys(TABLES, 0.1)
    assert_same_training(monkeypatch, name, penalties=penalties, solver=solver, values=True, uneven=True, weighted=True)


def test_uneven_rows_take_steps_of_several_lengths(monkeypatch):
    monkeypatch.setenv(EXPERIMENTAL_CUDA, "1")
    (module, generator), data = model("FM"), dataset(uneven=True)
    optimizer = SOLVERS["sgd"]({key: p.detach() for key, p in module.named_parameters()}, 0.1)
    rows = PaddedRows.of(data.rows, 12)
    steps = FixedSteps(module.train(), data, rows, Objective(SQUARED, {}), optimizer, 0, generator)
    steps.run_epoch(torch.arange(N), [12, 11, 11, 11])
    assert steps.repeat.n_calls == {(12, 8): 1, (11, 4): 3}


@models
def test_training_with_dropout_is_the_loops(name, monkeypatch):
    assert_same_training(monkeypatch, name, {"dropout": 0.3})


@models
def test_training_in_smaller_steps_is_the_loops(name, monkeypatch):
    assert_same_training(monkeypatch, name, step=20)


@models
@pytest.mark.parametrize("freeze", [TABLES, ("factors",)])
def test_training_beside_frozen_parameters_is_the_loops(name, freeze, monkeypatch):
    assert_same_training(monkeypatch, name, freeze=freeze)


@interpreted
def test_training_by_fused_kernels_is_the_loops(monkeypatch):
    monkeypatch.setattr(fused, "suit", lambda *_: True)
    about = {"values": True, "shorter": True, "weighted": True}
    assert_same_training(monkeypatch, "AFM", {"dropout": 0.3}, epochs=1, batch=N, **about)


@pytest.mark.parametrize("batch", [1, N])
def test_training_in_batches_of_any_size_is_the_loops(batch, monkeypatch):
    assert_same_training(monkeypatch, "AFM", batch=batch)


def test_reduced_precision_is_close(monkeypatch):
    data, found = dataset(), []
    monkeypatch.setattr(fixed_steps, "DEVICE_TYPES", {"cpu"})
    for reduced in (False, True):
        module, generator = model("AFM", reduced_precision=reduced)
        run(module, generator, data, epochs=1)
        found.append(module.attention_weight.detach())
    exact, reduced = found
    assert not torch.equal(exact, reduced)
    np.testing.assert_allclose(reduced, exact, atol=0.05)


# --- where they are taken ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.eye(FEATURES), False),  # no pairs
        (np.ones((3, FEATURES)), True),
        (np.tri(FEATURES), False),  # padding would make three times as many pairs
        (np.tri(FEATURES)[6:], True),
        (np.vstack([np.zeros(FEATURES), np.ones((3, FEATURES))]), False),  # a row without entries
        (np.zeros((0, FEATURES)), False),
    ],
)
def test_rows_of_nearly_one_length_suit(X, expected, monkeypatch):
    monkeypatch.setattr(fixed_steps, "DEVICE_TYPES", {"cpu"})
    rows = CSRRows.from_scipy(X, torch.device("cpu"))
    found = fixed_steps.suiting_rows(model("FM")[0], Dataset(rows, torch.ones(len(rows)), None), 4)
    assert (found is not None) == expected


def test_model_without_the_formula_does_not_suit(monkeypatch):
    monkeypatch.setattr(fixed_steps, "DEVICE_TYPES", {"cpu"})
    module = FFM(torch.arange(FEATURES) % 3, 3, dtype=torch.float64)
    assert not fixed_steps.suiting_rows(module, dataset(), 12)


def test_cpu_keeps_to_the_loop():
    assert not fixed_steps.suiting_rows(model("FM")[0], dataset(), 12)


# --- distinct features ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_features", [4, 9, 100])
def test_compact_entries_find_the_distinct_features(n_features):
    indices = torch.tensor([3, 1, 3, 0, 1, 3], dtype=torch.int32)
    features, slots, inverse = compact_entries(indices, n_features)
    assert len(features) == len(slots) == min(n_features, len(indices))
    assert torch.equal(features[:3], torch.tensor([0, 1, 3]))
    assert torch.equal(features, features[slots])
    assert torch.equal(features[inverse], indices.long())
    assert inverse.max() == 2


# --- no waits ---------------------------------------------------------------------------------------------------------


@models
@pytest.mark.parametrize("values", [False, True])
def test_step_waits_for_nothing(name, values):
    module, generator = model(name, dropout=0.3)
    data = dataset(values=values, weighted=True)
    objective = Objective(SQUARED, {"factors": torch.ones(FEATURES).double(), "linear.weight": 0.1})
    optimizer = SOLVERS["adam"]({key: p.detach() for key, p in module.named_parameters()}, 0.1)
    steps = FixedSteps(module.train(), data, PaddedRows.of(data.rows, 12), objective, optimizer, 0, generator)
    with Waits() as waits:
        steps._step(8, LENGTH)
    assert waits.seen == []
    assert int(steps.position) == 8


@models
def test_epoch_waits_for_its_loss_alone(name):
    module, generator = model(name, dropout=0.3)
    optimizer = SOLVERS["adagrad"]({key: p.detach() for key, p in module.named_parameters()}, 0.1)
    data, objective = dataset(), Objective(SQUARED, {})
    steps = FixedSteps(module.train(), data, PaddedRows.of(data.rows, 9), objective, optimizer, 0, generator)
    with Waits() as waits:
        steps.run_epoch(torch.arange(N), [9] * 5)
    assert waits.seen == ["_local_scalar_dense"]


@pytest.mark.parametrize("name", LOSSES)
def test_loss_waits_for_nothing(name):
    raw, target = torch.tensor([1.0, -2.0], requires_grad=True), torch.tensor([0.4, 0.6])
    loss = make_loss(name, **OPTIONS.get(name, {}))
    with Waits() as waits:
        torch.autograd.grad(loss(raw, target).sum(), raw)
    assert waits.seen == []


@models
def test_tensors_are_created_on_the_device_of_the_data(name, monkeypatch):
    monkeypatch.setattr(fixed_steps, "DEVICE_TYPES", {"cpu"})
    (module, generator), data = model(name, dropout=0.3), dataset(values=True)
    with torch.device("meta"):  # where a tensor goes that is given no device; it has no data to compute with
        losses, _ = run(module, generator, data, penalties=dict.fromkeys(TABLES, 0.1))
    assert np.isfinite(losses).all()


# --- on CUDA, by graphs -----------------------------------------------------------------------------------------------

CUDA = {"penalties": dict.fromkeys(TABLES, 0.1), "epochs": 6}


def assert_cuda_trains_as_the_cpu(name, data, solver, n_outputs=None, batch=12, tolerance=1e-10, loss="squared_error"):
    """Train on both for six epochs; ``data`` returns the rows on a device."""
    found = {}
    for device in ("cpu", "cuda"):
        module, _ = model(name, n_outputs, device)
        parameters = {key: p.detach() for key, p in module.named_parameters()}
        config = BatchConfig(batch, shuffle=False, memory=2**30)  # the devices would draw different orders
        objective = Objective(make_loss(loss, **OPTIONS.get(loss, {})), CUDA["penalties"])
        optimizer, generator = SOLVERS[solver](parameters, 0.05), torch.Generator(device)
        epochs = train(module, data(device), objective, optimizer, config, generator)
        found[device] = list(islice(epochs, 6)), {key: value.cpu() for key, value in parameters.items()}
    np.testing.assert_allclose(found["cuda"][0], found["cpu"][0], rtol=tolerance)
    for key, expected in found["cpu"][1].items():
        np.testing.assert_allclose(found["cuda"][1][key], expected, rtol=tolerance, atol=tolerance)


@cuda
@models
@pytest.mark.parametrize(("solver", "tolerance"), [("sgd", 1e-10), ("adagrad", 1e-10), ("adam", 1e-8)])
@pytest.mark.parametrize("n_outputs", [None, 3])
def test_training_by_graphs_is_the_cpus(name, solver, tolerance, n_outputs):
    about = {"values": True, "shorter": True, "weighted": True, "n_outputs": n_outputs}
    # Adam takes steps of one size, of small gradients too, in which the devices' rounding shows.
    data = lambda device: dataset(**about, device=device)  # noqa: E731
    assert_cuda_trains_as_the_cpu(name, data, solver, n_outputs, tolerance=tolerance)


@cuda
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n_outputs", [None, 3])
def test_training_of_each_target_by_graphs_is_the_cpus(loss, n_outputs):
    data = lambda device: dataset(loss=loss, n_outputs=n_outputs, device=device)  # noqa: E731
    assert_cuda_trains_as_the_cpu("FM", data, "adagrad", n_outputs, loss=loss)


def many_rows(device):
    """Return rows in batches of which torch sorts the entries to add up gradients."""
    few = dataset(device=device)
    numbers = torch.arange(N, device=device).repeat(60)
    return Dataset(few.rows.select(numbers), few.target[numbers], None)


@cuda
@models
def test_training_in_large_batches_by_graphs_is_the_cpus(name):
    assert_cuda_trains_as_the_cpu(name, many_rows, "adagrad", batch=1350)


@pytest.fixture
def deterministic():
    """Ask torch for the same bits each time."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def train_many(name, batch):
    """Train on many rows, and return the parameters."""
    module, generator = model(name, device="cuda", dropout=0.3)
    run(module, generator, many_rows("cuda"), **CUDA | {"batch": batch})
    return nn.utils.parameters_to_vector(module.parameters()).numpy(force=True)


@cuda
@models
@pytest.mark.parametrize("batch", [300, 1350])
@pytest.mark.usefixtures("deterministic")
def test_graphs_give_the_same_bits_if_torch_is_asked(name, batch):
    assert len({train_many(name, batch).tobytes() for _ in range(3)}) == 1


@cuda
@models
def test_graphs_draw_the_same_numbers_each_time(name):
    first, second = (train_many(name, 1350) for _ in range(2))  # the sums of products may differ in the last digits
    np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-9)


@cuda
@models
@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.usefixtures("deterministic")
def test_graphs_draw_and_compute_the_same_bits_as_direct_steps(name, reduced, monkeypatch):
    options, found = {"dropout": 0.3} | ({"reduced_precision": reduced} if name == "AFM" else {}), []
    for n_direct in (5, 10**9, 5):
        monkeypatch.setattr(cuda_graph, "N_DIRECT", n_direct)
        module, generator = model(name, device="cuda", **options)
        losses, _ = run(module, generator, dataset(device="cuda"), **CUDA)
        found.append((losses, nn.utils.parameters_to_vector(module.parameters()).detach(), generator.get_state()))
    for losses, parameters, state in found[1:]:
        assert losses == found[0][0]
        assert torch.equal(parameters, found[0][1])
        assert torch.equal(state, found[0][2])


@cuda
@models
def test_step_on_cuda_waits_for_nothing(name):
    module, generator = model(name, device="cuda", dropout=0.3)
    data = dataset(values=True, shorter=True, weighted=True, device="cuda")
    optimizer = SOLVERS["adam"]({key: p.detach() for key, p in module.named_parameters()}, 0.1)
    penalties = {"factors": torch.ones(FEATURES, device="cuda").double(), "linear.weight": 0.1}
    objective = Objective(SQUARED, penalties)
    steps = FixedSteps(module.train(), data, PaddedRows.of(data.rows, 12), objective, optimizer, 0, generator)
    order = torch.arange(N, device="cuda")
    for _ in range(2):  # six steps: the last one is captured
        steps.run_epoch(order, [12, 12, 12])
    assert len(steps.repeat.graphs) == 1
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps.position.zero_()
        steps._step(12, LENGTH)
        steps.repeat.graphs[12, LENGTH].replay()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert int(steps.position) == 24
