"""Fit and predict what hypothesis draws, valid and corrupt: nothing but a finite prediction or a clear error may come.

python tests/benchmarks/fuzz.py --cases 10000 --seed 0
"""

import argparse
import faulthandler
import json
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))

import reference
from strategies import corrupted, csr

import skafm

MODELS = ["FMRegressor", "AFMRegressor", "HOFMRegressor", "FFMRegressor", "NFMRegressor", "WideDeepRegressor"]
MODELS += ["FMClassifier", "AFMClassifier"]


WRONG = ["nothing", "X to fit", "X to predict", "huge X to fit", "huge X to predict", "y", "weight", "width", "length"]


@st.composite
def calls(draw):
    """Return the model and the arguments of ``fit`` and ``predict``, one of them wrong, and what is wrong."""
    wrong = draw(st.sampled_from(WRONG))
    width = draw(st.integers(1, 6))
    huge = csr(largest=draw(st.sampled_from([1e8, 1e30, 1e200])), dtypes=[np.float64], n_features=width)
    strategies = {"X": corrupted(n_features=width), "huge X": huge}
    what, _, method = wrong.partition(" to ")
    X, rows = (draw(strategies[what] if method == here else csr(n_features=width)) for here in ("fit", "predict"))
    n = X.shape[0]
    y, weight = (
        np.array(draw(st.lists(st.floats(*ends), min_size=n, max_size=n))) for ends in ((-1e3, 1e3), (0.1, 10))
    )
    if wrong in {"y", "weight"}:
        array = {"y": y, "weight": weight}[wrong]
        array[draw(st.integers(0, n - 1))] = draw(st.sampled_from([np.nan, -np.inf, 1e200, -1e308, -1.0, 0.0]))
    if wrong == "length":
        y = y[:-1]
    if wrong == "width":
        rows = draw(csr(n_features=width + 1))
    return draw(st.sampled_from(MODELS)), X, y, weight, rows, wrong


def build(name):
    deep = {"hidden_layer_sizes": (3,)} if name.startswith(("NFM", "WideDeep")) else {}
    return getattr(skafm, name)(n_factors=2, max_iter=2, random_state=0, **deep)


def bits(*arrays):
    return [array.tobytes() for array in arrays]


def judge(name, X, y, weight, rows, wrong):
    """Return what is wrong with what came of a call, or None; and how the call ended."""
    model = build(name)
    if name.endswith("Classifier"):
        y = np.where(np.isfinite(y), np.arange(len(y)) % 2, y)
    arrays = [array for each in (X, rows) for array in (each.data, each.indices, each.indptr)]
    given_bits, fields = bits(*arrays, y, weight), dict(vars(model))
    try:
        model.fit(X, y, sample_weight=weight)
        fields = dict(vars(model))
        raw = model._predict_raw(rows)
    except (ValueError, TypeError) as error:
        ended = f"{type(error).__name__}: {str(error)[:60]}"
        same = vars(model).keys() == fields.keys() and all(vars(model)[key] is fields[key] for key in fields)
        finding = None if same else f"the estimator changed, after {ended}"
    else:
        ended, finding = "finite", None if np.isfinite(raw).all() else "a prediction that is not finite"
        if wrong == "nothing" and name in {"FMRegressor", "AFMRegressor"}:
            finding = finding or differs(model, rows, raw)
        if wrong in {"width", "length"}:
            finding = f"a wrong {wrong} was taken"
    if bits(*arrays, y, weight) != given_bits:
        finding = f"input changed, after {ended}"
    return finding, ended


def differs(model, X, raw):
    """Return how far the predictions are from the equation, or None if it is no more than rounding."""
    rows = X.astype(model.factors_.dtype).astype(np.float64)
    error = np.abs(raw - reference.predict(model, rows.toarray())) / reference.rounding(model, rows)
    return None if error.max() < 1 else f"{error.max():.0e} times rounding away from the equation"


def main():
    """Draw the cases, and print how many, in how long, with what findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    findings, ends, wrongs = {}, Counter(), Counter()

    @seed(arguments.seed)
    @settings(max_examples=arguments.cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(calls())
    def case(call):
        wrongs[call[-1]] += 1
        try:
            finding, ended = judge(*call)
        except Exception as error:
            finding, ended = f"{type(error).__name__}: {str(error)[:120]}", "another error"
        ends["finite" if ended == "finite" else "error"] += 1
        if finding:
            findings.setdefault(f"{call[0]}: {finding}", repr(call)[:300])

    started = time.perf_counter()
    case()
    seconds = round(time.perf_counter() - started, 1)
    line = {"cases": sum(ends.values()), "seconds": seconds, "seed": arguments.seed, **ends, "wrong": wrongs}
    print(json.dumps({**line, "findings": findings}))


if __name__ == "__main__":
    main()
