"""Milliseconds of one call for one row, as the number of columns grows; JSON lines.

    python tests/benchmarks/online.py

Synthetic one-hot rows of ten fields, default models in float32. Each figure is the median of 30 calls, of a model that
has been fitted and updated once.
"""

import json
import time
import warnings

import numpy as np
from growth import one_hot
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor, FFMRegressor, FMRegressor, HOFMRegressor, NFMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is the point


def median(call, arguments):
    """Return the median milliseconds of a call with each of some arguments."""
    seconds = []
    for each in arguments:
        start = time.perf_counter()
        call(*each)
        seconds.append(time.perf_counter() - start)
    return round(1e3 * float(np.median(seconds)), 2)


def main():
    """Print a line for each model and number of columns."""
    for Estimator in (FMRegressor, AFMRegressor, HOFMRegressor, FFMRegressor, NFMRegressor):
        for power in (12, 16, 18, 20):
            X, y = one_hot(2000, 10, 2**power)
            model = Estimator(random_state=0, max_iter=1).fit(X, y)
            rows = [(X[i : i + 1], y[i : i + 1]) for i in range(30)]
            model.partial_fit(*rows[0])  # makes room for the optimizer's state
            line = {"model": Estimator.__name__, "columns": 2**power, "partial_fit_ms": median(model.partial_fit, rows)}
            line["predict_ms"] = median(model.predict, [row[:1] for row in rows])
            if hasattr(model, "explain"):
                line["explain_ms"] = median(model.explain, [row[:1] for row in rows])
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
