"""Whether an AFM should start from an FM: RMSE and seconds on Frappe, and R2 on the flights, as JSON lines.

    python tests/benchmarks/pretraining.py --data FOLDER [--factors 64]

FOLDER holds frappe_train.npz and frappe_validation.npz, see README.md beside this file. All stop early on the
validation rows and are scored there: what is compared is the best that each start leads to.
"""

import argparse
import json
import time
import warnings

import numpy as np
from flights import load as load_flights
from quality import load
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor, FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # the numbers of epochs are the point


def main():
    """Fit an FM, and AFMs from each start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--factors", type=int, default=64)
    options = parser.parse_args()
    X_train, X_test, y_train, y_test = load_flights()
    data = {
        "frappe": (options.factors, *load(options.data, "frappe")),
        "flights": (16, X_train, y_train, X_test, y_test),
    }
    for name, (k, X, y, X_val, y_val) in data.items():
        common = {"n_factors": k, "early_stopping": True, "n_iter_no_change": 3, "max_iter": 40, "random_state": 0}
        common["dropout"] = 0.2
        fm = FMRegressor(**common)
        afm = AFMRegressor(attention_size=k, **common)
        models = {"FM": fm, "AFM, random start": afm, "AFM, init='fm'": clone(afm).set_params(init="fm")}
        models["AFM, init=fm frozen (FM+A)"] = clone(afm).set_params(freeze_init=True)
        for model_name, model in models.items():
            if model_name.endswith("(FM+A)"):
                model.set_params(init=fm)
            start = time.perf_counter()
            model.fit(X, y, X_val=X_val, y_val=y_val)
            seconds = time.perf_counter() - start
            error = model.predict(X_val) - y_val
            line = {"data": name, "k": k, "model": model_name, "rmse": round(float(np.sqrt(np.mean(error**2))), 4)}
            line |= {"r2": round(float(1 - np.mean(error**2) / np.var(y_val)), 4), "best_epoch": model.best_iter_}
            print(json.dumps(line | {"fit_s": round(seconds, 1)}), flush=True)


if __name__ == "__main__":
    main()
