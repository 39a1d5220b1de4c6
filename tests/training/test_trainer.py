"""A training in progress: evaluation, snapshots, and states that are stored and loaded."""

import numpy as np
import pytest
import torch
from conftest import ragged_matrix

from skafm._training.batching import CSRRows, Dataset
from skafm._training.collectives import SINGLE_PROCESS, SingleProcess
from skafm._training.errors import DivergenceError
from skafm._training.loop import BatchConfig
from skafm._training.losses import make_loss
from skafm._training.optimizers import SOLVERS
from skafm._training.trainer import Trainer
from skafm.nn import FM, DeepCross

N = 30
PENALTIES = {"linear.weight": 0.0, "factors": 0.1, "projection": 0.1}
solvers = pytest.mark.parametrize("solver", SOLVERS)


@pytest.fixture
def data():
    """Weighted rows of 0 to 9 entries."""
    rng, rows = np.random.default_rng(3), CSRRows.from_scipy(ragged_matrix(N), torch.device("cpu"))
    return Dataset(rows, torch.tensor(rng.normal(size=N)), torch.tensor(rng.uniform(0.5, 1.5, N)))


def make(solver="adagrad", seed=0, dtype=torch.float64, group=SINGLE_PROCESS, n_outputs=None):
    """Return a trainer of an FM with dropout, in batches of 8 rows."""
    generator = torch.Generator().manual_seed(seed)
    model = FM(9, 3, n_outputs, dropout=0.2, generator=generator, dtype=dtype)
    config = BatchConfig(8, shuffle=True, memory=2**30)
    return Trainer(model, generator, make_loss("squared_error"), PENALTIES, solver, 0.05, config, group)


def parameters(trainer):
    """Return copies of the parameters."""
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def same(one, other):
    """Return whether two sets of parameters have the same bits."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- the gain that is required of an epoch ----------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "n_errors"), [(199, 2), (200, 1)])
def test_required_gain_is_one_standard_error_and_two_of_few_rows(n, n_errors):
    """The losses are y^2 at first, and (y - 1)^2 later."""
    trainer, y = make(), np.random.default_rng(0).normal(size=n)
    parts = trainer.model.linear.intercept, trainer.model.factors, trainer.model.linear.weight
    for part in parts:
        torch.nn.init.zeros_(part)
    rows = CSRRows.from_scipy(ragged_matrix(n), torch.device("cpu"))
    required_gain = trainer.required_gain(Dataset(rows, torch.tensor(y), None))
    torch.nn.init.ones_(parts[0])
    losses = (y - 1) ** 2 - y**2
    assert required_gain() == pytest.approx(n_errors * losses.std(ddof=1) / n**0.5)


def test_without_a_validation_set_no_gain_is_required():
    assert make().required_gain(None) is None


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_snapshot_keeps_the_parameters_of_its_time(data):
    trainer = make()
    before, snapshot = parameters(trainer), trainer.snapshot()
    next(trainer.epochs(data))
    assert not same(parameters(trainer), before)
    assert same(snapshot, before)


def test_restore_returns_to_a_snapshot(data):
    trainer = make()
    snapshot = trainer.snapshot()
    next(trainer.epochs(data))
    trainer.restore(snapshot)
    assert same(parameters(trainer), snapshot)


def test_restored_snapshot_is_not_trained(data):
    trainer = make()
    before, snapshot = parameters(trainer), trainer.snapshot()
    trainer.restore(snapshot)
    next(trainer.epochs(data))
    assert same(snapshot, before)


# --- states -----------------------------------------------------------------------------------------------------------


def resumed(stored, state_dict, solver):
    """Return another trainer that has the parameters and the state of one that was stopped."""
    trainer = make(solver, seed=1)
    trainer.restore(stored)
    trainer.load_state_dict(state_dict)
    return trainer


@solvers
def test_loaded_state_resumes_with_the_same_bits(solver, data):
    trainer = make(solver)
    next(trainer.epochs(data))
    other = resumed(trainer.snapshot(), trainer.state_dict(), solver)
    assert next(other.epochs(data)) == next(trainer.epochs(data))
    assert same(parameters(other), parameters(trainer))


@solvers
def test_loaded_state_is_a_copy(solver, data):
    trainer = make(solver)
    next(trainer.epochs(data))
    state_dict = trainer.state_dict()
    kept = {name: [state.copy() for state in states] for name, states in state_dict["states"].items()}
    state_dict["states"] = {name: [state.copy() for state in states] for name, states in kept.items()}
    next(resumed(trainer.snapshot(), state_dict, solver).epochs(data))
    for name, states in kept.items():
        assert all(np.array_equal(a, b) for a, b in zip(states, state_dict["states"][name], strict=True))


def test_state_has_plain_values_and_arrays_only(data):
    trainer = make("adam")
    next(trainer.epochs(data))
    state_dict = trainer.state_dict()
    arrays = [state for states in state_dict["states"].values() for state in states]
    assert {type(value) for value in (*arrays, state_dict["generator"])} == {np.ndarray}
    assert {type(state_dict[name]) for name in ("solver", "device")} == {str}


def test_state_of_another_solver_is_not_loaded(data):
    trainer, other = make("adagrad"), make("adam")
    next(trainer.epochs(data))
    other.load_state_dict(trainer.state_dict())
    assert not any(state.any() for states in other.optimizer.states.values() for state in states)


def test_generator_of_another_solver_is_loaded(data):
    trainer, other = make("adagrad"), make("adam", seed=1)
    next(trainer.epochs(data))
    other.load_state_dict(trainer.state_dict())
    assert torch.equal(other.generator.get_state(), trainer.generator.get_state())


def test_generator_of_another_type_of_device_is_not_loaded(data):
    trainer, other = make(), make(seed=1)
    before = other.generator.get_state()
    next(trainer.epochs(data))
    other.load_state_dict(trainer.state_dict() | {"device": "cuda"})
    assert torch.equal(other.generator.get_state(), before)
    for name, states in trainer.optimizer.states.items():
        assert all(torch.equal(a, b) for a, b in zip(other.optimizer.states[name], states, strict=True))


@solvers
def test_compact_state_of_a_feature_is_the_mean_of_its_numbers(solver, data):
    trainer = make(solver)
    next(trainer.epochs(data))
    whole, compact = trainer.state_dict()["states"]["factors"], trainer.compact_state_dict()["states"]["factors"]
    for number, (state, mean) in enumerate(zip(whole, compact, strict=True)):
        kept = number not in trainer.optimizer.momentum_states
        np.testing.assert_allclose(mean, state.mean(axis=1, keepdims=True) if kept else 0, rtol=1e-12)


# --- evaluation -------------------------------------------------------------------------------------------------------


def test_evaluation_is_the_weighted_mean_loss_without_penalties(data):
    trainer = make()
    raw = trainer.model.eval()(*data.rows.slice(0, N)).detach()
    expected = np.average((raw - data.target) ** 2, weights=data.weight)
    assert trainer.evaluate(data) == pytest.approx(expected, rel=1e-12)


def test_evaluation_of_a_constant_does_not_ask_the_model(data):
    expected = np.average((0.3 - data.target) ** 2, weights=data.weight)
    assert make().evaluate(data, 0.3) == pytest.approx(expected, rel=1e-12)


def test_evaluation_that_is_not_finite_is_an_error(data):
    trainer = make()
    trainer.model.linear.intercept.detach().fill_(torch.nan)
    with pytest.raises(DivergenceError, match=r"validation loss (became|is) nan"):
        trainer.evaluate(data)


@pytest.mark.parametrize("n_outputs", [None, 2])
def test_rescaled_parameters_are_copies(n_outputs):
    trainer = make(n_outputs=n_outputs)  # with several outputs the factors do not change
    rescaled = trainer.rescaled_parameters(0.0, 1.0)
    own = {parameter.data_ptr() for parameter in trainer.model.parameters()}
    assert not {array.ctypes.data for array in rescaled.values()} & own


def test_rescaled_parameters_that_overflow_are_named():
    trainer = make(dtype=torch.float32)
    trainer.model.linear.weight.detach().fill_(1e30)
    with pytest.raises(ValueError, match=r"linear.weight does not fit torch.float32: lower learning_rate \(now 0.05\)"):
        trainer.rescaled_parameters(0.0, 1e30)


def test_residuals_are_centered_over_all_ranks(data):
    class First(SingleProcess):
        other = iter([10.0, 5.0])  # weighted sum of the residuals, and of the weights

        def all_gather(self, value):
            return [value, next(self.other)]

    trainer = make(group=First())
    residual = (data.target - trainer.model.eval()(*data.rows.slice(0, N)).detach()).numpy()
    weight, before = data.weight.numpy(), trainer.model.linear.intercept.item()
    trainer.center_residuals(data, 0.5)
    expected = before + 0.5 * (weight @ residual + 10) / (weight.sum() + 5)
    assert trainer.model.linear.intercept.item() == pytest.approx(expected, rel=1e-10)


# --- what is trained --------------------------------------------------------------------------------------------------


def test_penalties_are_those_above_zero_of_parameters_that_the_model_has():
    assert make().objective.penalties == {"factors": 0.1}


def test_fixed_parameters_are_not_trained(data):
    trainer = make()
    trainer.model.factors.requires_grad_(False)
    fixed = Trainer(
        trainer.model, trainer.generator, make_loss("squared_error"), PENALTIES, "sgd", 0.05, trainer.config
    )
    before = parameters(fixed)
    next(fixed.epochs(data))
    assert torch.equal(fixed.model.factors, before["factors"])
    assert not torch.equal(fixed.model.linear.weight, before["linear.weight"])


def test_parameters_are_those_of_rank_0():
    given = []

    class Group(SingleProcess):
        def broadcast(self, parameters):
            given.append(parameters)

    trainer = make(group=Group())
    assert [each.keys() for each in given] == [dict(trainer.model.named_parameters()).keys()]
    assert given[0]["factors"] is trainer.model.factors


def test_batch_normalization_needs_a_single_process():
    model, generator = DeepCross([0, 1], 2, (3,)), torch.Generator()
    options = (make_loss("squared_error"), {}, "sgd", 0.1, BatchConfig(8, shuffle=True, memory=2**30))
    with pytest.raises(ValueError, match=r"DeepCross has batch normalization.*fit it in one process"):
        Trainer(model, generator, *options, SingleProcess())


def test_lower_rate_continues_from_the_snapshot_with_a_tenth_of_the_step(data):
    moves = []
    for lower in (False, True):
        trainer = make("sgd")
        before = trainer.snapshot()
        if lower:
            next(trainer.epochs(data))
            trainer.lower_learning_rate(before)
        trainer.optimizer.learning_rate *= 1e-4  # so that an epoch is linear in it
        trainer.generator.manual_seed(0)
        next(trainer.epochs(data))
        moves.append(parameters(trainer)["linear.weight"] - before["linear.weight"])
    np.testing.assert_allclose(moves[1], moves[0] / 10, rtol=1e-2, atol=1e-12)


# --- the linear part, and rows that are few -------------------------------------------------------------------------


def test_few_rows_take_a_small_step(data):
    """Two rows in batches of eight move the parameters by a quarter of what they do as a batch of their own."""
    two = data.select(torch.arange(N) < 2)
    moves = []
    for train in (lambda trainer: next(trainer.epochs(two)), lambda trainer: trainer.train_once(two)):
        trainer = make("sgd")
        before = parameters(trainer)
        train(trainer)
        moves.append(parameters(trainer)["linear.weight"] - before["linear.weight"])
    assert moves[0].abs().max() > 0.001
    np.testing.assert_allclose(moves[1], moves[0] / 4, rtol=1e-10)


@pytest.mark.parametrize("n_outputs", [None, 2])
def test_half_of_the_linear_part_keeps_its_mean(n_outputs, data):
    trainer = make(n_outputs=n_outputs)
    linear = trainer.model.linear
    with torch.no_grad():
        linear.weight.normal_(generator=trainer.generator)
    raw = lambda: linear(*data.rows.slice(0, N)).detach()  # noqa: E731
    mean = lambda values: data.weight @ values / data.weight.sum()  # noqa: E731
    before = raw()
    trainer.halve_linear(data)
    np.testing.assert_allclose(raw() - mean(raw()), (before - mean(before)) / 2, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(mean(raw()), mean(before), rtol=1e-9)
