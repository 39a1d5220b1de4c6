"""Seconds to explain rows of Frappe, and to rank the interactions over them, as JSON lines.

    python tests/benchmarks/explain.py --data FOLDER [--rows 100000] [--factors 64]

FOLDER holds frappe_train.npz and frappe_validation.npz, see README.md beside this file. The models are trained for an
epoch: the time does not depend on what they have learnt.
"""

import argparse
import json
import time
import warnings

import numpy as np
from quality import load
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor, FFMRegressor, FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--factors", type=int, default=64)
    options = parser.parse_args()
    X, y, _, _ = load(options.data, "frappe")
    for Estimator in (FMRegressor, AFMRegressor, FFMRegressor):
        own = {"attention_size": options.factors} if Estimator is AFMRegressor else {}
        k = 4 if Estimator is FFMRegressor else options.factors
        model = Estimator(k, max_iter=1, early_stopping=False, batch_size=4096, random_state=0, **own).fit(X, y)
        rows, line = X[: options.rows], {"model": Estimator.__name__, "k": k, "rows": options.rows}
        for what, call in {
            "explain": lambda: model.explain(rows),  # noqa: B023 called here
            "features": lambda: model.top_interactions(rows),  # noqa: B023
            "fields": lambda: model.top_interactions(rows, fields="auto"),  # noqa: B023
        }.items():
            start = time.perf_counter()
            result = call()
            line[f"{what}_s"] = round(time.perf_counter() - start, 2)
            if what == "explain":
                line["pairs"], line["off_by"] = (
                    len(result.rows),
                    float(np.abs(result.sum() - model.predict(rows)).max()),
                )
        print(json.dumps(line), flush=True)
