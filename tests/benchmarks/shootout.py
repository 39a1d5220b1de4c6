"""Factorization machines beside what else a user would pick, on ten tasks and many sizes, as JSON lines.

    python tests/benchmarks/shootout.py [--tasks adult late --sizes 1000 2000 --models FM linear --out LINES.jsonl]
    python tests/benchmarks/shootout.py --table LINES.jsonl [MORE.jsonl] [--picture PICTURE.png]

Everybody has the default constructor and its natural coding, see shootout_models.py; "linear" has its penalty chosen.
The test rows of a task never change; training rows are drawn with the seed. Models whose package is not installed are
left out. Seconds are those of ``fit`` and ``predict``, with the coding; set OMP_NUM_THREADS=1 for those of one thread.
"""

import argparse
import json
import time
import warnings
from importlib.metadata import version
from pathlib import Path

from shootout_models import MODELS, is_installed, make_model, package
from shootout_report import draw, read, tables
from shootout_tasks import ALL, MORE, SIZES, TASKS, Sources
from sklearn.datasets import get_data_home
from sklearn.metrics import log_loss, r2_score, roc_auc_score, root_mean_squared_error

VERSIONS = {"sklearn": ("scikit-learn",), "skafm": ("skafm", "torch")}
"""Distributions to report for a package; for another it is that of its name."""


def measure(task, name, size, seed):
    """Return the metrics and seconds of a model, or None if it is not for the task."""
    model = make_model(name, task, seed)
    if model is None:
        return None
    rows, test = task.draw(size, seed), task.frame[task.is_test]
    start = time.perf_counter()
    model.fit(task.frame.iloc[rows], task.y[rows])
    fitted = time.perf_counter()
    prediction = model.predict_proba(test)[:, 1] if task.is_classification else model.predict(test)
    seconds = {"fit_s": round(fitted - start, 2), "predict_s": round(time.perf_counter() - fitted, 2)}
    versions = {each: version(each) for each in VERSIONS.get(package(name), (package(name),))}
    return score(task, prediction) | seconds | {"versions": versions}


def score(task, prediction):
    """Return the metrics of the predictions for the test rows."""
    y = task.y[task.is_test]
    if task.is_classification:
        metrics = {"log_loss": log_loss(y, prediction), "auc": roc_auc_score(y, prediction)}
    else:
        metrics = {"rmse": root_mean_squared_error(y, prediction), "r2": r2_score(y, prediction)}
    return {name: round(float(value), 5) for name, value in metrics.items()}


def sizes_of(name, task, chosen):
    """Return the sizes to measure, ascending; ALL is the number of training rows."""
    n = int((~task.is_test).sum())
    wanted = chosen or (*SIZES, *MORE.get(name, (ALL,)))
    return sorted({n if size == ALL else size for size in wanted if size in {ALL} or size <= n})


def run(options):
    """Measure each model on each task and size with each seed, but for what the file has."""
    done = {key(line) for line in read([options.out])} if options.out and Path(options.out).exists() else set()
    sources = Sources(Path(options.cache or get_data_home()) / "skafm", options.data)
    sources.cache.mkdir(parents=True, exist_ok=True)
    for name in options.tasks:
        task = TASKS[name](sources)
        for size in sizes_of(name, task, options.sizes):
            for seed in range(options.seeds):
                for model in filter(is_installed, options.models):
                    line = {"task": name, "size": size, "seed": seed, "model": model}
                    if key(line) not in done:
                        report(line, task, options.out)


def report(line, task, out):
    """Measure and print one line; an exception is reported as such, and ends nothing."""
    try:
        result = measure(task, line["model"], line["size"], line["seed"])
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"[:200]}
    if result is None:
        return
    text = json.dumps(line | result)
    print(text, flush=True)
    if out and "error" not in result:
        with Path(out).open("a") as file:
            file.write(text + "\n")


def key(line):
    """Return what identifies a measurement."""
    return line["task"], line["size"], line["seed"], line["model"]


def main():
    """Measure, or report what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--sizes", nargs="+", type=lambda text: ALL if text == "all" else int(text), help="or all")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--out", help="file to append lines to; what it has already is not measured again")
    parser.add_argument("--cache", help="folder of downloads; by default that of skafm.datasets")
    parser.add_argument("--data", help="folder of npz files of frappe and mltags; by default they are downloaded")
    parser.add_argument("--table", nargs="+", help="print the tables of these files, and measure nothing")
    parser.add_argument("--picture", help="with --table: draw the picture of these files too")
    options = parser.parse_args()
    if not options.table:
        warnings.simplefilter("ignore")  # of convergence, and of unknown categories, which are the point
        run(options)
        return
    print(tables(read(options.table)))
    if options.picture:
        draw(read(options.table), options.picture)


if __name__ == "__main__":
    main()
