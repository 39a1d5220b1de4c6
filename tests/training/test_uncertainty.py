"""Standard errors of means over the rows of all ranks."""

import numpy as np
import pytest
import torch

from skafm._training.collectives import SINGLE_PROCESS, SingleProcess
from skafm._training.uncertainty import mean_and_error

VALUES = np.random.default_rng(0).normal(5, 2, 50)


def found(values, weight=None, group=SINGLE_PROCESS):
    return mean_and_error(torch.tensor(values), None if weight is None else torch.tensor(weight), group)


@pytest.mark.parametrize("weight", [None, np.ones(50), np.full(50, 3.0)], ids=["none", "one", "three"])
def test_rows_of_equal_weights_have_the_standard_error_of_the_mean(weight):
    assert found(VALUES, weight) == pytest.approx((VALUES.mean(), VALUES.std(ddof=1) / 50**0.5))


def test_rows_without_weight_do_not_count():
    weight = (np.arange(50) < 20).astype(float)
    assert found(VALUES, weight) == pytest.approx(found(VALUES[:20]))


def test_a_row_that_outweighs_all_others_leaves_the_mean_uncertain():
    heavy = np.r_[1000.0, np.ones(49)]
    assert found(VALUES, heavy)[1] > 3 * found(VALUES)[1]


def test_ranks_count_the_rows_of_all():
    class Twins(SingleProcess):
        def all_gather(self, value):
            return [value, value]

    assert found(VALUES, group=Twins()) == pytest.approx(found(np.r_[VALUES, VALUES]))


def test_single_row_is_not_certain_at_all():
    assert found([3.0]) == (3.0, np.inf)
