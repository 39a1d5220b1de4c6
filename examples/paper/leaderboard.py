"""A public leaderboard's task on the paper's own data: AUC and log loss, not RMSE, and models with a perceptron.

BARS (Zhu et al., 2022) has the rows of Frappe as ``frappe_x1``, with negatives drawn anew; its board is of test rows,
and these runs are compared on the validation rows. Each method has the same number of trials, with seed 0; the setting
with the lowest log loss on the validation rows is run with all seeds. "mean of seeds" is the loss of their averaged
probabilities. All models stop early on the validation rows.

python examples/paper/leaderboard.py [--data FOLDER] [--factors 10] [--methods DeepFM "parallel AFM" ...]
"""

import numpy as np
from protocol import Record, load, parse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

import skafm

BOARD = {
    "LR": (0.9356, 0.3076),
    "FM": (0.9671, 0.2065),
    "AFM": (0.9697, 0.2264),
    "FwFM": (0.9776, 0.2030),
    "FFM": (0.9786, 0.1860),
    "NFM": (0.9804, 0.2058),
    "Wide&Deep": (0.9841, 0.1490),
    "DeepFM": (0.9842, 0.1482),
}
"""AUC and log loss of the board, k = 10, test rows."""
_PLAIN = [{}, {"dropout": 0.2}, {"learning_rate": 0.02}]
_WIDE = [{"dropout": 0.2}, {"dropout": 0.5}, {"learning_rate": 0.003, "dropout": 0.2}]
_RECIPE = {"dropout": 0.2, "batch_size": 4096, "tol": 0.0, "n_iter_no_change": 1}
_DEEP = [_RECIPE | own for own in ({}, {"dropout": 0.5}, {"hidden_layer_sizes": (200, 200)})]
_PARALLEL = [{"pooling": "attention", **setting} for setting in _DEEP]
METHODS = {
    "LR": (LogisticRegression, [{"C": c} for c in (0.3, 1.0, 3.0)]),
    "FM": (skafm.FMClassifier, _PLAIN),
    "FwFM": (skafm.FwFMClassifier, _PLAIN),
    "FFM": (skafm.FFMClassifier, _PLAIN),
    "HOFM": (skafm.HOFMClassifier, _PLAIN),
    "AFM": (skafm.AFMClassifier, _PLAIN),
    "NFM": (skafm.NFMClassifier, _WIDE),
    "Wide&Deep": (skafm.WideDeepClassifier, _WIDE),
    "DeepFM": (skafm.DeepFMClassifier, _DEEP),
    "parallel AFM": (skafm.DeepFMClassifier, _PARALLEL),
}
"""Estimator and trials of each method."""


def fit(options, splits, key):
    """Return the fitted model of a run."""
    key = dict(key)
    (Estimator, _), seed = METHODS[key.pop("method")], key.pop("seed")
    (X, y), (X_val, y_val) = ((rows, target > 0) for rows, target in (splits["train"], splits["validation"]))
    if Estimator is LogisticRegression:
        model = Estimator(max_iter=1000, **key).fit(X, y)
        model.best_iter_ = model.n_iter_ = int(model.n_iter_[0])
        return model
    model = Estimator(options.factors, max_iter=options.max_iter, random_state=seed, **key)
    return model.fit(X, y, X_val=X_val, y_val=y_val)


def measure(model, splits):
    """Return the scores on each split but the training rows, and the probabilities."""
    rows = {split: each for split, each in splits.items() if split != "train"}
    found = {split: model.predict_proba(X)[:, 1].astype(float) for split, (X, _) in rows.items()}
    results = {split: scores(rows[split][1] > 0, probability) for split, probability in found.items()}
    return results | {"probability": {split: np.round(each, 6).tolist() for split, each in found.items()}}


def scores(y, probability):
    """Return AUC and log loss."""
    return {"auc": roc_auc_score(y, probability), "log_loss": log_loss(y, probability)}


def best_setting(record, method, n_trials):
    """Return the key of the trial, of seed 0, with the lowest log loss, run now where it was not before."""
    runs = record.run_all([{"method": method, "seed": 0, **trial} for trial in METHODS[method][1][:n_trials]])
    return min(runs, key=lambda run: run["validation"]["log_loss"])["key"]


if __name__ == "__main__":
    options = parse(
        __doc__,
        ("--methods", {"nargs": "+", "default": list(METHODS), "choices": list(METHODS), "help": "which methods"}),
        ("--trials", {"type": int, "default": 3, "help": "settings to try for each method"}),
        ("--seeds", {"type": int, "default": 3, "help": "runs of the best setting"}),
    )
    record = Record(options, "leaderboard", fit, measure)
    best = {method: best_setting(record, method, options.trials) for method in options.methods}
    y_val = load(options)["validation"][1] > 0
    print(f"{'method':<13} {'AUC':>16} {'log loss':>16} {'mean of seeds':>15} {'board, test':>14}  setting")
    for method, key in best.items():
        runs = record.run_all([{**key, "seed": seed} for seed in range(options.seeds)])
        spreads = []
        for name in ("auc", "log_loss"):
            each = [run["validation"][name] for run in runs]
            spreads.append(f"{np.mean(each):.4f} ± {np.std(each):.4f}")
        mean = scores(y_val, np.mean([run["probability"]["validation"] for run in runs], axis=0))
        board = "/".join(f"{number:.4f}" for number in BOARD[method]) if method in BOARD else ""
        setting = ", ".join(f"{name}={value}" for name, value in key.items() if name not in {"method", "seed"})
        averaged = f"{mean['auc']:.4f}/{mean['log_loss']:.4f}"
        print(f"{method:<13} {spreads[0]:>16} {spreads[1]:>16} {averaged:>15} {board:>14}  {setting}")
