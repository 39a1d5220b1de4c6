"""Table 2 of the AFM paper: the error of every method, and how many parameters it has.

Each method has the same number of trials, settings tried with seed 0; the best on the validation rows is run with all
seeds. The mean over the seeds is compared. Where the test rows are at hand, their error is in the results.

python examples/paper/table2.py [--data FOLDER] [--name frappe] [--factors 256] [--methods AFM LibFM ...]
"""

import numpy as np
from methods import METHODS, best_setting, fit_method
from protocol import Record, parse

options = parse(
    __doc__,
    ("--methods", {"nargs": "+", "default": list(METHODS), "choices": list(METHODS), "help": "which methods"}),
    ("--trials", {"type": int, "default": 3, "help": "settings to try for each method"}),
    ("--seeds", {"type": int, "default": 3, "help": "runs of the best setting"}),
)
record = Record(options, "table2", fit_method)
best = {method: best_setting(record, method, options.trials) for method in options.methods}
repeats = {method: [{**key, "seed": seed} for seed in range(options.seeds)] for method, key in best.items()}
record.run_all([key for keys in repeats.values() for key in keys])

print(f"{'method':<10} {'parameters':>10} {'validation RMSE':>16} {'seconds':>8}  best setting")
for method, keys in repeats.items():
    runs = [record.run(key) for key in keys]
    errors, seconds = [run["rmse"]["validation"] for run in runs], np.mean([run["seconds"] for run in runs])
    setting = ", ".join(f"{name}={value}" for name, value in best[method].items() if name not in {"method", "seed"})
    spread = f"{np.mean(errors):.4f} ± {np.std(errors):.4f}"
    print(f"{method:<10} {runs[0]['parameters'] / 1e6:>9.2f}M {spread:>16} {seconds:>8.0f}  {setting}")
