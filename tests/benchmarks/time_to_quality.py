"""Seconds until an AFM has the error of the paper on Frappe, and DeepCTR-Torch's error given as long, as JSON lines.

    python tests/benchmarks/time_to_quality.py --data FOLDER [--target 0.3102] [--seed 0]

FOLDER holds frappe_train.npz and frappe_validation.npz, see README.md beside this file. k = t = 256. Ours is an FM,
then the AFM that starts from it; every second of both counts, the look at the validation rows after each epoch too.
DeepCTR-Torch's is trained with the authors' settings, Adagrad at 0.015 in batches of 128, for as many whole epochs as
it begins in that time, and its validation is free.
"""

import argparse
import json
import time
import warnings
from importlib.util import find_spec

import numpy as np
from quality import load
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from speed import deepctr_afm

from skafm import AFMRegressor, FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)


def rmse(prediction, y):
    """Return the error of the paper's protocol, in which predictions keep to the range of y."""
    return float(np.sqrt(np.mean((np.clip(prediction, -1, 1) - y) ** 2)))


def ours(options, X, y, X_val, y_val):
    """Train until the target is met, print each look, and return the seconds."""
    start, looks = time.perf_counter(), []

    def look(model, X, y):
        looks.append((round(time.perf_counter() - start, 1), round(rmse(model.predict(X), y), 4)))
        print(json.dumps({"system": "skafm", "seconds": looks[-1][0], "validation_rmse": looks[-1][1]}), flush=True)
        return -looks[-1][1]

    fm_settings = {"batch_size": 512, "max_iter": options.fm_epochs, "dropout": 0.4, "early_stopping": False}
    fm_settings |= {"l2_linear": 0.0, "l2_factors": 0.004}
    fm = FMRegressor(256, **fm_settings, random_state=options.seed).fit(X, y)
    look(fm, X_val, y_val)
    afm = AFMRegressor(
        256,
        attention_size=256,
        init=FrozenEstimator(fm),
        dropout=0.2,
        l2_linear=0.0,
        l2_factors=0.0005,
        l2_attention=0.02,
        learning_rate=0.1,
        batch_size=512,
        early_stopping=True,
        scoring=look,
        max_iter=options.epochs,
        random_state=options.seed,
    )
    afm.fit(X, y, X_val=X_val, y_val=y_val)
    reached = [seconds for seconds, error in looks if error <= options.target]
    return reached[0] if reached else None


def theirs(seconds, X, y, X_val, y_val):
    """Train DeepCTR-Torch's AFM for as long and print its error."""
    import torch

    torch.manual_seed(0)
    model, as_input = deepctr_afm(X, 256)
    model.compile(torch.optim.Adagrad(model.parameters(), lr=0.015), "mse")
    rows, spent, epochs = as_input(X), 0.0, 0
    while spent < seconds:
        start = time.perf_counter()
        model.fit(rows, y, batch_size=128, epochs=1, verbose=0)
        spent, epochs = spent + time.perf_counter() - start, epochs + 1
        error = rmse(model.predict(as_input(X_val), 4096).ravel(), y_val)
        line = {"system": "DeepCTR-Torch", "epochs": epochs, "seconds": round(spent, 1)}
        print(json.dumps(line | {"validation_rmse": round(error, 4)}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--target", type=float, default=0.3102)
    parser.add_argument("--fm-epochs", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = load(arguments.data, "frappe")
    needed = ours(arguments, *data)
    print(json.dumps({"system": "skafm", "target": arguments.target, "seconds_needed": needed}), flush=True)
    if needed and find_spec("deepctr_torch"):
        theirs(needed, *data)
