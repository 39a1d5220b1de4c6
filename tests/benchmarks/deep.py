"""Milliseconds a step and rows predicted a second of deep AFMs and small AFMs on Frappe, as JSON lines.

    python tests/benchmarks/deep.py --data FOLDER

FOLDER holds frappe_train.npz and frappe_validation.npz, see README.md beside this file. Dropout is 0.2 and t = k; a
step is the best of five fits of one epoch.
"""

import argparse
import json
import time
import warnings

import numpy as np
from quality import load
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor, NFMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is the point

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    X, y, _, _ = load(parser.parse_args().data, "frappe")
    order = np.random.default_rng(0).permutation(X.shape[0])[:16_384]
    X, y = X[order], y[order]
    for Estimator, own, k, batch, n in (
        (AFMRegressor, {}, 16, 128, 4096),
        (NFMRegressor, {"pooling": "attention"}, 16, 128, 4096),
        (NFMRegressor, {"pooling": "attention"}, 16, 4096, 16_384),
        (NFMRegressor, {"pooling": "attention"}, 256, 128, 2048),
        (NFMRegressor, {"pooling": "attention"}, 256, 4096, 4096),
    ):
        settings = {"dropout": 0.2, "batch_size": batch, "max_iter": 1, "early_stopping": False, "random_state": 0}
        model, seconds, predicting = Estimator(k, attention_size=k, **settings, **own), [], []
        for _ in range(5):
            start = time.perf_counter()
            model.fit(X[:n], y[:n])
            fitted = time.perf_counter()
            model.predict(X)
            seconds.append(fitted - start)
            predicting.append(time.perf_counter() - fitted)
        line = {
            "model": Estimator.__name__,
            "k": k,
            "batch": batch,
            "step_ms": round(1e3 * min(seconds) * batch / n, 2),
        }
        print(json.dumps(line | {"predicted_per_s": round(len(y) / min(predicting))}), flush=True)
