"""The methods: what the experiments set for each, and what Table 2 tries."""

import joblib
from sklearn.frozen import FrozenEstimator

from skafm import (
    AFMRegressor,
    DeepCrossRegressor,
    FFMRegressor,
    FMRegressor,
    HOFMRegressor,
    NFMRegressor,
    WideDeepRegressor,
)

BATCH_SIZE = {"frappe": 512, "mltags": 4096}  # the paper's are 128 and 4,096

METHODS = {
    "LibFM": (FMRegressor, {"solver": "sgd"}),
    "FM": (FMRegressor, {}),
    "HOFM": (HOFMRegressor, {}),
    "FFM": (FFMRegressor, {}),
    "Wide&Deep": (WideDeepRegressor, {"init": "fm"}),
    "DeepCross": (DeepCrossRegressor, {"init": "fm"}),
    "NFM": (NFMRegressor, {"init": "fm"}),
    "deep AFM": (NFMRegressor, {"init": "fm", "pooling": "attention"}),
    "AFM": (AFMRegressor, {}),
}
"""Estimator of each method, and what makes it the method."""

_LIBFM = [
    {"batch_size": 32, "learning_rate": rate, "l2_factors": l2}
    for rate, l2 in ((0.08, 0.0), (0.04, 0.0), (0.08, 0.001))
]
_DEEP = [
    {"learning_rate": 0.01, "dropout": 0.5},
    {"learning_rate": 0.01, "dropout": 0.2},
    {"learning_rate": 0.003, "dropout": 0.5},
]
_CROSS = [  # norms and dropout do not go together
    {"learning_rate": 0.01, "dropout": 0.5},
    {"learning_rate": 0.01, "dropout": 0.0},
    {"learning_rate": 0.003, "dropout": 0.0},
]
_AFM = {"init": "fm", "learning_rate": 0.1, "dropout": 0.2, "l2_factors": 0.0005, "l2_attention": 0.02}
_TAGS = {"init": "random", "dropout": 0.2, "l2_factors": 0.01}
_SAME = dict.fromkeys(("Wide&Deep", "NFM", "deep AFM"), _DEEP) | {"DeepCross": _CROSS, "LibFM": _LIBFM}

TRIALS = {
    "frappe": _SAME
    | {
        "FM": [{"dropout": 0.4, "l2_factors": 0.004}, {"dropout": 0.2, "l2_factors": 0.004}, {"l2_factors": 0.01}],
        "HOFM": [{"l2_factors": 0.004}, {"dropout": 0.4, "l2_factors": 0.004}, {"l2_factors": 0.01}],
        "FFM": [{"l2_factors": 0.004}, {"dropout": 0.4, "l2_factors": 0.004}, {"l2_factors": 0.001}],
        "AFM": [_AFM, _AFM | {"batch_size": 1024, "l2_factors": 0.001}, _AFM | {"dropout": 0.1}],
    },
    "mltags": _SAME
    | {
        "FM": [{"l2_factors": 0.01}, {"dropout": 0.3, "l2_factors": 0.03}, {"dropout": 0.6, "learning_rate": 0.02}],
        "HOFM": [{"l2_factors": 0.01}, {"dropout": 0.3, "l2_factors": 0.03}, {"dropout": 0.6, "learning_rate": 0.02}],
        "FFM": [{"l2_factors": 0.01}, {"dropout": 0.3, "l2_factors": 0.03}, {"dropout": 0.6, "learning_rate": 0.02}],
        "AFM": [_TAGS, _TAGS | {"l2_factors": 0.003}, _TAGS | {"init": "fm"}],
    },
}
"""What Table 2 tries; the first is what the other experiments set where they do not say otherwise."""


def best_setting(record, method, n_trials=None):
    """Return the key of the trial, of seed 0, that is best on the validation rows, run now where it was not before."""
    trials = TRIALS[record.options.name][method][:n_trials]
    runs = record.run_all([{"method": method, "seed": 0, **trial} for trial in trials])
    return min(runs, key=lambda run: run["rmse"]["validation"])["key"]


def fit_method(options, splits, key):
    """Fit a method with early stopping on the validation rows; the rest of its key are settings."""
    settings = dict(key)
    method, seed = settings.pop("method"), settings.pop("seed", 0)
    model = make(options, method, seed, **settings)
    if getattr(model, "init", None) == "fm":
        model.init = FrozenEstimator(pretrained(options, splits, seed))
    X_val, y_val = splits["validation"]
    return model.fit(*splits["train"], X_val=X_val, y_val=y_val)


def make(options, method, seed, **settings):
    """Return the estimator of a method, to fit as the paper did, and judged by its error."""
    Estimator, own = METHODS[method]
    own = own | TRIALS[options.name][method][0]
    k, batch_size = options.factors, BATCH_SIZE[options.name]
    parameters = Estimator().get_params()
    own = own | ({"attention_size": k} if "attention_size" in parameters else {})
    early = {"early_stopping": True, "scoring": "neg_root_mean_squared_error", "tol": 0.0, "n_iter_no_change": 4}
    common = {
        "n_factors": k,
        "batch_size": batch_size,
        "max_iter": options.max_iter,
        "clip": True,
        "random_state": seed,
    }
    penalties = {"l2_linear": 0.0, "l2_factors": 0.01 if method in {"FM", "HOFM", "FFM"} else 0.003}  # and no priors
    penalties = {name: value for name, value in penalties.items() if name in parameters}
    return Estimator(**penalties | common | early | own | settings)


def pretrained(options, splits, seed):
    """Return the FM that the methods of this seed start from, fitted once and kept in a file."""
    path = options.out / f"fm_{options.name}_{options.factors}_{options.rows or 'all'}_{seed}.joblib"
    if not path.exists():
        joblib.dump(fit_method(options, splits, {"method": "FM", "seed": seed}), path)
    return joblib.load(path)
