"""Write the figures that the pages include, from the measurements: ``python docs/_ext/figures.py``.

A page has ``.. include:: figures/NAME.inc``: a table, or ``numbers``, which defines a substitution for each number,
such as ``|frappe_afm|``. ``tests/test_docs.py`` compares the files and README.md with the measurements.
"""

import json
import statistics
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_RESULTS = _ROOT / "tests" / "benchmarks" / "results"
_FOLDER = _ROOT / "docs" / "figures"
_TASKS = {
    "adult": "income (adult)",
    "flights": "flight delay, minutes",
    "late": "late flights",
    "frappe": "app use (Frappe)",
    "mltags": "movie tags",
    "movielens": "ratings (MovieLens 100k)",
    "movielens-side": "ratings with user and film data",
    "reviews": "reviews, text",
    "visits": "doctor visits",
    "deaths": "hospital deaths, codes",
}
_MODELS = ("FM", "AFM", "linear", "LightGBM", "HGB", "modern-fm", "myFM", "constant")


def read(name):
    """Return the lines of a results file."""
    return [json.loads(line) for line in (_RESULTS / f"{name}.jsonl").read_text().splitlines()]


def shootout(metric=None):
    """Return the means over seeds of the shoot-out by task, size and model: the loss, or another metric."""
    last = {tuple(line[key] for key in ("task", "size", "seed", "model")): line for line in read("shootout")}
    values = {}
    for (task, size, _, model), line in last.items():
        value = line.get(metric) if metric else line.get("log_loss", line.get("rmse"))
        values.setdefault((task, size, model), []).append(value)
    return {key: statistics.mean(found) for key, found in values.items() if None not in found}


def losses(size=None):
    """Return the cells of the table of losses on N training rows, by default on all."""
    means, rows = shootout(), [["data", "rows", *_MODELS]]
    for task, name in _TASKS.items():
        n_rows = size or max(n for each, n, _ in means if each == task)
        values = [means[task, n_rows, model] for model in _MODELS]
        texts = [f"{value:#.4g}" if value > 1 else f"{value:.3f}" for value in values]
        best = values.index(min(values))
        texts[best] = f"**{texts[best]}**"
        rows.append([name, f"{n_rows:,}", *texts])
    return rows


def classification():
    """Return the cells of the table of classifiers on Frappe, skafm's first."""
    rows = []
    for line in read("classification"):
        epochs = f"{line['epochs']}, {line['best']}" if "best" in line else ""
        cells = [f"{line['log_loss']:.3f}", f"{line['auc']:.3f}", f"{line['fit_s']:.1f}", epochs]
        rows.append([line["model"].replace("=", " = ").replace("FM k", "FM, k").replace("adam", "Adam"), *cells])
    rows.sort(key=lambda row: not row[0].startswith(("FM", "AFM")))
    return [["model", "log loss", "AUC", "seconds", "epochs, best"], *rows]


def counts():
    """Return the cells of the table of claim frequencies and costs."""
    rows = [["model", "claim frequency: D²", "90 % interval of a cost: coverage, mean width"]]
    for line in read("counts"):
        interval = f"{line['coverage']:.3f}, {line['width']:.2f}" if "width" in line else ""
        rows.append([line["model"], f"{line['d2']:.3f}", interval])
    return rows


def find(name, **wanted):
    """Return the lines of a results file that have these values."""
    return [line for line in read(name) if all(line.get(key) == value for key, value in wanted.items())]


def paper(method):
    """Return the validation RMSE of the paper's Table 2 on Frappe: the mean over the seeds of the best setting."""
    settings = {}
    for line in read("paper/table2_frappe_256"):
        if line["key"]["method"] == method:
            setting = tuple((key, str(value)) for key, value in line["key"].items() if key != "seed")
            settings.setdefault(setting, []).append(line["rmse"]["validation"])
    return statistics.mean(max(settings.values(), key=len))


def speed(system, batch, what):
    """Return the median over the runs on Frappe."""
    return statistics.median(line[what] for line in find("speed", data="frappe", system=system, batch=batch))


def numbers():
    """Return the numbers that several pages name, by their substitutions."""
    means, auc = shootout(), shootout("auc")
    of = {"afm": "AFM", "fm": "FM", "lightgbm": "LightGBM", "linear": "linear", "modern_fm": "modern-fm"}
    size = {task: max(n for each, n, _ in means if each == task) for task in _TASKS}
    found = {}
    for key, model in of.items():
        for task in ("frappe", "mltags"):
            found[f"{task}_{key}"] = f"{means[task, size[task], model]:.2f}"
        found[f"late_{key}"] = f"{means['late', size['late'], model]:.3f}"
        found[f"late_{key}_auc"] = f"{auc['late', size['late'], model]:.3f}"
    found |= {f"paper_{name.lower()}": f"{paper(name):.3f}" for name in ("AFM", "FM")}
    for each in find("tables", data="adult", coding="TableEncoder"):
        found[f"adult_{each['model'].lower()}"] = f"{each['log_loss']:.3f}"
    for each in read("counts"):
        found[f"d2_{each['model'].split()[0].lower()}"] = f"{each['d2']:.3f}"
    for each in find("graphs", model="AFMRegressor", device="cuda"):
        name = "bfloat16" if each["reduced_precision"] else "float32"
        found[f"cuda_{each['batch_size']}_{name}"] = f"{each['epoch_s']:.2f}"
    return found | beside()


def beside():
    """Return the speed of skafm and of others, by the substitutions of the numbers."""
    found = {}
    for key, system in (("skafm", "skafm"), ("deepctr", "DeepCTR-Torch")):
        for batch in (128, 4096):
            found[f"{key}_epoch_{batch}"] = f"{speed(system, batch, 's_per_epoch'):.1f}"
        found[f"{key}_rows"] = f"{round(speed(system, 4096, 'predict_rows_s'), -2):,.0f}"
    (ours,) = find("fm", system="skafm", k=64)
    (theirs,) = find("fm", system="modern-fm", k=64)
    found |= {"skafm_fm": f"{ours['fit_s']:.2f}", "modern_fm_fm": f"{theirs['fit_s']:.2f}"}
    first = next(each for each in find("time_to_quality", system="skafm", validation_rmse=0.3069))
    other = next(each for each in find("time_to_quality", system="DeepCTR-Torch"))
    found |= {"quality_seconds": f"{first['seconds']:.0f}", "quality_rmse": f"{first['validation_rmse']:.4f}"}
    return found | {"deepctr_seconds": f"{other['seconds']:.0f}", "deepctr_rmse": f"{other['validation_rmse']:.4f}"}


def table(rows):
    """Return rows of cells as a table of reStructuredText, the head first."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, ""])


def files():
    """Return the text of each file, by its name."""
    defined = "".join(f".. |{key}| replace:: {value}\n" for key, value in numbers().items())
    tables = {
        "losses_all": losses(),
        "losses_1000": losses(1000),
        "classification": classification(),
        "counts": counts(),
    }
    return {f"{name}.inc": table(rows) for name, rows in tables.items()} | {"numbers.inc": defined}


if __name__ == "__main__":
    for name, text in files().items():
        (_FOLDER / name).write_text(text)
