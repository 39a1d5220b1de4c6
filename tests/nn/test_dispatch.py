"""The fast path of attention against the plain one, and which of them runs."""

import numpy as np
import pytest
import torch
from pair_data import LENGTHS, VALUES, draw_batch, draw_mask, draw_parameters
from torch.utils._python_dispatch import TorchDispatchMode

from skafm.nn import functional
from skafm.nn._pairs import dispatch


def value_and_gradients(function, parameters, batch, *masks, **options):
    value = function(*parameters, *batch, *masks, **options)
    weight = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).view(value.shape)
    return value.detach(), *torch.autograd.grad((value * weight).sum(), parameters)


class Gathers(TorchDispatchMode):
    """Count what is gathered into memory that was allocated before."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += func is torch.ops.aten.index_select.out
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("dropout", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("chunk_elements", [1, 100, 2**19, None])
@pytest.mark.parametrize("outputs", [(), (1,), (3,)], ids=["", "one output", "three outputs"])
def test_equals_the_plain_version(lengths, values, dropout, chunk_elements, outputs):
    batch, parameters = draw_batch(lengths, values), draw_parameters(outputs=outputs)
    mask = draw_mask(lengths, 7) if dropout else None
    plain = value_and_gradients(functional.attentional_interaction, parameters, batch, mask)
    fast = value_and_gradients(dispatch.attentional_interaction, parameters, batch, mask, chunk_elements=chunk_elements)
    for expected, actual in zip(plain, fast, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        predicted = dispatch.attentional_interaction(*parameters, *batch, mask, chunk_elements=chunk_elements)
    torch.testing.assert_close(predicted, plain[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dropout", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("max_pairs", [1, 7, 100, 779])
@pytest.mark.parametrize("outputs", [(), (3,)], ids=["", "three outputs"])
def test_parts_of_a_long_row_equal_the_plain_version(dropout, max_pairs, outputs):
    batch, parameters = draw_batch([40], VALUES["real-valued"]), draw_parameters(outputs=outputs)  # 780 pairs
    mask = draw_mask([40], 7) if dropout else None
    plain = value_and_gradients(functional.attentional_interaction, parameters, batch, mask)
    parts = value_and_gradients(dispatch.attentional_interaction, parameters, batch, mask, max_pairs=max_pairs)
    for expected, actual in zip(plain, parts, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("lengths", [*LENGTHS.values(), [40, 3, 200, 17, 0, 90, 1, 3]], ids=[*LENGTHS, "very ragged"])
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("chunk_elements", [1, 100, 2**19, None])
def test_pooling_equals_the_plain_version(lengths, values, chunk_elements):
    batch, parameters = draw_batch(lengths, values, 200), draw_parameters(n_features=200)[:4]
    plain = value_and_gradients(functional.attentional_pooling, parameters, batch)
    fast = value_and_gradients(dispatch.attentional_pooling, parameters, batch, chunk_elements=chunk_elements)
    for expected, actual in zip(plain, fast, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("max_pairs", [1, 7, 100, 779])
def test_pooling_a_long_row_in_parts_equals_the_plain_version(max_pairs):
    batch, parameters = draw_batch([40], VALUES["real-valued"]), draw_parameters()[:4]  # 780 pairs
    plain = value_and_gradients(functional.attentional_pooling, parameters, batch)
    parts = value_and_gradients(dispatch.attentional_pooling, parameters, batch, max_pairs=max_pairs)
    for expected, actual in zip(plain, parts, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("few", "plain"), [(50 * 45 * 7, True), (50 * 45 * 7 - 1, False)])
def test_few_pairs_take_the_plain_path(few, plain, monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", few)
    monkeypatch.setattr(dispatch, "_attend_to_distinct", lambda *_: torch.full((50, 1), torch.nan))
    term = dispatch.attentional_interaction(*draw_parameters(), *draw_batch([10] * 50, VALUES["one-hot"]))
    assert bool(term.isfinite().all()) is plain


def test_plain_version_passes_gradcheck_with_dropout():
    lengths = [0, 1, 4, 3]
    batch, parameters = draw_batch(lengths, VALUES["real-valued"], 9), draw_parameters(3, 4, 9)
    mask = draw_mask(lengths, 3)
    assert torch.autograd.gradcheck(lambda *p: functional.attentional_interaction(*p, *batch, mask), parameters)


def test_order_of_entries_does_not_matter():
    indices, values, offsets = draw_batch([6, 6], VALUES["real-valued"])
    turned = torch.tensor([5, 3, 0, 1, 2, 4, 7, 6, 11, 10, 8, 9])
    parameters = draw_parameters()
    expected = dispatch.attentional_interaction(*parameters, indices, values, offsets, chunk_elements=2**19)
    actual = dispatch.attentional_interaction(
        *parameters, indices[turned], values[turned], offsets, chunk_elements=2**19
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dropout", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 1e-5), (torch.bfloat16, 0.05)])
def test_float32_is_close_and_the_same_bits_again(dropout, dtype, tolerance):
    lengths = [10] * 300
    indices, values, offsets = draw_batch(lengths, VALUES["one-hot"])
    batch, parameters = (indices, values.float(), offsets), draw_parameters(64, 64, dtype=torch.float32)
    mask = draw_mask(lengths, 64, torch.float32) if dropout else None
    plain = value_and_gradients(functional.attentional_interaction, parameters, batch, mask)
    once, again = (
        value_and_gradients(
            dispatch.attentional_interaction, parameters, batch, mask, matmul_dtype=dtype, chunk_elements=2**19
        )
        for _ in range(2)
    )
    for expected, first, second in zip(plain, once, again, strict=True):
        assert torch.equal(first, second)
        assert (first - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("dropout", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("chunk_elements", [100, 2**19])
def test_gradients_can_be_computed_twice(dropout, chunk_elements):
    lengths = [3, 8, 5]
    batch, parameters = draw_batch(lengths, VALUES["real-valued"]), draw_parameters()
    mask = draw_mask(lengths, 7) if dropout else None
    term = dispatch.attentional_interaction(*parameters, *batch, mask, chunk_elements=chunk_elements).sum()
    once = torch.autograd.grad(term, parameters, retain_graph=True)
    again = torch.autograd.grad(term, parameters)
    for first, second in zip(once, again, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("chunk_elements", "gathers"), [(2**19, 1), (24 * 7, 1 + 2 * 3)])
def test_gradients_begin_with_the_chunk_that_is_loaded(chunk_elements, gathers):
    indices, _, offsets = draw_batch([10], VALUES["one-hot"])  # 45 pairs, rounded up to 64: one chunk, or 24, 24 and 16
    parameters = draw_parameters()
    term = dispatch.attentional_interaction(*parameters, indices, None, offsets, chunk_elements=chunk_elements)
    with Gathers() as seen:
        torch.autograd.grad(term.sum(), parameters)
    assert seen.number == gathers


@pytest.mark.parametrize("training", [True, False])
def test_row_does_not_depend_on_the_other_rows(training):
    indices, values, offsets = draw_batch([4, 9, 0, 13, 6] * 20, VALUES["real-valued"])
    parameters = [each.requires_grad_(training) for each in draw_parameters()]
    whole = dispatch.attentional_interaction(*parameters, indices, values, offsets, chunk_elements=2**19)
    for row in range(len(offsets) - 1):
        entries = slice(int(offsets[row]), int(offsets[row + 1]))
        alone = torch.tensor([0, entries.stop - entries.start])
        term = dispatch.attentional_interaction(*parameters, indices[entries], values[entries], alone)
        torch.testing.assert_close(term[0], whole[row], rtol=1e-12, atol=1e-12)


def test_int32_indices_do_not_overflow_with_many_values():
    rng = np.random.default_rng(0)
    rows, n_features = 20_000, 70_000  # 40,000 values times 70,000 features is over 2^31
    half = n_features // 2
    indices = (rng.integers(0, half, (rows, 2)) + np.array([0, half])).ravel()
    values, offsets = torch.from_numpy(rng.normal(size=2 * rows)), np.arange(0, 2 * rows + 1, 2)
    parameters = [parameter.detach() for parameter in draw_parameters(1, 1, n_features)]
    narrow, wide = (
        dispatch.attentional_interaction(
            *parameters,
            torch.from_numpy(indices.astype(kind)),
            values,
            torch.from_numpy(offsets.astype(kind)),
            chunk_elements=2**19,
        )
        for kind in (np.int32, np.int64)
    )
    plain = functional.attentional_interaction(
        *parameters, torch.from_numpy(indices), values, torch.from_numpy(offsets)
    )
    torch.testing.assert_close(wide, plain, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(narrow, plain, rtol=1e-10, atol=1e-12)
