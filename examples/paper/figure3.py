"""Figure 3 of the AFM paper: the validation error of AFM for each lambda, the penalty on the attention network.

Lambda is in the authors' convention, beside half the sum of a batch's squared errors.

python examples/paper/figure3.py [--data FOLDER] [--name frappe] [--factors 256]
"""

import matplotlib.pyplot as plt
from methods import BATCH_SIZE, fit_method
from protocol import Record, parse

options = parse(__doc__)
lambdas = [0, 0.5, 1, 2, 4, 8, 16, 32]
variance = 8 / 9  # of y: a third is 1, two thirds are -1
scale = BATCH_SIZE[options.name] * variance
record = Record(options, "figure3", fit_method)
runs = record.run_all(
    [{"method": "FM"}] + [{"method": "AFM", "l2_attention": round(each / scale, 8)} for each in lambdas]
)

figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
axes.plot([run["rmse"]["validation"] for run in runs[1:]], "o-", label="AFM")
axes.axhline(runs[0]["rmse"]["validation"], color="grey", linestyle="--", label="FM")
axes.set(xlabel="lambda", ylabel="validation RMSE", title=f"{options.name}, k = {options.factors}")
axes.set_xticks(range(len(lambdas)), [f"{each:g}" for each in lambdas])
axes.legend()
figure.savefig(record.path.with_suffix(".png"), dpi=150)
