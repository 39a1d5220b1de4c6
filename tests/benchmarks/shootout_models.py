"""Models of the shoot-out: default constructors, each with its natural coding of a table's columns."""

import os
from functools import partial
from importlib.util import find_spec

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer, StandardScaler, TargetEncoder

from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor

os.environ.setdefault("TQDM_DISABLE", "1")  # myFM's progress bar
THREADS = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
N_WORDS = 500
"""Most frequent words of a text that trees are given, as dense columns."""
MAX_CATEGORIES = 255
"""Categories that HistGradientBoosting takes; columns with more are target-encoded."""
PACKAGES = {
    "LightGBM": "lightgbm",
    "CatBoost": "catboost",
    "modern-fm": "modern_fm",
    "myFM": "myfm",
    "FM": "skafm",
    "AFM": "skafm",
}
"""Package of each family; of the others it is scikit-learn."""


def make_model(name, task, seed):
    """Return a model for a task, or None if its coding of numbers does not concern a task without any."""
    family, _, numbers = name.partition(" ")
    if numbers and not task.numbers:
        return None
    return FAMILIES[family](task, numbers or "splines", seed)


def is_installed(name):
    """Return whether the package of a model is installed."""
    return find_spec(package(name)) is not None


def package(name):
    """Return the package that a model is from."""
    return PACKAGES.get(name.partition(" ")[0], "sklearn")


def columns(task, numbers, dtype=np.float64):
    """Return a transformer to sparse columns: one-hot categories, words, and numbers as splines or one-hot values."""
    encoders = [
        (name, encoder(task, name, numbers), name if name in task.words else [name]) for name in task.frame.columns
    ]
    return make_pipeline(
        ColumnTransformer(encoders, sparse_threshold=1.0), FunctionTransformer(partial(sparse.csr_matrix, dtype=dtype))
    )


def encoder(task, name, numbers):
    """Return the encoder of a column."""
    if name in task.codes:
        return code_vectorizer()
    if name in task.words:
        return TfidfVectorizer(min_df=2)
    if name not in task.numbers:
        return OneHotEncoder(handle_unknown="ignore")
    if numbers == "splines":
        return SplineTransformer(8, sparse_output=True, handle_missing="zeros")
    return OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist")


def code_vectorizer():
    """Return the vectorizer of a set of codes."""
    return CountVectorizer(binary=True, token_pattern=r"\S+")


class TreeColumns(TransformerMixin, BaseEstimator):
    """Frame for trees: numbers and categories as they are, columns of words as dense columns."""

    def __init__(self, task):
        self.task = task

    def fit(self, X, y=None):  # noqa: ARG002
        """Fit the vectorizers."""
        self.vectorizers_ = {
            name: code_vectorizer() if name in self.task.codes else TfidfVectorizer(min_df=2, max_features=N_WORDS)
            for name in self.task.words
        }
        for name, vectorizer in self.vectorizers_.items():
            vectorizer.fit(X[name])
        return self

    def transform(self, X):
        """Return the frame without strings."""
        parts = [X.drop(columns=self.task.words)]
        for name, vectorizer in self.vectorizers_.items():
            words = vectorizer.transform(X[name]).toarray()
            parts.append(pd.DataFrame(words, X.index).rename(columns=f"{name}{{}}".format))
        return pd.concat(parts, axis=1)


class MyFM(BaseEstimator):
    """MyFM with 16 factors, and one prior for the columns of each field."""

    def __init__(self, task, numbers, seed):
        self.task, self.numbers, self.seed = task, numbers, seed

    def fit(self, X, y):
        """Sample with Gibbs, or for classes with its probit model."""
        import myfm

        self.columns_ = columns(self.task, self.numbers).fit(X)
        slices = self.columns_[0].output_indices_
        shapes = [slices[name].stop - slices[name].start for name in self.task.frame.columns]
        kind = myfm.MyFMClassifier if self.task.is_classification else myfm.MyFMRegressor
        self.model_ = kind(rank=16, random_seed=self.seed)
        self.model_.fit(self.columns_.transform(X), y, group_shapes=[n for n in shapes if n])
        return self

    def predict(self, X):
        """Return the predictions."""
        return self.model_.predict(self.columns_.transform(X))

    def predict_proba(self, X):
        """Return the probabilities of both classes."""
        p = self.model_.predict_proba(self.columns_.transform(X))
        return np.column_stack([1 - p, p])


def constant(task, _, __):
    """Return the model that predicts the same for all rows."""
    return DummyClassifier() if task.is_classification else DummyRegressor()


def linear(task, numbers, _):
    """Return a linear model, its penalty chosen by cross-validation with the loss that is measured."""
    if task.is_classification:
        model = LogisticRegressionCV(
            scoring="neg_log_loss", max_iter=1000, l1_ratios=(0.0,), use_legacy_attributes=False
        )
    else:
        model = RidgeCV(np.logspace(-2, 4, 13), cv=5)
    return make_pipeline(columns(task, numbers), model)


def fm(classifier, regressor, task, numbers, seed):
    """Return a model of skafm, with float32 columns."""
    model = classifier if task.is_classification else regressor
    return make_pipeline(columns(task, numbers, np.float32), model(random_state=seed))


def hist_gradient_boosting(task, _, seed):
    """Return HistGradientBoosting, with target-encoded ids."""
    kind = HistGradientBoostingClassifier if task.is_classification else HistGradientBoostingRegressor
    categories = task.frame.select_dtypes("category")
    ids = [name for name in categories if len(categories[name].cat.categories) > MAX_CATEGORIES]
    target_type = "binary" if task.is_classification else "continuous"
    encode = ColumnTransformer(
        [("ids", TargetEncoder(target_type=target_type, random_state=seed), ids)], remainder="passthrough"
    )
    return make_pipeline(TreeColumns(task), encode.set_output(transform="pandas"), kind(random_state=seed))


def lightgbm(task, _, seed):
    """Return LightGBM."""
    import lightgbm as library

    kind = library.LGBMClassifier if task.is_classification else library.LGBMRegressor
    return make_pipeline(TreeColumns(task), kind(random_state=seed, n_jobs=THREADS, verbose=-1))


def catboost(task, _, seed):
    """Return CatBoost."""
    import catboost as library

    kind = library.CatBoostClassifier if task.is_classification else library.CatBoostRegressor
    categories = list(task.frame.select_dtypes("category"))
    quiet = {"verbose": False, "allow_writing_files": False, "thread_count": THREADS}
    return make_pipeline(TreeColumns(task), kind(random_seed=seed, cat_features=categories, **quiet))


def modern_fm(task, numbers, seed):
    """Return modern-fm with early stopping, which it needs, and for a regression a standardized target."""
    import modern_fm as library

    kind = library.FMClassifier if task.is_classification else library.FMRegressor
    model = kind(early_stopping=True, random_state=seed, n_jobs=THREADS)
    if not task.is_classification:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    return make_pipeline(columns(task, numbers), model)


FAMILIES = {
    "constant": constant,
    "linear": linear,
    "FM": partial(fm, FMClassifier, FMRegressor),
    "AFM": partial(fm, AFMClassifier, AFMRegressor),
    "HGB": hist_gradient_boosting,
    "LightGBM": lightgbm,
    "CatBoost": catboost,
    "modern-fm": modern_fm,
    "myFM": MyFM,
}
MODELS = ["constant", "linear", "linear values", "FM", "FM values", "AFM", "AFM values", *list(FAMILIES)[4:]]
