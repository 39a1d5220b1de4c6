"""Warnings point at the user's line, however many layers lie between."""

import warnings

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skafm import AFMRegressor, FMRegressor

X = np.eye(6)[np.arange(60) % 6]
Y = np.arange(60.0) % 6
CALLS = {
    "max_iter": lambda: FMRegressor(max_iter=1).fit(X, Y),
    "in a pipeline": lambda: make_pipeline(MaxAbsScaler(), FMRegressor(max_iter=1)).fit(X, Y),
    "in cross-validation": lambda: cross_val_score(FMRegressor(max_iter=1), X, Y, cv=2),
    "pre-training": lambda: AFMRegressor(init="fm", max_iter=1).fit(X, Y),
    "column of targets": lambda: FMRegressor(tol=1e9).fit(X, Y[:, None]),
    "diverged": lambda: FMRegressor(tol=1e9, max_iter=3, learning_rate=30.0).fit(1e3 * X, Y),
    "partial_fit": lambda: FMRegressor().partial_fit(X, Y[:, None]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_warning_points_at_the_caller(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert caught
    assert {warning.filename for warning in caught} == {__file__}
