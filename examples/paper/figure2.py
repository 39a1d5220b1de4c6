"""Figure 2 of the AFM paper: the validation error of AFM and FM for each dropout ratio, beside LibFM's.

python examples/paper/figure2.py [--data FOLDER] [--name frappe] [--factors 256]
"""

import matplotlib.pyplot as plt
from methods import fit_method
from protocol import Record, parse

options = parse(__doc__)
ratios = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
record = Record(options, "figure2", fit_method)
record.run_all(
    [{"method": "LibFM"}]
    + [{"method": "FM", "dropout": ratio} for ratio in ratios]
    + [{"method": "AFM", "dropout": ratio, "l2_attention": 0.0} for ratio in ratios]
)

figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
for method, style in (("FM", "s-"), ("AFM", "o-")):
    runs = [run for run in record.runs if run["key"]["method"] == method]
    points = sorted((run["key"]["dropout"], run["rmse"]["validation"]) for run in runs)
    axes.plot(*zip(*points, strict=True), style, label=method)
libfm = next(run for run in record.runs if run["key"]["method"] == "LibFM")
axes.axhline(libfm["rmse"]["validation"], color="grey", linestyle="--", label="LibFM")
axes.set(xlabel="dropout", ylabel="validation RMSE", title=f"{options.name}, k = {options.factors}")
axes.legend()
figure.savefig(record.path.with_suffix(".png"), dpi=150)
