"""Blocks of columns of which no row has two."""

import numpy as np
import pytest
from scipy import sparse

from skafm._estimators.fields import infer_fields
from skafm._sampling import blocks
from skafm._sampling.blocks import color_columns, find_blocks


def random_rows(n_samples, n_features, density):
    rows = sparse.random_array((n_samples, n_features), density=density, rng=np.random.default_rng(0), format="csr")
    rows.sort_indices()
    return rows


def most_in_a_block(rows, colors):
    """Return the largest number of features that a row has in one block."""
    return max(np.unique(colors[row.indices], return_counts=True)[1].max(initial=0) for row in rows)


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_no_row_has_two_columns_of_a_color(density):
    rows = random_rows(200, 100, density)  # dense rows need two words of 64 colors
    assert most_in_a_block([rows[[i]] for i in range(200)], color_columns(rows)) == 1


def test_dense_columns_have_a_color_each():
    rows = sparse.csr_array(np.ones((3, 130)))
    assert sorted(color_columns(rows)) == list(range(130))


def test_one_hot_fields_are_the_blocks():
    rng = np.random.default_rng(0)
    rows = sparse.csr_array(np.hstack([np.eye(4)[rng.integers(0, 4, 50)] for _ in range(3)]))
    np.testing.assert_array_equal(find_blocks(rows, infer_fields(rows)), np.repeat([0, 1, 2], 4))


def test_columns_of_several_fields_share_a_block_if_no_row_has_both():
    rows = sparse.csr_array(np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]))
    assert infer_fields(rows).max() == 2 or infer_fields(rows).max() == 3
    assert find_blocks(rows, infer_fields(rows)).max() == 1


def test_too_many_blocks_are_an_error(monkeypatch):
    monkeypatch.setattr(blocks, "MAX_BLOCKS", 3)
    with pytest.raises(ValueError, match=r"A row of X has 4 non-zero features, .* SelectKBest, or use FMRegressor"):
        find_blocks(sparse.csr_array(np.ones((2, 4))), np.arange(4))
    triangle = sparse.csr_array(np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]]))
    monkeypatch.setattr(blocks, "MAX_BLOCKS", 2)
    with pytest.raises(ValueError, match="X needs 3 blocks"):
        find_blocks(triangle, infer_fields(triangle))
