"""Figure 4 of the AFM paper: the validation error of AFM for each attention factor t, down to 1.

As in the paper, lambda is chosen for each.

python examples/paper/figure4.py [--data FOLDER] [--name frappe] [--factors 256]
"""

import matplotlib.pyplot as plt
from methods import fit_method
from protocol import Record, parse

options = parse(__doc__)
sizes = [1, 4, 16, 64, 256]
penalties = [0.0, 0.01]
record = Record(options, "figure4", fit_method)
runs = record.run_all(
    [{"method": "FM"}]
    + [{"method": "AFM", "attention_size": size, "l2_attention": each} for size in sizes for each in penalties]
)

best = [min(run["rmse"]["validation"] for run in runs[1:] if run["key"]["attention_size"] == size) for size in sizes]
figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
axes.plot(sizes, best, "o-", label="AFM")
axes.axhline(runs[0]["rmse"]["validation"], color="grey", linestyle="--", label="FM")
axes.set(xlabel="attention factor t", ylabel="validation RMSE", title=f"{options.name}, k = {options.factors}")
axes.set_xscale("log", base=2)
axes.set_xticks(sizes, [str(size) for size in sizes])
axes.legend()
figure.savefig(record.path.with_suffix(".png"), dpi=150)
