"""Which item comes next, all items of a catalog ranked: skafm beside the recommenders that are installed.

    OMP_NUM_THREADS=1 python tests/benchmarks/recommenders.py TASK... --data FOLDER [--models NAME...] [--seeds 2]

TASK is movielens, frappe or mltags; FOLDER holds the files of the last two, see README.md beside this file. Prints one
JSON line for each model and seed: NDCG@10 and recall@10 over the test choices, and the seconds of processor time of the
fit. The settings of a model are compared on the validation choices; the best one is then fitted to these, too.
"""

import argparse
import json
import time
import warnings

import numpy as np
import recommenders_models as models
from recommenders_tasks import FIT, TEST, VALIDATE, frappe, mltags, movielens

N = 10
MOST_ROWS = 4000
"""Most choices that are measured, drawn at random, the same for all models."""
FEWER_ROWS = 500
"""For trees, which score a million pairs in ten seconds."""


def measure(score, task, part, parts, most=MOST_ROWS):
    """Return NDCG@10 and recall@10 of the choices of a part, ranked among all items that are not known from others."""
    rows = np.random.default_rng(0).permutation(np.flatnonzero(task.part == part))[:most]
    known, ndcg = task.known(parts), []
    for block in np.array_split(rows, max(len(rows) // 500, 1)):
        scores, own = np.array(score(block), dtype=float), (np.arange(len(block)), task.item[block])
        if known is not None:
            hidden = known[task.entities[task.owner][block]].toarray()
            hidden[own] = False
            scores[hidden] = -np.inf
        rank = (scores >= scores[own][:, None]).sum(1)  # ties never help
        ndcg.append(np.where(rank <= N, 1 / np.log2(1 + rank), 0))
    ndcg = np.concatenate(ndcg)
    return {"ndcg": ndcg.mean(), "error": ndcg.std() / len(ndcg) ** 0.5, "recall": np.mean(ndcg > 0)}


def run(name, fit, settings, task, seeds):
    """Yield a line for each seed: the setting that is best on the validation part, measured on the test part."""
    found, most = [], FEWER_ROWS if name == "XGBRanker" else MOST_ROWS
    for setting in settings if settings[0] else []:
        score = fit(task, (FIT,), setting, 0)
        ndcg = measure(score, task, VALIDATE, (FIT,), most)["ndcg"]
        found.append((ndcg, setting | ({"max_iter": models.skafm_all.n_epochs} if name.startswith("skafm") else {})))
    best = max(found, key=lambda each: each[0])[1] if found else settings[0]
    for seed in range(seeds):
        start = time.process_time()
        score = fit(task, (FIT, VALIDATE), best, seed)
        seconds = time.process_time() - start
        values = {
            key: round(float(value), 4) for key, value in measure(score, task, TEST, (FIT, VALIDATE), most).items()
        }
        tuned = [round(float(ndcg), 4) for ndcg, _ in found]
        yield {
            "model": name,
            "seed": seed,
            **values,
            "seconds": round(seconds, 1),
            "setting": best,
            "validation": tuned,
        }


def main():
    """Print a line for each model."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="+", choices=["movielens", "frappe", "mltags"])
    parser.add_argument("--data")
    parser.add_argument("--models", nargs="+")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    makers = {"movielens": lambda _: movielens(), "frappe": frappe, "mltags": mltags}
    for name in options.tasks:
        task = makers[name](options.data)
        for model, (fit, settings) in models.models(task).items():
            if options.models and not {model, model.split(", by")[0]} & set(options.models):
                continue
            try:
                for line in run(model, fit, settings, task, options.seeds):
                    print(json.dumps({"task": name} | line), flush=True)
            except ImportError as error:
                print(json.dumps({"task": name, "model": model, "missing": str(error)}), flush=True)


if __name__ == "__main__":
    main()
