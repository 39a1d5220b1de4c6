"""The pairs in Triton's kernels equal the reference, in value and gradients: on CUDA, else in Triton's interpreter."""

import json
import os
import runpy
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import with_triton
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from waits import Waits

from skafm._options import EXPERIMENTAL_CUDA
from skafm.nn import functional
from skafm.nn._pairs import attend_to_entries, entry_bytes, fused, kernels

# Tensor cores multiply float32 in three parts, each with a rounding error of its own.
DEVICE, DTYPE, TOLERANCE = ("cuda", torch.float32, 1e-4) if torch.cuda.is_available() else ("cpu", torch.float64, 1e-10)
SIZES = {  # m, k, t: of no kernel's blocks a multiple, a single pair, and pairs of several tiles and factors of two
    "few": (4, 3, 5),
    "one pair": (2, 5, 7),
    "many pairs": (13, 20, 33),
    "many factors": (5, 37, 6),
}
NAMES = ("interaction", "V", "x", "W", "b", "h", "p")


def draw(m, k, t):
    """Return V, x, W, b, h, p and a dropout mask of rows of 0, 1, 2 and m entries."""
    generator = torch.Generator().manual_seed(m)
    shapes = ((7, k), (4, m), (t, k), (t,), (t,), (k,), (4, k))
    V, x, W, b, h, p, mask = (torch.randn(shape, generator=generator).double() for shape in shapes)
    return V, x, W / k**0.5, b, h, p, (mask > -1).double() * 1.25


def entries_of(m):
    """Return the features (4, m) of the rows, and which of them exist."""
    features = torch.randint(0, 7, (4, m), generator=torch.Generator().manual_seed(1))
    return features, torch.arange(m) < torch.tensor([[0], [1], [2], [m]])


def reference(V, x, W, b, h, p, mask):
    features, exists = entries_of(x.shape[1])
    offsets = torch.nn.functional.pad(exists.sum(1).cumsum(0), (1, 0))
    return functional.attentional_interaction(V, W, b, h, p, features[exists], x[exists], offsets, mask)


def by_kernels(V, x, W, b, h, p, mask, matmul_dtype=None):
    features, exists = (each.to(V.device) for each in entries_of(x.shape[1]))
    entries = V[features] * (x * exists).unsqueeze(2)  # (4, m, k)
    return (fused.attentional_pooling(entries, W, b, h, exists, matmul_dtype) * mask) @ p


def results(interaction, tensors, *options):
    """Return the interactions of rows, and the gradients of a sum of them, by name."""
    *tensors, mask = tensors
    tensors = [each.requires_grad_() for each in tensors]
    value = interaction(*tensors, mask, *options)
    weights = torch.linspace(-1, 2, len(value)).to(value)
    found = [value.detach(), *torch.autograd.grad(value @ weights, tensors)]
    return dict(zip(NAMES, (each.cpu().double() for each in found), strict=True))


@cache
def expected(sizes):
    return results(reference, draw(*sizes))


@cache
def found(sizes, dtype=DTYPE, low=None):
    torch.use_deterministic_algorithms(True)  # fills new memory with NaN
    try:
        return results(by_kernels, [each.to(DEVICE, dtype) for each in draw(*sizes)], low)
    finally:
        torch.use_deterministic_algorithms(False)


@with_triton
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_kernels_equal_the_reference(sizes, name):
    np.testing.assert_allclose(found(sizes)[name], expected(sizes)[name], rtol=TOLERANCE, atol=TOLERANCE)


@with_triton
@pytest.mark.parametrize("name", NAMES)
def test_kernels_in_float32_are_close(name):
    own = found(SIZES["few"], torch.float32)[name]
    np.testing.assert_allclose(own, expected(SIZES["few"])[name], rtol=1e-4, atol=1e-4)


@with_triton
@pytest.mark.parametrize("name", NAMES)
def test_kernels_by_narrow_products_are_close(name):
    low = torch.bfloat16 if DEVICE == "cuda" else torch.float16  # the interpreter has no bfloat16
    exact, own = expected(SIZES["few"])[name], found(SIZES["few"], torch.float32, low)[name]
    assert float((own - exact).norm() / exact.norm()) < 0.05
    assert not torch.equal(own, found(SIZES["few"], torch.float32)[name])


@with_triton
@pytest.mark.parametrize("largest", ["first", "last"])
def test_softmax_of_several_tiles_has_their_common_maximum(largest):
    size = torch.linspace(0.5, 2, 13).view(1, 13, 1)  # 78 pairs, in tiles of 64; logits grow with the entries
    entries = (size if largest == "last" else size.flip(1)) * torch.linspace(1, 2, 4)
    network = (torch.ones(5, 4), torch.ones(5), torch.linspace(0, 0.5, 5))
    tensors = [each.to(DEVICE, DTYPE) for each in (entries, *network)]
    table, *rest = (each.double() for each in (entries[0], *network))
    expected = functional.attentional_pooling(table, *rest, torch.arange(13), None, torch.tensor([0, 13]))
    np.testing.assert_allclose(fused.attentional_pooling(*tensors).cpu(), expected, rtol=TOLERANCE)


@with_triton
def test_softmax_of_huge_logits_is_finite():
    V, x, W, b, _, p, mask = (each.to(DEVICE, DTYPE) for each in draw(*SIZES["many pairs"]))
    h = torch.linspace(-3000, 3000, len(b)).to(b)
    assert all(each.isfinite().all() for each in results(by_kernels, (V, x, W, b, h, p, mask)).values())


@with_triton
@pytest.mark.parametrize("m", [1, 3])
def test_rows_of_whole_length_need_no_mask(m):
    _, x, W, b, h, *_ = (each.to(DEVICE, DTYPE) for each in draw(m, 4, 5))
    entries = x.unsqueeze(2) * torch.ones(4).to(x)
    exists = torch.ones(4, m, dtype=torch.bool, device=DEVICE)
    pooled = fused.attentional_pooling(entries, W, b, h)
    assert torch.equal(pooled, fused.attentional_pooling(entries, W, b, h, exists))
    assert bool(pooled.any()) == (m > 1)


# --- what the host does -----------------------------------------------------------------------------------------------


class Shapes(TorchDispatchMode):
    """Records the shapes of what is computed."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        self.seen |= {tuple(result.shape)} if isinstance(result, torch.Tensor) else set()
        return result


def launch_nothing(mode, monkeypatch):
    """Pool rows of 13 entries, forward and backward, by kernels that do nothing, and return the mode."""
    nothing = defaultdict(lambda: lambda *_, **__: None)
    names = ("pool_kernel", "entries_kernel", "weight_kernel")
    stand_in = SimpleNamespace(tl=SimpleNamespace(float64=None), **dict.fromkeys(names, nothing))
    monkeypatch.setattr(fused, "_kernels", lambda: stand_in)
    entries, *network = (torch.ones(shape).double() for shape in ((2, 13, 20), (33, 20), (33,), (33,)))
    exists = torch.ones(2, 13, dtype=torch.bool)
    with mode:
        pooled = fused.attentional_pooling(entries.requires_grad_(), *network, exists)
        torch.autograd.grad(pooled.sum(), entries)
    return mode


def test_no_tensor_of_pairs_by_factors_is_made(monkeypatch):
    of_pairs = {shape for shape in launch_nothing(Shapes(), monkeypatch).seen if set(shape) & {78, 156}}
    assert of_pairs == {(2, 78), (156,), (156, 2)}  # their ends, the gradients of logits, and signs by the word


def test_host_waits_for_nothing(monkeypatch):
    assert launch_nothing(Waits(), monkeypatch).seen == []


# --- the option -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "device", "dtype", "sizes", "expected"),
    [
        ("1", "cuda", torch.float32, (64, 512), True),
        (None, "cuda", torch.float32, (4, 5), False),
        ("0", "cuda", torch.float32, (4, 5), False),
        ("1", "cpu", torch.float32, (4, 5), False),
        ("1", "cuda", torch.float64, (4, 5), False),
        ("1", "cuda", torch.float32, (65, 5), False),
        ("1", "cuda", torch.float32, (4, 513), False),
    ],
)
def test_kernels_are_used_if_asked_for(option, device, dtype, sizes, expected, monkeypatch):
    monkeypatch.delenv(EXPERIMENTAL_CUDA, raising=False)
    if option is not None:
        monkeypatch.setenv(EXPERIMENTAL_CUDA, option)
    with FakeTensorMode():
        entries, weight = (
            torch.empty(shape, dtype=dtype, device=device) for shape in ((2, sizes[0], 3), (sizes[1], 3))
        )
        assert fused.suit(entries, weight) == expected


def test_kernels_stand_in_for_plain_torch(monkeypatch):
    monkeypatch.setattr(fused, "suit", lambda *_: True)
    monkeypatch.setattr(fused, "attentional_pooling", lambda *arguments: arguments)
    arguments = tuple(torch.ones(shape) for shape in ((2, 3, 4), (5, 4), (5,), (5,), (2, 3)))
    assert attend_to_entries(*arguments, torch.bfloat16) == (*arguments, torch.bfloat16)


def test_rows_need_less_memory_with_the_option(monkeypatch):
    monkeypatch.delenv(EXPERIMENTAL_CUDA, raising=False)
    plain = entry_bytes(60, 256, 256, 4)
    monkeypatch.setenv(EXPERIMENTAL_CUDA, "1")
    assert entry_bytes(60, 256, 256, 4) < plain / 10
    assert entry_bytes(60, 256, 256, 8) == 2 * plain  # float64 has no kernels


def test_without_triton_the_option_is_an_error(monkeypatch):
    monkeypatch.setattr(kernels, "triton", None)
    with pytest.raises(ImportError, match="SKAFM_EXPERIMENTAL_CUDA=1 needs Triton"):
        fused.attentional_pooling(*(torch.ones(shape) for shape in ((2, 3, 4), (5, 4), (5,), (5,))))


# --- compiled without a GPU -------------------------------------------------------------------------------------------


@with_triton
def test_kernels_compile_for_hopper(tmp_path):
    script = Path(__file__).parents[1] / "benchmarks" / "compile_kernels.py"
    launches = runpy.run_path(script)["launches"](5, 16, 20, "bfloat16")
    command = [sys.executable, "-W", "ignore", script, "--options", json.dumps(launches)]
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    lines = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert [each["kernel"] for each in found] == list(launches) == ["pool_kernel", "entries_kernel", "weight_kernel"]
    assert all(each["tensor_cores"] for each in found)
    assert max(each["shared_bytes"] for each in found) <= 227 * 2**10
