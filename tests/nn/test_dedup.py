"""The pairs of a batch, and the distinct ones among them."""

import pytest
import torch
from pair_data import LENGTHS, VALUES, draw_batch

from skafm.nn import functional
from skafm.nn._pairs import dedup


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_positions_are_those_of_the_plain_enumeration(lengths):
    indices, _, offsets = draw_batch(lengths, VALUES["one-hot"])
    length = dedup.common_length(offsets, len(indices))
    assert length == (lengths[0] if len(set(lengths)) == 1 else None) or not lengths
    found = dedup.pair_positions(offsets, len(indices), length)
    plain = functional.pairs(offsets, len(indices))
    assert all(torch.equal(fast, slow) for fast, slow in zip((*found[:2], found.rows.row), plain, strict=True))
    assert dedup.count_pairs(offsets, length) == len(found.left)


@pytest.mark.parametrize("max_pairs", [1, 7, 100, 780])
def test_parts_of_a_row_have_no_more_than_the_maximum_of_pairs(max_pairs):
    offsets = torch.tensor([0, 40])
    sizes = [len(functional.pairs(offsets, part=part)[0]) for part in dedup.split_row(40, max_pairs)]
    assert sum(sizes) == 780
    assert all(size <= max(max_pairs, 39) for size in sizes)
    assert len(sizes) <= 2 * 780 / max_pairs + 1


def test_distinct_pairs_are_found_once():
    indices, _, offsets = draw_batch([3] * 1000, VALUES["one-hot"], n_features=4)
    found = dedup.distinct_pairs(indices, dedup.pair_positions(offsets, len(indices), 3), 4)
    assert len(found.inverse) == 3000
    assert torch.stack([found.left, found.right]).unique(dim=1).shape[1] == int(found.inverse.max()) + 1 == 6


def test_batches_that_differ_a_little_make_products_of_one_shape():
    batches = (draw_batch([4] * 8, VALUES["one-hot"], seed=seed) for seed in range(10))  # of 48 pairs
    found = [dedup.distinct_pairs(indices, dedup.pair_positions(offsets, 32, 4), 45) for indices, _, offsets in batches]
    assert len({int(each.inverse.max()) for each in found}) > 1
    assert {len(each.left) for each in found} == {64}
