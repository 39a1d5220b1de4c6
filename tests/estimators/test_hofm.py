"""Higher-order factorization machines learn what takes more than two features."""

import numpy as np
import pytest

from skafm import FMRegressor, HOFMRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_hofm_learns_what_takes_three_features_and_fm_cannot():
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], size=(600, 3))
    y = X.prod(1)
    settings = {"n_factors": 8, "random_state": 0, "max_iter": 200, "l2_factors": 0.0}
    assert FMRegressor(**settings).fit(X, y).score(X, y) < 0.1
    assert HOFMRegressor(**settings).fit(X, y).score(X, y) > 0.95
