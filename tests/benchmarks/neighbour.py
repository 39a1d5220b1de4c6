"""What a good neighbour costs: grid search on two jobs, small fits, imports, rows of two million pairs; JSON lines.

    python tests/benchmarks/neighbour.py --data FOLDER

FOLDER holds frappe_train.npz and frappe_validation.npz, see README.md beside this file.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings

import numpy as np
from quality import load
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from skafm import AFMRegressor, FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # the numbers of epochs are the point
warnings.filterwarnings("ignore", category=ConvergenceWarning)

LONG_ROWS = """
import time, warnings
import numpy as np
from skafm import AFMRegressor
warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(2, 2000)).astype(np.float32)
model, start = AFMRegressor(64, attention_size=64, max_iter=1, solver="sgd", learning_rate=1e-9), time.perf_counter()
model.fit(X, [0.0, 1.0])
fitted = time.perf_counter()
model.predict(X)
seconds = fitted - start, time.perf_counter() - fitted
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(*seconds, int(status["VmHWM"].split()[0]) / 1024)  # ru_maxrss would begin at the size of the parent
"""


def seconds_of(call, repeats):
    """Return the seconds of the fastest call."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return round(min(found), 3)


def grid_search(X, y):
    """Search twelve fits on one job and on two."""
    grid = {"dropout": [0.0, 0.2], "l2_factors": [0.01, 0.02]}
    fixed = {"early_stopping": False, "random_state": 0}
    for model in (FMRegressor(32, max_iter=10, **fixed), AFMRegressor(16, max_iter=4, **fixed)):
        search = lambda jobs: GridSearchCV(model, grid, cv=3, n_jobs=jobs, refit=False).fit(X, y)  # noqa: B023, E731
        search(2)  # starts the workers
        figures = {f"n_jobs={jobs}_s": seconds_of(lambda: search(jobs), 2) for jobs in (1, 2)}  # noqa: B023
        ratio = round(figures["n_jobs=1_s"] / figures["n_jobs=2_s"], 2)
        print(json.dumps({"grid search": type(model).__name__, **figures, "ratio": ratio}), flush=True)


def small_fits():
    """Fit 50 epochs of 1,000 dense rows of 20 columns."""
    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        X = rng.normal(size=(1000, 20)).astype(dtype)
        y = X[:, 0] * X[:, 1] + X[:, 2]
        for Model in (FMRegressor, AFMRegressor):
            model = Model(max_iter=50, tol=0, n_iter_no_change=100, random_state=0)
            figures = {"small fit": Model.__name__, "dtype": dtype.__name__}
            print(json.dumps(figures | {"s": seconds_of(lambda: model.fit(X, y), 5)}), flush=True)  # noqa: B023


def imports():
    """Import in fresh processes."""
    codes = {"sklearn": "import sklearn.base, sklearn.metrics", "torch": "import torch"}
    for name, code in (codes | {"skafm": "import skafm", "estimators": "from skafm import FMRegressor"}).items():
        run = lambda: subprocess.run([sys.executable, "-c", code], check=True)  # noqa: B023, E731
        print(json.dumps({"import": name, "s": seconds_of(run, 5)}), flush=True)


def long_rows():
    """Fit and predict two rows of 2,000 entries at k = t = 64."""
    output = subprocess.run([sys.executable, "-c", LONG_ROWS], check=True, capture_output=True, text=True).stdout
    fit, predict, peak = (round(float(figure), 2) for figure in output.split())
    print(json.dumps({"rows of 2,000 entries": 2, "fit_s": fit, "predict_s": predict, "peak_MB": peak}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    X_train, y_train, _, _ = load(parser.parse_args().data, "frappe")
    imports()
    small_fits()
    long_rows()
    grid_search(X_train[:60_000], y_train[:60_000])
