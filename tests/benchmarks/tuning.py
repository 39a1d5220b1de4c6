"""What the recipe of docs/training.rst costs, and gains, on 60,000 of the flights; JSON lines.

    python tests/benchmarks/tuning.py

Each step is a grid search over one split, two jobs, that keeps what the steps before found; it is tested on 81,837
other flights.
"""

import json
import time
import warnings

from flights import load
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from skafm import AFMRegressor, FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)
STEPS = [
    ("penalty and dropout", {"l2_factors": [0.003, 0.01, 0.03], "dropout": [0.0, 0.2, 0.5]}),
    ("learning rate", {"learning_rate": [0.02, 0.05, 0.1]}),
    ("size", {"n_factors": [8, 16, 32]}),
]
AFM_STEPS = [
    ("dropout again", {"dropout": [0.2, 0.5, 0.7]}),
    ("lambda", {"l2_attention": [0.0, 0.1, 1.0]}),
]


def main():
    """Tune an FM, then an AFM from what was found."""
    X, X_test, y, y_test = load()
    X, y = X[:60_000], y[:60_000]
    found = {}
    for Model, steps in ((FMRegressor, STEPS), (AFMRegressor, AFM_STEPS)):
        settings = {"early_stopping": True, "n_iter_no_change": 3, "random_state": 0}
        untuned = Model(early_stopping=False, random_state=0).fit(X, y).score(X_test, y_test)
        stopped = Model(**settings).fit(X, y).score(X_test, y_test)
        print(json.dumps({"model": Model.__name__, "defaults": round(untuned, 4), "stopped": round(stopped, 4)}))
        for step, grid in steps:
            start = time.perf_counter()
            model = Model(**settings, **found)
            split = ShuffleSplit(1, test_size=0.2, random_state=0)
            search = GridSearchCV(model, grid, cv=split, n_jobs=2, refit=False).fit(X, y)
            seconds = time.perf_counter() - start
            found |= search.best_params_
            score = Model(**settings, **found).fit(X, y).score(X_test, y_test)
            fits = len(search.cv_results_["params"])
            line = {"step": step, "fits": fits, "s": round(seconds), "found": search.best_params_}
            print(json.dumps(line | {"r2_on_test": round(score, 4)}), flush=True)


if __name__ == "__main__":
    main()
