"""Constructor parameters that several estimators share; ``test_bad_input.py`` has each one out of its range."""

import numpy as np
import pytest

import skafm
from skafm._estimators.parameters import check_hidden_layer_sizes

DEEP = [
    "NFMRegressor",
    "NFMClassifier",
    "WideDeepRegressor",
    "WideDeepClassifier",
    "DeepCrossRegressor",
    "DeepFMClassifier",
]


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("sizes", [(), (3, 0), (2.5,), ("a",)])
def test_invalid_hidden_layer_sizes_are_refused(name, sizes):
    with pytest.raises(ValueError, match=r"must be one or more positive integers, e\.g\. \(64, 32\), got"):
        getattr(skafm, name)(hidden_layer_sizes=sizes).fit(np.eye(4), [0, 1, 0, 1])


@pytest.mark.parametrize("sizes", [(3, 2), [3, 2], np.array([3, 2])], ids=["tuple", "list", "array"])
def test_hidden_layer_sizes_may_be_any_sequence(sizes):
    checked = check_hidden_layer_sizes(sizes)
    assert checked == [3, 2]
    assert {type(size) for size in checked} == {int}
