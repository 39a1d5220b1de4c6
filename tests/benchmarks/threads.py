"""Seconds of fits with one thread, with all, and with all beside a busy process; JSON lines.

    python tests/benchmarks/threads.py --data FOLDER

FOLDER holds frappe_train.npz and frappe_validation.npz, see README.md beside this file. Each measurement is the faster
of two fits, in a process of its own. The busy process is a loop in Python.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings

from quality import load
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor, FMRegressor, WideDeepRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # the numbers of epochs are the point

FITS = {
    "FM, default": (None, FMRegressor()),
    "AFM, default": (None, AFMRegressor()),
    "AFM, default, 20,000 rows": (20_000, AFMRegressor()),
    "AFM, k = t = 64, batch 1,024, one epoch": (
        20_000,
        AFMRegressor(64, attention_size=64, batch_size=1024, max_iter=1),
    ),
    "AFM, k = t = 256, batch 128, one epoch": (
        20_000,
        AFMRegressor(256, attention_size=256, batch_size=128, max_iter=1),
    ),
    "Wide & Deep, default, one epoch": (20_000, WideDeepRegressor(max_iter=1)),
}


def measure(name, folder):
    """Return the seconds of the faster of two fits."""
    X, y, *_ = load(folder, "frappe")
    n_rows, model = FITS[name]
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        model.set_params(random_state=0).fit(X[:n_rows], y[:n_rows])
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def run(name, folder, n_threads):
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--data", folder, "--fit", name]
    environment = os.environ | {"OMP_NUM_THREADS": str(n_threads)}
    return round(float(subprocess.run(command, env=environment, check=True, capture_output=True).stdout), 2)


def main():
    """Print a line for each fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of the data")
    parser.add_argument("--fit", choices=FITS, help="measure only this, here")
    options = parser.parse_args()
    if options.fit:
        print(measure(options.fit, options.data))
        return
    n_threads = os.cpu_count()
    for name in FITS:
        line = {
            "fit": name,
            "1 thread": run(name, options.data, 1),
            f"{n_threads} threads": run(name, options.data, n_threads),
        }
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
            line["beside a busy process"] = run(name, options.data, n_threads)
            busy.kill()
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
