"""What a CUDA device would have to wait for, or would miss: shown on the CPU, and on CUDA where there is a device."""

import pickle

import numpy as np
import pytest
import torch
from conftest import cuda, on_each_device, ragged_matrix
from torch.utils._python_dispatch import TorchDispatchMode

import skafm
from skafm._training.batching import CSRRows, Dataset
from skafm._training.loop import BatchConfig, Objective, compute_step, predict, train
from skafm._training.losses import squared_error
from skafm._training.optimizers import SOLVERS
from skafm.nn import AFM, FFM, FM, HOFM, NFM, DeepCross, WideDeep
from skafm.nn._pairs import dispatch

N, FEATURES = 30, 1000
FIELDS = np.arange(FEATURES) % 3
PENALTIES = {"linear.weight": 0.1, "factors": 0.1}


def examples(kind, device="cpu", dtype=torch.float64):
    X = np.zeros((N, FEATURES))
    X[:, :9] = ragged_matrix(N) if kind == "ragged" else (np.arange(9) + np.arange(N)[:, None]) % 3 == 0
    target = torch.linspace(-1, 1, N, dtype=dtype, device=device)
    X = X.astype(np.float32 if dtype == torch.float32 else np.float64)
    return Dataset(CSRRows.from_scipy(X, torch.device(device)), target, torch.ones_like(target))


SIZES = {FM: (FEATURES, 3), AFM: (FEATURES, 3, 4), HOFM: (FEATURES, 3), NFM: (FEATURES, 3, (5,), 4)}
SIZES |= {FFM: (FIELDS, 3), WideDeep: (FIELDS, 3, (5,)), DeepCross: (FIELDS, 3, (5,))}


def trainee(make, solver):
    module = make(*SIZES[make], dropout=0.3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters() if parameter.requires_grad}
    penalties = {name: penalty for name, penalty in PENALTIES.items() if name in parameters}
    return module, SOLVERS[solver](parameters, 0.1), Objective(squared_error, penalties)


every = pytest.mark.parametrize("make", SIZES)
kinds = pytest.mark.parametrize("kind", ["one-hot", "ragged"])


@every
@kinds
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("memory", [2**30, 1])
@pytest.mark.parametrize("few", [0, dispatch.MAX_PLAIN_ELEMENTS], ids=["many pairs", "few pairs"])
def test_every_tensor_is_created_on_the_device_of_the_data(make, kind, solver, memory, few, monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", few)
    data = examples(kind)
    module, optimizer, objective = trainee(make, solver)
    plan = BatchConfig(batch_size=8, shuffle=True, memory=memory)
    with torch.device("meta"):  # where a tensor goes that is given no device; it has no data to compute with
        epochs = train(module, data, objective, optimizer, plan, torch.Generator("cpu").manual_seed(0))
        losses = [next(epochs), next(epochs)]
        raw = predict(module, data.rows, 8, memory)
    assert np.isfinite(losses).all()
    assert raw.device.type == "cpu"
    assert raw.isfinite().all()


class Waits(TorchDispatchMode):
    """Records the operations whose result, or its size, the host has to wait for."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name, kwargs = function.overloadpacket.__name__, kwargs or {}
        known = name == "repeat_interleave" and kwargs.get("output_size") is not None
        by_mask = name in {"index", "index_put_"} and any(i is not None and i.dtype == torch.bool for i in args[1])
        waiting = {
            "_local_scalar_dense",
            "equal",
            "unique_consecutive",
            "_unique2",
            "nonzero",
            "masked_select",
            "repeat_interleave",
        }
        if by_mask or (name in waiting and not known):
            self.seen.append(name)
        return function(*args, **kwargs)


@kinds
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (FM, ["unique_consecutive"]),
        (HOFM, ["unique_consecutive"]),
        (AFM, ["unique_consecutive", "equal", "unique_consecutive"]),
    ],
    ids=[
        "FM: number of features",
        "HOFM: the same",
        "AFM: number of features, length of rows, number of distinct pairs",
    ],
)
def test_host_waits_for_sizes_alone(make, kind, expected, monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", 0)
    data = examples(kind)
    module, optimizer, objective = trainee(make, "adagrad")
    chosen = torch.arange(3, 11)
    expected = (["repeat_interleave"] if kind == "ragged" else []) + expected  # the number of entries
    if make is AFM and kind == "ragged":  # the distinct values, and entries
        sizes = ["_local_scalar_dense", "_unique2", "_unique2", "repeat_interleave"]
        expected = [*expected[:3], *sizes, *expected[3:]]
    with Waits() as waits:
        step = compute_step(module, data, chosen, objective, memory=None)
        optimizer.step(step.parameters, step.gradients, dict.fromkeys(step.tables, step.features))
    assert waits.seen == expected


@cuda
@every
@kinds
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("few", [0, dispatch.MAX_PLAIN_ELEMENTS], ids=["many pairs", "few pairs"])
def test_step_on_cuda_is_that_on_the_cpu(make, kind, pieces, few, monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", few)
    steps = []
    for device in ("cpu", "cuda"):
        module = make(*SIZES[make], generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
        data, chosen = examples(kind, device), torch.arange(3, 23, device=device)
        memory = (
            None if pieces == 1 else int(module._bytes_per_row(data.rows.take(chosen).offsets.diff()).sum()) // pieces
        )
        steps.append(compute_step(module, data, chosen, Objective(squared_error, {"factors": 0.1}), memory))
    on_cpu, on_cuda = steps
    assert on_cuda.loss.device.type == "cuda"
    assert torch.equal(on_cuda.features.cpu(), on_cpu.features)
    torch.testing.assert_close(on_cuda.loss.cpu(), on_cpu.loss, rtol=1e-10, atol=1e-10)
    for name, gradient in on_cpu.gradients.items():
        torch.testing.assert_close(on_cuda.gradients[name].cpu(), gradient, rtol=1e-10, atol=1e-10, msg=name)


@kinds
@on_each_device
def test_step_in_reduced_precision_is_near_the_full_one(kind, device, monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", 0)
    steps = []
    for reduced in (False, True):
        generator = torch.Generator().manual_seed(0)
        module = AFM(*SIZES[AFM], reduced_precision=reduced, generator=generator)
        for parameter in (module.attention_projection, module.factors):
            torch.nn.init.normal_(parameter, generator=generator)
        module.to(device)
        data, chosen = examples(kind, device, torch.float32), torch.arange(3, 23, device=device)
        steps.append(compute_step(module, data, chosen, Objective(squared_error, {}), None))
    full, reduced = (step.gradients for step in steps)
    assert not torch.equal(full["attention_weight"], reduced["attention_weight"])
    for name, gradient in full.items():
        scale = full["attention_weight"] if name == "attention_bias" else gradient  # b's parts cancel over a row
        assert (reduced[name] - gradient).norm() <= 0.02 * scale.norm(), name


@cuda
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", skafm.__all__)
@pytest.mark.parametrize("few", [0, dispatch.MAX_PLAIN_ELEMENTS], ids=["many pairs", "few pairs"])
def test_estimators_fit_on_cuda_and_predict_the_same_on_the_cpu(name, few, ragged, monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", few)
    X, y = ragged
    if name.endswith("Classifier"):
        y = (y > 0.5).astype(int)
    parameters = {"max_iter": 5, "batch_size": 16, "dropout": 0.2, "early_stopping": True, "random_state": 0}
    model = getattr(skafm, name)(3, **parameters, device="cuda").fit(X, y)
    model.partial_fit(X[:20], y[:20])
    moved = pickle.loads(pickle.dumps(model)).set_params(device="cpu")
    here, there = (getattr(each, "decision_function", each.predict)(X) for each in (model, moved))
    np.testing.assert_allclose(here, there, rtol=1e-9, atol=1e-12)
    if hasattr(model, "explain"):
        np.testing.assert_allclose(*(each.explain(X).interaction for each in (model, moved)), rtol=1e-9, atol=1e-12)


@cuda
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", [*(name for name in skafm.__all__ if name.endswith("Regressor")), "deep AFM"])
def test_fits_on_cuda_give_the_same_bits_those_with_attention_if_torch_is_asked(name):
    X = np.random.default_rng(0).normal(size=(2000, 12)).astype(np.float32)
    X *= np.random.default_rng(1).random(X.shape) < 0.7
    y = X[:, 0] * X[:, 1] + X[:, 2]
    model = skafm.NFMRegressor(16, pooling="attention") if name == "deep AFM" else getattr(skafm, name)(16)
    model.set_params(max_iter=2, batch_size=1024, dropout=0.2, early_stopping=False, random_state=0, device="cuda")
    torch.use_deterministic_algorithms(name in {"AFMRegressor", "deep AFM"})
    try:
        first, second = (model.fit(X, y).predict(X) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    np.testing.assert_array_equal(first, second)
