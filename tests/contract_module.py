"""The part of the model contract that is about the module: values, gradients, and steps of training."""

import numpy as np
import pytest
import sklearn
import torch
from conftest import cuda
from contract_common import ContractMeans, X

from skafm._training.batching import CSRRows, Dataset, compact_features
from skafm._training.loop import BatchConfig, compute_step, predict, train
from skafm._training.losses import Objective, squared_error
from skafm._training.optimizers import SOLVERS

X_HOT = ((np.arange(9) + np.arange(60)[:, None]) % 3 == 0).astype(float)
"""One-hot rows of three entries."""
BATCH = CSRRows.from_scipy(X[:20], torch.device("cpu")).slice(0, 20)
"""Rows of 0 to 9 entries."""
kinds = pytest.mark.parametrize("kind", ["one-hot", "ragged"])


def dataset(kind="ragged", device="cpu"):
    """Return weighted rows on a device."""
    target = torch.linspace(-1, 1, 60, dtype=torch.float64, device=device)
    rows = CSRRows.from_scipy(X if kind == "ragged" else X_HOT, torch.device(device))
    return Dataset(rows, target, torch.linspace(0.5, 1.5, 60, dtype=torch.float64, device=device))


class ModuleContract(ContractMeans):
    """What must hold of the module of every model."""

    # --- values -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("n_outputs", [None, 3])
    def test_module_equals_the_loops(self, n_outputs, path, ran):
        module = self.draw(n_outputs)
        raw = module(*BATCH).detach()
        for output in (None,) if n_outputs is None else range(n_outputs):
            expected = self.loops(self.attributes_of(module), X[:20], output)
            self.assert_close("loops", raw if output is None else raw[:, output], expected)
        self.assert_attention_ran(ran, path)

    @pytest.mark.parametrize("length", [0, 1])
    def test_row_without_a_pair_is_linear(self, length):
        if not self.explains:
            pytest.skip("the raw score is no sum over pairs")
        module = self.draw()
        row = torch.arange(length), torch.full((length,), 2.0).double(), torch.tensor([0, length])
        assert torch.equal(module(*row), module.linear(*row))
        assert torch.isfinite(module(*row)).all()

    def test_order_of_entries_does_not_matter(self, path):  # noqa: ARG002
        module = self.draw()
        indices, values = torch.tensor([2, 5, 7, 8]), torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
        offsets, turned = torch.tensor([0, 4]), torch.tensor([3, 0, 2, 1])
        expected = module(indices, values, offsets).detach()
        self.assert_close("order of sums", module(indices[turned], values[turned], offsets).detach(), expected)

    @pytest.mark.parametrize(("n_outputs", "shift", "scale"), [(None, -3.0, 7.0), (2, [-3.0, 1.0], [7.0, 0.5])])
    def test_rescaled_parameters_are_affine(self, n_outputs, shift, scale):
        module, (shift, scale) = self.draw(n_outputs), torch.tensor([shift, scale]).double()
        before = module(*BATCH).detach()
        module.load_state_dict(module._rescaled_parameters(shift, scale))
        self.assert_close("rescaled", module(*BATCH).detach(), shift + scale * before)

    # --- gradients ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("n_outputs", [None, 2])
    @pytest.mark.parametrize("training", [False, True])
    def test_gradients_pass_gradcheck(self, n_outputs, training):
        module = self.draw(n_outputs).train(training)
        trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        fixed = {name: parameter for name, parameter in module.named_parameters() if not parameter.requires_grad}
        features, compact, transposed = compact_features(BATCH, 9)  # with the transposed batch, as in training
        assert len(features) == 9

        def raw(*parameters):
            given = {name: parameter.clone() for name, parameter in fixed.items()}
            state = dict(zip(trained, parameters, strict=True)) | given
            return torch.func.functional_call(module, state, (*compact, transposed))

        assert torch.autograd.gradcheck(raw, tuple(trained.values()), **self.tolerances["gradcheck"])

    # --- random numbers -----------------------------------------------------------------------------------------------

    def test_dropout_acts_in_training_only(self):
        module, plain = self.draw(dropout=0.5), self.draw()
        assert torch.equal(module(*BATCH), plain(*BATCH))
        assert not torch.allclose(module.train()(*BATCH), plain.train()(*BATCH))

    def test_dropout_keeps_the_mean(self):
        if not self.explains:
            pytest.skip("the raw score is not linear in what is dropped")
        module = self.draw(dropout=0.5)
        expected = module.eval()(*BATCH).detach()
        draws = torch.stack([module.train()(*BATCH).detach() for _ in range(2000)])
        error = draws.std(0) / len(draws) ** 0.5
        assert ((draws.mean(0) - expected).abs() <= 5 * error + 1e-12).all()

    def test_initial_parameters_are_those_of_the_seed(self):
        first, second, other = (dict(self.build(seed=seed).named_parameters()) for seed in (5, 5, 6))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert not torch.equal(first["factors"], other["factors"])

    def test_initial_parameters_take_nothing_from_the_global_generator(self):
        before = torch.get_rng_state()
        self.build()
        assert torch.equal(torch.get_rng_state(), before)

    # --- steps --------------------------------------------------------------------------------------------------------

    def step(self, kind="ragged", device="cpu", memory=None):
        """Return a step on weighted rows, and the number of micro-batches."""
        rows, calls = torch.arange(3, 23, device=device), []
        with sklearn.config_context(working_memory=1024 if memory is None else memory / 2**20):  # a row may be split
            module = self.draw().train().to(device)
        module.register_forward_hook(lambda *_: calls.append(1))
        parameters = dict(module.named_parameters())
        penalties = {name: 0.1 for name in self.make()._penalties if name in parameters}
        step = compute_step(module, dataset(kind, device), rows, Objective(squared_error, penalties), memory)
        return step, len(calls)

    def assert_same_step(self, actual, expected):
        """Compare loss and gradients."""
        assert torch.equal(actual.features.cpu(), expected.features)
        self.assert_close("gradients", actual.loss.cpu(), expected.loss)
        assert actual.gradients.keys() == expected.gradients.keys()
        for name, gradient in expected.gradients.items():
            self.assert_close("gradients", actual.gradients[name].cpu(), gradient)

    @pytest.mark.parametrize(("memory", "n_micro_batches"), [(1, 20), (4000, None)])
    def test_micro_batches_make_the_same_step(self, memory, n_micro_batches, path):  # noqa: ARG002
        (whole, one), (parts, several) = self.step(), self.step(memory=memory)
        assert one == 1 < several <= 20
        assert n_micro_batches is None or several == n_micro_batches
        self.assert_same_step(parts, whole)

    def train_and_predict(self, module, data, memory):
        """Return the loss of an epoch in batches of 8 rows, and the raw scores after it."""
        parameters = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
        penalties = {name: 0.1 for name in self.make()._penalties if name in parameters}
        objective, optimizer = Objective(squared_error, penalties), SOLVERS["adagrad"](parameters, 0.1)
        config, generator = BatchConfig(8, shuffle=True, memory=memory), torch.Generator("cpu").manual_seed(0)
        loss = next(train(module, data, objective, optimizer, config, generator))
        return loss, torch.cat([predict(module, data.rows, size, memory) for size in (1, 8)])

    @kinds
    @pytest.mark.parametrize("memory", [2**30, 1])
    def test_tensors_are_created_on_the_device_of_the_data(self, kind, memory, path):  # noqa: ARG002
        expected_loss, expected = self.train_and_predict(self.build(dropout=0.3), dataset(kind), memory)
        module, data = self.build(dropout=0.3), dataset(kind)
        with torch.device("meta"):  # where a tensor goes that is given no device; it has no data to compute with
            loss, raw = self.train_and_predict(module, data, memory)
        assert loss == expected_loss
        assert torch.equal(raw, expected)

    @cuda
    @kinds
    @pytest.mark.parametrize("memory", [None, 4000])
    def test_step_on_cuda_equals_the_cpus(self, kind, memory, path):  # noqa: ARG002
        on_cpu, on_cuda = (self.step(kind, device, memory)[0] for device in ("cpu", "cuda"))
        assert on_cuda.loss.device.type == "cuda"
        self.assert_same_step(on_cuda, on_cpu)
