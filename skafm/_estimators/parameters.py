"""The constructor parameters that estimators share, and what they may be."""

from numbers import Integral, Real

from sklearn.metrics import get_scorer_names

from skafm._estimators.ranking_metrics import METRICS
from skafm._estimators.regression_losses import KINDS
from skafm._estimators.sklearn_compat import HasMethods, Interval, StrOptions

TRAINING = {
    "n_factors": [Interval(Integral, 1, 2**31 - 1, closed="both")],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "l2_linear": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
    "l2_factors": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
    "solver": [StrOptions({"adagrad", "adam", "sgd"})],
    "learning_rate": [Interval(Real, 0, None, closed="neither")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "early_stopping": ["boolean", StrOptions({"auto"})],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "scoring": [StrOptions({"loss"} | set(get_scorer_names())), callable],
    "warm_start": ["boolean"],
    "shuffle": ["boolean"],
    "verbose": ["verbose"],
    "random_state": ["random_state"],
    "device": "no_validation",  # torch validates it
}
"""Of all estimators."""
REGRESSION = {
    "loss": [StrOptions(set(KINDS))],
    "quantile": [Interval(Real, 0, 1, closed="neither")],
    "clip": ["boolean"],
}
CLASSIFICATION = {"class_weight": [dict, StrOptions({"balanced"}), None]}
RANKING = {
    "loss": [StrOptions({"pairwise", "softmax", "lambdarank"})],
    "metric": [StrOptions(set(METRICS))],
    "k": [Interval(Integral, 1, None, closed="left"), None],
    "scoring": [StrOptions({"metric", "loss"}), callable],
}
IMPLICIT = {
    "estimator": [HasMethods(["fit", "predict"])],
    "item_columns": ["array-like", slice],
    "n_negatives": [StrOptions({"all"}), Interval(Integral, 1, None, closed="left")],
    "popularity": [Interval(Real, 0, None, closed="left")],
    "exclude_known": ["boolean"],
    "k": [Interval(Integral, 1, None, closed="left")],
    "random_state": ["random_state"],
}
ATTENTION = {
    "attention_size": [Interval(Integral, 1, None, closed="left")],
    "l2_attention": [Interval(Real, 0, None, closed="left")],
}
POOLING = {"pooling": [StrOptions({"sum", "attention"})]}
INITIALIZATION = {
    "init": [StrOptions({"random", "fm"}), HasMethods(["fit", "predict"])],
    "freeze_init": ["boolean"],
}
FIELDS = {"fields": [StrOptions({"auto"}), "array-like"]}
HIDDEN_LAYERS = {"hidden_layer_sizes": ["array-like"]}


def check_hidden_layer_sizes(sizes):
    """Return the sizes of the hidden layers as a list of int."""
    sizes = list(sizes)
    if not sizes or not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be one or more positive integers, e.g. (64, 32), got {sizes}.")
    return [int(size) for size in sizes]
