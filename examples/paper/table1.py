"""Table 1 of the AFM paper: attention times interaction score of each pair of a row, by an FM and with attention.

Section 5.3: the embeddings of a trained FM are frozen, and the attention network alone is trained ("FM+A"). The rows
are the three of target 1 that attention helps most, of those that neither model overshoots. An FM's attention is
uniform, 1 / |R_x|.

# DIFF: p is trained with the attention network, so the interaction scores of the two models differ.

python examples/paper/table1.py [--data FOLDER] [--name mltags] [--factors 256]
"""

from itertools import combinations

import joblib
import numpy as np
from methods import fit_method, pretrained
from protocol import Record, load, parse
from sklearn.frozen import FrozenEstimator

NAMES = {
    "frappe": ["user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city"],
    "mltags": ["user", "movie", "tag"],
}

LEARNING_RATE = {"frappe": 0.05, "mltags": 0.01}  # of the attention network alone


def fit_frozen(options, splits, key):
    """Fit the FM, or attention on its frozen embeddings, which is kept in a file."""
    if key["method"] == "FM":
        return pretrained(options, splits, 0)
    frozen = {"init": FrozenEstimator(pretrained(options, splits, 0)), "freeze_init": True}
    free = {"dropout": 0.0, "l2_attention": 0.0, "learning_rate": LEARNING_RATE[options.name]}
    model = fit_method(options, splits, {"method": "AFM", **frozen, **free})
    joblib.dump(model, path)
    return model


def print_row(number, models, x):
    """Print what each model makes of a row."""
    for name, model in models.items():
        explanation = model.explain(x)
        attention, score = explanation.attention, explanation.interaction
        if name == "FM":  # its sum over the pairs, written as a mean
            attention, score = attention / len(score), len(score) * score
        products = "  ".join(f"{a:4.2f}*{s:5.2f}" for a, s in zip(attention, score, strict=True))
        print(f"{number}  {name:<5} {products}  {explanation.sum()[0]:5.2f}")


options = parse(__doc__)
path = options.out / f"table1_{options.name}_{options.factors}_{options.rows or 'all'}.joblib"
record = Record(options, "table1", fit_frozen)
runs = record.run_all([{"method": "FM"}, {"method": "FM+A"}])
splits = load(options)
models = {"FM": pretrained(options, splits, 0), "FM+A": joblib.load(path)}
X, y = splits.get("test", splits["validation"])
raw = {name: model.set_params(clip=False).predict(X) for name, model in models.items()}
gain = np.where((y > 0) & (raw["FM"] < 1) & (raw["FM+A"] < 1), raw["FM+A"] - raw["FM"], -np.inf)

print(*(f"{run['key']['method']}: validation RMSE {run['rmse']['validation']:.4f}" for run in runs), sep="\n")
print("#  model", *(f"{i}-{j}".center(11) for i, j in combinations(NAMES[options.name], 2)), " raw")
for number, row in enumerate(np.argsort(-gain)[:3], 1):
    print_row(number, models, X[[row]])
