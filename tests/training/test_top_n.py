"""The best scores of each row, beside a full sort."""

import numpy as np
import pytest
import torch
from conftest import on_each_device

from skafm._training.top_n import InnerProducts, _candidates, top_n


def by_sorting(scores, n):
    """Return items and values by a stable sort of each row."""
    items = np.full((len(scores), n), -1)
    for row, values in enumerate(scores):
        order = np.argsort(-values, kind="stable")
        order = order[np.isfinite(values[order])][:n]
        items[row, : len(order)] = order
    return items


def check(scores, n, device="cpu"):
    items, values = top_n(torch.tensor(scores, device=device), n)
    expected = by_sorting(scores, n)
    assert (items == expected).all()
    assert ((values == np.take_along_axis(scores, expected, axis=1)) | (expected < 0)).all()
    assert (np.isnan(values) == (expected < 0)).all()


@pytest.mark.parametrize("n_items", [1, 2, 9, 10, 11, 63, 640, 641, 2000])
@pytest.mark.parametrize("n", [1, 10])
def test_top_n_is_that_of_a_sort(n_items, n):
    check(np.random.default_rng(0).normal(size=(5, n_items)), n)


@pytest.mark.parametrize("n_levels", [1, 2, 20])
@on_each_device
def test_equal_scores_are_in_the_order_of_the_items(n_levels, device):
    check(np.random.default_rng(0).integers(n_levels, size=(6, 1000)).astype(np.float32), 10, device)


def test_forbidden_items_are_never_among_the_best():
    scores = np.random.default_rng(0).normal(size=(4, 700))
    scores[0, 5:], scores[1], scores[2, ::2] = -np.inf, -np.inf, -np.inf
    check(scores, 10)


@on_each_device
def test_products_are_those_of_the_vectors_whatever_came_before(device):
    rng = np.random.default_rng(0)
    vectors, items = rng.normal(size=(7, 4)), rng.normal(size=(300, 4))
    products, forbidden = InnerProducts(items, torch.device(device)), rng.random((2, 300)) < 0.5
    products.top_n(vectors, None, 5)
    best, values = products.top_n(vectors[:2], forbidden, 5)
    expected = np.where(forbidden, -np.inf, vectors[:2] @ items.T)
    assert (best == by_sorting(expected, 5)).all()
    np.testing.assert_allclose(values, np.take_along_axis(expected, best, axis=1), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_items", [33, 67, 1001])
def test_equal_vectors_have_equal_products(n_items, dtype):
    rng = np.random.default_rng(0)
    vectors, items = rng.normal(size=(7, 66)).astype(dtype), rng.normal(size=(n_items, 66)).astype(dtype)
    best, values = InnerProducts(np.tile(items, (3, 1)), torch.device("cpu")).top_n(vectors, None, 12)
    assert (best[:, ::3] + 2 * n_items == best[:, 1::3] + n_items).all()
    assert (best[:, ::3] + 2 * n_items == best[:, 2::3]).all()
    alone = [InnerProducts(items, torch.device("cpu")).top_n(vector[None], None, 4)[1][0] for vector in vectors]
    assert (values[:, ::3] == alone).all()


@pytest.mark.parametrize("n_items", [2, 640])
def test_scores_that_may_be_off_by_the_error_are_all_candidates(n_items):
    scores = torch.zeros((2, n_items), dtype=torch.float64)
    scores[:, -1], scores[0, 0], scores[1, 0] = 1, 1 - 1e-9, 1 - 1e-7
    row, item = _candidates(scores, 1, torch.full((2, 1), 1e-8))
    assert list(zip(row.tolist(), item.tolist(), strict=True)) == [(0, 0), (0, n_items - 1), (1, n_items - 1)]


def test_products_that_are_all_equal_are_in_the_order_of_the_items(monkeypatch):
    monkeypatch.setattr("skafm._training.top_n._PART", 50)
    best, _ = InnerProducts(np.full((400, 3), 0.1), torch.device("cpu")).top_n(np.full((2, 3), 0.7), None, 10)
    assert (best == np.arange(10)).all()
