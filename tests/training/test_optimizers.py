"""Optimizers against their published formulas, whole and row by row."""

import numpy as np
import pytest
import torch

from skafm._training.optimizers import SOLVERS


def dense_step(solver, table, gradient, states, n_steps, lr):
    """One step by the published formulas, on NumPy arrays, for rows with a gradient."""
    if solver == "sgd":
        return table - lr * gradient, states
    if solver == "adagrad":
        total = states.get("total", 1e-8) + gradient**2
        return table - lr * gradient / np.sqrt(total), {"total": total}
    mean = 0.9 * states.get("mean", 0.0) + 0.1 * gradient
    square = 0.999 * states.get("square", 0.0) + 0.001 * gradient**2
    step = mean / (1 - 0.9**n_steps) / (np.sqrt(square / (1 - 0.999**n_steps)) + 1e-8)
    return table - lr * step, {"mean": mean, "square": square}


@pytest.mark.parametrize("solver", SOLVERS)
def test_solver_equals_its_formula(solver):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(4, 3))
    parameter = torch.tensor(table)
    optimizer = SOLVERS[solver]({"V": parameter}, 0.1)
    states = {}
    for n_steps in range(1, 6):
        gradient = rng.normal(size=(4, 3))
        optimizer.step({"V": parameter}, {"V": torch.tensor(gradient)}, {})
        table, states = dense_step(solver, table, gradient, states, n_steps, 0.1)
        np.testing.assert_allclose(parameter, table, rtol=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_are_updated_as_the_whole_would_be(solver):
    rng = np.random.default_rng(0)
    initial, rows = rng.normal(size=(6, 3)), torch.tensor([1, 4])
    whole, part = torch.tensor(initial), torch.tensor(initial[rows])
    by_rows, alone = SOLVERS[solver]({"V": whole}, 0.1), SOLVERS[solver]({"V": part}, 0.1)
    for _ in range(3):
        gradient = torch.tensor(rng.normal(size=(2, 3)))
        by_rows.step({"V": whole[rows]}, {"V": gradient.clone()}, {"V": rows})
        alone.step({"V": part}, {"V": gradient}, {})
    assert torch.equal(whole[rows], part)


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_without_a_gradient_are_untouched(solver):
    parameter = torch.ones(6, 3, dtype=torch.float64)
    optimizer = SOLVERS[solver]({"V": parameter}, 0.1)
    states = [state.clone() for state in optimizer.states["V"]]
    rows = torch.tensor([1, 4])
    optimizer.step({"V": parameter[rows]}, {"V": torch.ones(2, 3, dtype=torch.float64)}, {"V": rows})
    others = torch.tensor([0, 2, 3, 5])
    assert (parameter[others] == 1).all()
    assert (parameter[[1, 4]] != 1).all()
    assert all(torch.equal(a[others], b[others]) for a, b in zip(states, optimizer.states["V"], strict=True))


@pytest.mark.parametrize("solver", SOLVERS)
def test_tensors_are_created_on_the_device_of_the_parameters(solver):
    parameter, rows = torch.ones(6, 3), torch.tensor([1, 4])
    with torch.device("meta"):  # where a tensor goes that is given no device; it has no data to compute with
        optimizer = SOLVERS[solver]({"V": parameter}, 0.1)
        optimizer.step({"V": parameter[rows]}, {"V": parameter[rows] * 2}, {"V": rows})
        optimizer.step({"V": parameter}, {"V": parameter * 2}, {})
    assert all(state.device.type == "cpu" for state in optimizer.states["V"])
    assert (parameter != 1).all()
