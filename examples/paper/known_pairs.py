"""Where the methods of Table 2 err, by how many of a row's pairs are known; and what counting pairs gives.

Not in the paper. A negative row repeats a positive one in all but the item or tag, so the pairs with that field are
what tells them apart. They alone are counted: in how many positive and in how many negative training rows each was, a
training row not counted for itself. A pair is known that was in a positive one. Boosted trees learn from these counts
alone, "added" from those of one pair in each tree, so that they are a sum over pairs, "combined" from those of all.

Each method has its best setting of table2.py, whose trials are run where they were not before.

python examples/paper/known_pairs.py [--data FOLDER] [--name mltags] [--factors 256] [--methods AFM FM ...]
"""

import numpy as np
from methods import METHODS, best_setting, fit_method
from protocol import Record, load, parse
from sklearn.ensemble import HistGradientBoostingRegressor

SAMPLED = {"frappe": 1, "mltags": 2}
"""The field in which a negative row differs: item, tag."""


def pairs(X, field):
    """Return the pairs (n, m - 1) of each one-hot row's features with that of the field, a number each."""
    columns = X.indices.reshape(X.shape[0], -1).astype(np.int64)
    return np.delete(columns, field, axis=1) * X.shape[1] + columns[:, [field]]


def count(keys, y, new):
    """Return how many positive and negative rows have each key, (n, 2) without the row itself, and (n_new, 2)."""
    distinct, number = np.unique(np.concatenate([keys, new]), return_inverse=True)
    signs = np.column_stack([y > 0, y < 0])  # (n, 2)
    total = np.column_stack([np.bincount(number[: len(keys)], sign, len(distinct)) for sign in signs.T])
    return total[number[: len(keys)]] - signs, total[number[len(keys) :]]


def count_pairs(splits, field):
    """Return the counts of each pair of the training rows, (n, 2 (m - 1)), and of the validation rows."""
    (X, y), (X_val, _) = splits["train"], splits["validation"]
    keys, new = pairs(X, field), pairs(X_val, field)
    counted = [count(pair, y, pair_val) for pair, pair_val in zip(keys.T, new.T, strict=True)]
    return tuple(np.hstack(parts) for parts in zip(*counted, strict=True))


def errors(predicted, y, known):
    """Return the RMSE of all rows, and of those with each number of known pairs (n,)."""
    squares = (np.clip(predicted, -1, 1) - y) ** 2
    parts = {"all": squares} | {str(number): squares[known == number] for number in np.unique(known)}
    return {name: round(float(np.sqrt(np.mean(part))), 4) for name, part in parts.items()}


def fit_and_compare(options, splits, key):
    """Fit a method, and keep its errors by known pairs as ``curves``."""
    model, (X, y) = fit_method(options, splits, key), splits["validation"]
    model.curves = errors(model.predict(X), y, known)
    return model


options = parse(
    __doc__,
    ("--methods", {"nargs": "+", "default": ["FM", "AFM"], "choices": list(METHODS), "help": "which methods"}),
)
splits = load(options)
counts, counts_val = count_pairs(splits, SAMPLED[options.name])
known = np.count_nonzero(counts_val[:, ::2], axis=1)  # (n_val,)
y_val = splits["validation"][1]
found = {}
for trees, own in (("added", [{pair, pair + 1} for pair in range(0, counts.shape[1], 2)]), ("combined", None)):
    model = HistGradientBoostingRegressor(interaction_cst=own, random_state=0).fit(counts, splits["train"][1])
    found[f"trees, {trees}"] = errors(model.predict(counts_val), y_val, known)

table2, record = Record(options, "table2", fit_method), Record(options, "known_pairs", fit_and_compare)
best = [best_setting(table2, method) for method in options.methods]
found |= {run["key"]["method"]: run["curves"] for run in record.run_all(best)}
numbers = np.unique(known)
groups = [y_val, *(y_val[known == number] for number in numbers)]
for name, each in (("known pairs", ["all", *numbers]), ("rows", map(len, groups))):
    print(f"{name:<15}", *(f"{value:>7}" for value in each))
print(f"{'mean target':<15}", *(f"{group.mean():>7.3f}" for group in groups))
for name, each in found.items():
    print(f"{name:<15}", *(f"{error:>7.4f}" for error in each.values()))
