"""Tables and the picture of the shoot-out, from its JSON lines."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from shootout_models import MODELS

COLORS = {
    "constant": "#cccccc",
    "linear": "#999999",
    "FM": "#0072b2",
    "AFM": "#d55e00",
    "BayesianFM": "#8b5a2b",
    "HGB": "#56b4e9",
    "LightGBM": "#009e73",
    "CatBoost": "#e69f00",
    "modern-fm": "#cc79a7",
    "myFM": "#000000",
}
"""Safe for the color-blind (Okabe and Ito, 2008)."""
TOLERANCE = 1.05
"""Ratio to the linear model's loss above which a factorization machine is flagged."""
CUT = 1.5
"""End of the ordinate of the plot."""
LEGEND = """\
Mean over seeds of the log loss or RMSE on the test rows, and its ratio to the linear model's with the same coding. Best
in bold; ! more than 5 % worse than the linear model, !! worse than the constant; seconds to fit the most rows.
"""


def read(paths):
    """Return the measurements in files."""
    return [json.loads(line) for path in paths for line in Path(path).read_text().splitlines()]


def losses(lines):
    """Return the mean losses over seeds and the mean seconds of fit, by task, model and size."""
    frame = pd.DataFrame(lines).drop_duplicates(["task", "size", "seed", "model"], keep="last")
    frame["loss"] = frame.reindex(columns=["log_loss", "rmse"]).bfill(axis=1).iloc[:, 0]
    return frame.groupby(["task", "model", "size"], sort=False)[["loss", "fit_s"]].mean()


def tables(lines):
    """Return a table for each task, a row for each model, as reStructuredText."""
    means = losses(lines)
    parts = [LEGEND]
    for task in means.index.unique("task"):
        metric = "log loss" if any("log_loss" in line for line in lines if line["task"] == task) else "RMSE"
        parts.append(f"{task}, {metric}\n\n{simple_table(rows_of(means.loc[task]))}\n")
    return "\n".join(parts)


def rows_of(means):
    """Return the cells of the table of a task, the head first."""
    loss = means["loss"].unstack("size").sort_index(axis=1)
    seconds = means["fit_s"].unstack("size").reindex(columns=loss.columns)
    models = [model for model in MODELS if model in loss.index]
    rows = [["model", *(f"{size:,}" for size in loss.columns), "fit s"]]
    for model in models:
        last = seconds.loc[model].dropna()
        rows.append([model, *(cell(loss[size], model) for size in loss.columns), f"{last.iloc[-1]:.1f}"])
    return rows


def cell(loss, model):
    """Return a mean, its ratio to the linear model's and its flags; ``loss`` has the models of one size."""
    value = loss[model]
    if np.isnan(value):
        return ""
    text = f"{value:.4f}" if value < 10 else f"{value:.2f}"
    if value == loss.min():
        text = f"**{text}**"
    ratio = value / loss.get(baseline(model), np.nan)
    if np.isfinite(ratio) and not model.startswith("linear"):
        text += f" {ratio:.2f}"
    if model.split()[0] not in {"FM", "AFM"}:
        return text
    return text + " !" * bool(ratio > TOLERANCE) + " !!" * bool(value > loss.get("constant", np.inf))


def baseline(model):
    """Return the linear model with the same coding of numbers."""
    return "linear values" if model.endswith(" values") else "linear"


def simple_table(rows):
    """Return rows of texts as a simple table of reStructuredText."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([rule, text[0], rule, *text[1:], rule])


def draw(lines, path):
    """Draw each model's loss, relative to that of the best linear model, against the number of rows."""
    import matplotlib.pyplot as plt

    means = losses(lines)["loss"]
    tasks = means.index.unique("task")
    n_rows = -(-len(tasks) // 2)
    figure, axes = plt.subplots(n_rows, 2, figsize=(8, 2.4 * n_rows), layout="constrained", squeeze=False)
    for panel, task in zip(axes.flat, tasks, strict=False):
        draw_task(panel, task, means[task].unstack("size").sort_index(axis=1))
    for panel in axes.flat[len(tasks) :]:
        panel.set_axis_off()
    handles = {line.get_label(): line for panel in axes.flat for line in panel.get_lines()}
    labels = [model for model in MODELS if model in handles]
    figure.legend([handles[model] for model in labels], labels, loc="outside upper center", ncols=4, frameon=False)
    figure.supxlabel("training rows")
    figure.supylabel(f"loss, relative to the best linear model (cut at {CUT})")
    figure.savefig(path, dpi=120)


def draw_task(panel, task, loss):
    """Draw one panel; ``loss`` has a row for each model and a column for each size."""
    best = loss.loc[[model for model in loss.index if model.startswith("linear")]].min()
    for model in [model for model in MODELS if model in loss.index]:
        family, _, numbers = model.partition(" ")
        relative = (loss.loc[model] / best).dropna()
        style = {"color": COLORS[family], "linewidth": 2 if family in {"FM", "AFM"} else 1.2, "label": model}
        panel.plot(relative.index, relative, "o--" if numbers else "o-", markersize=4, **style)
    panel.set(xscale="log", title=task)
    panel.set_ylim(max(panel.get_ylim()[0], 0.5), min(panel.get_ylim()[1], CUT))
    panel.spines[["top", "right"]].set_visible(False)
