"""Figure 5 of the AFM paper: the error of AFM and FM on training and held-out rows after each epoch.

Held out are the test rows where they are at hand, otherwise the validation rows.

python examples/paper/figure5.py [--data FOLDER] [--name frappe] [--factors 256] [--epochs 20]
"""

import matplotlib.pyplot as plt
import numpy as np
from methods import make, pretrained
from protocol import Record, parse, rmse
from sklearn.frozen import FrozenEstimator


def fit_by_epoch(options, splits, key):
    """Fit an epoch at a time, and keep the errors after each as ``curves``."""
    model = make(options, key["method"], 0, early_stopping=False)
    if key["method"] == "AFM":
        model.init = FrozenEstimator(pretrained(options, splits, 0))
    (X, y), curves, random = splits["train"], {"train": [], "held out": []}, np.random.default_rng(0)
    for _ in range(key["epochs"]):
        order = random.permutation(len(y))
        model.partial_fit(X[order], y[order])
        curves["train"].append(round(rmse(model, X, y), 5))
        curves["held out"].append(round(rmse(model, *splits.get("test", splits["validation"])), 5))
    model.curves = curves
    return model


options = parse(__doc__, ("--epochs", {"type": int, "default": 20, "help": "epochs to draw"}))
record = Record(options, "figure5", fit_by_epoch)
runs = record.run_all([{"method": method, "epochs": options.epochs} for method in ("FM", "AFM")])

figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
for run, color in zip(runs, ("tab:orange", "tab:blue"), strict=True):
    for split, style in (("train", "--"), ("held out", "-")):
        errors = run["curves"][split]
        axes.plot(range(1, len(errors) + 1), errors, style, color=color, label=f"{run['key']['method']}, {split}")
axes.set(xlabel="epoch", ylabel="RMSE", title=f"{options.name}, k = {options.factors}")
axes.xaxis.get_major_locator().set_params(integer=True)
figure.legend(loc="outside lower center", ncols=4, fontsize="small")
figure.savefig(record.path.with_suffix(".png"), dpi=150)
