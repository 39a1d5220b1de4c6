"""Steps of the attention network on the distinct pairs of a batch."""

import pytest
import torch
from pair_data import VALUES, draw_batch, draw_mask, draw_parameters

from skafm.nn import functional
from skafm.nn._pairs import dispatch, network


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_gradients_of_the_hidden_layer_are_the_logits_where_it_is_positive(dtype):
    signs = torch.randint(2, (50, 7), dtype=torch.uint8)
    g = torch.cat([torch.randn(48), torch.tensor([0.0, 1e-40])]).to(dtype)  # (50,)
    written = network._where(signs, g, torch.full((50, 7), torch.nan, dtype=dtype))
    assert torch.equal(written, torch.where(signs.bool(), g.unsqueeze(1), torch.zeros((), dtype=dtype)))


def occurrences():
    """Return vectors (3, 5), a table (4, 5), rows and offsets of 7 occurrences, and their distinct pairs."""
    generator = torch.Generator().manual_seed(0)
    vectors, table = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (3, 4))
    offsets = torch.tensor([0, 2, 2, 7])  # the second pair occurs nowhere
    return vectors, table, torch.tensor([3, 0, 1, 2, 3, 0, 0]), offsets, torch.tensor([0, 0, 2, 2, 2, 2, 2])


needs_operator = pytest.mark.skipif(network._EMBEDDING_BAG_BACKWARD is None, reason="this torch has no such operator")


@pytest.mark.parametrize("public", [pytest.param(False, marks=needs_operator), True], ids=["private", "public"])
def test_products_of_occurrences_equal_the_loop(public, monkeypatch):
    if public:
        monkeypatch.setattr(network, "_EMBEDDING_BAG_BACKWARD", None)
    vectors, table, rows, offsets, inverse = occurrences()
    expected = [float(vectors[pair] @ table[row]) for row, pair in zip(rows.tolist(), inverse.tolist(), strict=True)]
    products = network.dot_occurrences(vectors, table, rows, offsets, inverse)
    torch.testing.assert_close(products, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk_elements", [100, 2**19], ids=["several chunks", "one chunk"])
def test_dropout_without_the_private_operator_equals_the_plain_version(chunk_elements, monkeypatch):
    monkeypatch.setattr(network, "_EMBEDDING_BAG_BACKWARD", None)
    lengths = [4, 9, 0, 13, 6]
    batch, parameters = draw_batch(lengths, VALUES["real-valued"]), draw_parameters(outputs=(2,))
    mask = draw_mask(lengths, 7)
    plain, fast = (
        function(*parameters, *batch, mask, **options)
        for function, options in (
            (functional.attentional_interaction, {}),
            (dispatch.attentional_interaction, {"chunk_elements": chunk_elements}),
        )
    )
    torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)
    gradients = (torch.autograd.grad(value.square().sum(), parameters) for value in (plain, fast))
    for expected, actual in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
