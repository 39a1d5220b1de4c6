"""Log loss and AUC of classifiers on Frappe (y > 0), as JSON lines; beside modern-fm where it is installed.

    python tests/benchmarks/classification.py --data FOLDER

FOLDER holds frappe_train.npz and frappe_validation.npz, see README.md beside this file. skafm's models stop early on a
tenth of the training rows; ``best_of_a_full_run`` is the validation log loss and number of the best epoch had the
validation rows themselves been watched, for 60 epochs of FM or 15 of AFM.
"""

import argparse
import json
import time
import warnings
from importlib.util import find_spec

from quality import load
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from skafm import AFMClassifier, FMClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # the numbers of epochs are the point


def measure(name, model, X, y, X_val, y_val, full=None):
    """Fit, predict and print one line; ``full`` epochs are then run to compare the stopping with."""
    start = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - start
    proba = model.predict_proba(X_val)[:, 1]
    line = {"model": name, "log_loss": round(log_loss(y_val, proba), 4), "auc": round(roc_auc_score(y_val, proba), 4)}
    line["fit_s"] = round(seconds, 1)
    if full is not None:
        line |= {"epochs": model.n_iter_, "best": model.best_iter_, "held_out": round(max(model.validation_scores_), 4)}
        model.set_params(max_iter=full, n_iter_no_change=full).fit(X, y, X_val=X_val, y_val=y_val)
        line["best_of_a_full_run"] = [round(-max(model.validation_scores_), 4), model.best_iter_]
    print(json.dumps(line), flush=True)


def main():
    """Measure each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    X, y, X_val, y_val = load(parser.parse_args().data, "frappe")
    y, y_val = (y > 0).astype(int), (y_val > 0).astype(int)
    data = X, y, X_val, y_val
    measure("LogisticRegression", LogisticRegression(max_iter=1000), *data)
    for k in (16, 64):
        if find_spec("modern_fm"):
            from modern_fm import FMClassifier as ModernFM

            settings = {"optimizer": "adagrad", "learning_rate": 0.05, "batch_size": 128, "n_jobs": 1}
            for epochs in (5, 20):
                model = ModernFM(n_factors=k, max_iter=epochs, random_state=0, **settings)
                measure(f"modern-fm k={k}, {epochs} epochs", model, X.astype(float), y, X_val.astype(float), y_val)
        common = {"n_factors": k, "early_stopping": True, "tol": 1e-4, "random_state": 0}
        measure(f"FM k={k}", FMClassifier(**common), *data, full=60)
        adam = {"solver": "adam", "learning_rate": 0.01, "batch_size": 4096}
        measure(f"FM k={k}, adam", FMClassifier(**common, **adam), *data, full=60)
        measure(f"AFM k={k}, dropout 0.2", AFMClassifier(dropout=0.2, **common), *data, full=15)


if __name__ == "__main__":
    main()
