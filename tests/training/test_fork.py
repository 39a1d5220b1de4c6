"""A process that is forked from one that has computed on several threads computes, too."""

import os
import subprocess
import sys

import pytest

FORKED = """
import os, signal, sys, warnings
import numpy as np, torch
from joblib import parallel_config
from sklearn.model_selection import cross_val_score
from skafm import AFMRegressor

warnings.simplefilter("ignore")
torch.set_num_threads(2)
rng = np.random.default_rng(0)
X = sum(np.eye(100, dtype=np.float32)[rng.integers(100, size=8000)] for _ in range(3))
y = rng.normal(size=8000)
model = AFMRegressor(64, attention_size=64, max_iter=1).fit(X, y)
expected = model.predict(X)
child = os.fork()
if child == 0:
    signal.alarm(60)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-4)
    model.partial_fit(X[:2000], y[:2000])
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0, "the child did not end well"
signal.alarm(60)
with parallel_config("multiprocessing", n_jobs=2):
    cross_val_score(model, X[:2000], y[:2000], cv=2)
assert torch.get_num_threads() == 2
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
def test_forked_processes_predict_and_learn():
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", FORKED], check=True, env=environment, timeout=200)
