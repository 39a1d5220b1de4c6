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
    "LibFM": (FMRegressor, {"solver": "sgd", "learning_rate": 0.5, "l2_factors": 0.004}),
    "FM": (FMRegressor, {"dropout": 0.3, "l2_factors": 0.004}),
    "HOFM": (HOFMRegressor, {"l2_factors": 0.004}),
    "FFM": (FFMRegressor, {"l2_factors": 0.004}),
    "Wide&Deep": (WideDeepRegressor, {"init": "fm", "dropout": 0.2}),
    "DeepCross": (DeepCrossRegressor, {"init": "fm"}),
    "NFM": (NFMRegressor, {"init": "fm"}),
    "deep AFM": (NFMRegressor, {"init": "fm", "pooling": "attention"}),
    "AFM": (AFMRegressor, {"init": "fm", "dropout": 0.2, "l2_factors": 0.0, "l2_attention": 0.01}),
}
"""Estimator and settings of each."""

TRIALS = {method: [{}] for method in METHODS}
"""What Table 2 tries beside these settings."""


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
    k, batch_size = options.factors, BATCH_SIZE[options.name]
    own = own | ({"attention_size": k} if "attention_size" in Estimator().get_params() else {})
    early = {"early_stopping": True, "scoring": "neg_root_mean_squared_error", "tol": 0.0, "n_iter_no_change": 3}
    common = {
        "n_factors": k,
        "batch_size": batch_size,
        "max_iter": options.max_iter,
        "clip": True,
        "random_state": seed,
    }
    return Estimator(**common | early | own | settings)


def pretrained(options, splits, seed):
    """Return the FM that the methods of this seed start from, fitted once and kept in a file."""
    path = options.out / f"fm_{options.name}_{options.factors}_{options.rows or 'all'}_{seed}.joblib"
    if not path.exists():
        joblib.dump(fit_method(options, splits, {"method": "FM", "seed": seed}), path)
    return joblib.load(path)
