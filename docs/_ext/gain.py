"""Draw the plot of the first page from the measurements: ``python docs/_ext/gain.py``."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

_ROOT = Path(__file__).parents[2]
_RESULTS = _ROOT / "tests" / "benchmarks" / "results" / "shootout.jsonl"
_PICTURE = _ROOT / "docs" / "images" / "gain.png"
_TASKS = {"frappe": "Does a user open this app?", "mltags": "Does a user give this tag to a movie?"}
_MODELS = {  # from the best known to ours
    "linear": ("logistic regression", "#999999"),
    "LightGBM": ("LightGBM", "#009e73"),
    "FM": ("skafm FM", "#0072b2"),
    "AFM": ("skafm AFM", "#d55e00"),
}


def losses():
    """Return the log losses of the largest training sets, tasks by models."""
    lines = pd.DataFrame([json.loads(line) for line in _RESULTS.read_text().splitlines()])
    lines = lines[lines["task"].isin(_TASKS)].drop_duplicates(["task", "size", "seed", "model"], keep="last")
    largest = lines[lines["size"] == lines.groupby("task")["size"].transform("max")]
    return largest.pivot_table("log_loss", "task", "model").loc[list(_TASKS), list(_MODELS)]


def draw(table):
    """Draw the losses as bars, a panel for each task, and save the plot."""
    names, colors = zip(*_MODELS.values(), strict=True)
    figure, panels = plt.subplots(2, 1, figsize=(5.2, 3.6), layout="constrained")  # legible on a phone
    for axis, (task, title) in zip(panels, _TASKS.items(), strict=True):
        bars = axis.barh(names, table.loc[task], color=colors)
        axis.bar_label(bars, fmt="%.2f", padding=3)
        axis.set(title=title, xlim=(0, 1.15 * table.loc[task].max()), xticks=[])
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.invert_yaxis()
    panels[-1].set_xlabel("log loss on test rows (lower is better)")
    figure.savefig(_PICTURE, dpi=110)


if __name__ == "__main__":
    draw(losses())
