"""Fast sums over the entries of rows against the plain ones."""

import numpy as np
import pytest
import torch
from conftest import cuda
from scipy import sparse
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from skafm.nn import FFM, FM, HOFM, _sparse_ops, functional


def draw(n_features=9, k=3):
    return torch.tensor(np.random.default_rng(1).normal(size=(n_features, k)), requires_grad=True)


def weighted(function, table):
    value = function(table)
    weight = torch.linspace(-1, 2, value.numel(), dtype=torch.float64).view(value.shape)
    return value.detach(), torch.autograd.grad((value * weight).sum(), table)[0]


def transposed(csr, given):
    return _sparse_ops.transpose(*csr, 9) if given else None


FUNCTIONS = {
    "linear": (functional.linear, _sparse_ops.linear, lambda: draw()[:, 0].detach().requires_grad_()),
    "linear of several outputs": (functional.sum_entries, _sparse_ops.linear, draw),
    "bi_interaction": (functional.bi_interaction, _sparse_ops.bi_interaction, draw),
    "interaction": (lambda V, *csr: functional.bi_interaction(V, *csr).sum(1), _sparse_ops.interaction, draw),
}


@pytest.mark.parametrize("given", [False, True], ids=["transposed when needed", "transposed given"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_equals_the_plain_version(name, given, batch):
    _, csr = batch
    plain, fast, make = FUNCTIONS[name]
    expected = weighted(lambda table: plain(table, *csr), make())
    actual = weighted(lambda table: fast(table, *csr, transposed(csr, given)), make())
    for a, b in zip(expected, actual, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_values_are_values_of_one(name, batch):
    _, (indices, values, offsets) = batch
    _, fast, make = FUNCTIONS[name]
    expected = weighted(lambda table: fast(table, indices, torch.ones_like(values), offsets), make())
    actual = weighted(lambda table: fast(table, indices, None, offsets), make())
    for a, b in zip(expected, actual, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-12, atol=1e-12)


def test_transpose_is_the_transposed_matrix(batch):
    X, csr = batch
    rows, values, offsets = _sparse_ops.transpose(*csr, 9)
    assert np.array_equal(sparse.csr_array((values, rows, offsets), shape=(9, 20)).toarray(), X.T)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_few_entries_of_a_large_table_equal_the_plain_version(name, batch):
    _, csr = batch
    plain, fast, _ = FUNCTIONS[name]
    table = draw(n_features=1000) if name != "linear" else draw(n_features=1000)[:, 0].detach().requires_grad_()
    expected = weighted(lambda table: plain(table, *csr), table)
    actual = weighted(lambda table: fast(table, *csr), table)
    for a, b in zip(expected, actual, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-12)


class Largest(TorchDispatchMode):
    """Records how many numbers the largest result of an operation has; detaching a table does not count."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        if function is torch.ops.aten.detach.default:
            return result
        self.seen = max(self.seen, *(each.numel() for each in tree_leaves(result) if isinstance(each, torch.Tensor)))
        return result


@pytest.mark.parametrize("name", ["linear of several outputs", "bi_interaction", "interaction", "power_sum"])
def test_largest_result_does_not_grow_with_a_table_of_which_few_rows_are_needed(name, batch):
    _, csr = batch
    fast = FUNCTIONS[name][1] if name != "power_sum" else lambda table, *csr: _sparse_ops.power_sum(table, 2, *csr)
    table = draw(n_features=100_000)
    with torch.no_grad(), Largest() as largest:
        fast(table, *csr)
    assert 0 < largest.seen < 1000


class Names(TorchDispatchMode):
    """Records the operations."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen.add(function.overloadpacket.__name__)
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bags_prepare_for_no_gradient_of_their_own(name, batch):
    _, csr = batch
    _, fast, make = FUNCTIONS[name]
    with Names() as names:
        weighted(lambda table: fast(table, *csr), make())
    assert "_embedding_bag_forward_only" in names.seen
    assert "_embedding_bag" not in names.seen


@pytest.mark.parametrize("module", [FM(3, 16), HOFM(3, 16, 4), FFM([0, 1, 2], 16)], ids=["FM", "HOFM", "FFM"])
def test_row_of_one_large_entry_has_no_interaction(module):
    torch.nn.init.normal_(module.factors, generator=torch.Generator().manual_seed(0))
    raw = module(torch.tensor([1]), torch.tensor([1.1e4]), torch.tensor([0, 1]))
    assert raw.item() == 0
    raw.sum().backward()
    assert not module.factors.grad.any()


@pytest.mark.parametrize("values", [None, torch.tensor([1.0, -2.0, 0.5, 3.0, 1.0]).double()])
def test_sums_by_segments_are_those_of_bags(values):
    vector, rows, offsets = torch.linspace(1, 3, 4).double(), torch.tensor([3, 0, 1, 1, 2]), torch.tensor([0, 2, 2, 5])
    expected = functional.sum_entries(vector.unsqueeze(1), rows, values, offsets).squeeze(1)
    np.testing.assert_allclose(_sparse_ops.sum_segments(vector, rows, values, offsets), expected, rtol=1e-12)


@cuda
@pytest.mark.parametrize("n_outputs", [None, 3, 20])
def test_gradient_of_many_entries_on_cuda_is_the_cpus(n_outputs):
    n, generator = 20_000, torch.Generator().manual_seed(0)
    indices, offsets = torch.randint(3, (n,), generator=generator), torch.arange(0, n + 1, 2)
    shape = (4,) if n_outputs is None else (4, n_outputs)
    weight, values = torch.randn(shape, dtype=torch.float64), torch.randn(n, dtype=torch.float64)
    found = []
    for device in ("cpu", "cuda", "cuda"):
        own, *batch = (each.to(device) for each in (weight, indices, values, offsets))
        raw = _sparse_ops.linear(own.requires_grad_(), *batch)
        found += [each.cpu() for each in torch.autograd.grad((raw * raw.detach().sin()).sum(), own)]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-9)
    assert torch.equal(found[1], found[2])
