"""Models of the shoot-out: default constructors, each with its natural coding of a table's columns."""

import os
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer, StandardScaler, TargetEncoder

os.environ.setdefault("TQDM_DISABLE", "1")  # myFM's progress bar
THREADS = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
N_WORDS = 500
"""Most frequent words of a text that trees are given, as dense columns."""
MAX_CATEGORIES = 255
"""Categories that HistGradientBoosting takes; columns with more are target-encoded."""


def make_model(name, task, seed):
    """Return a model for a task, or None if its coding of numbers does not concern a task without any."""
    family, _, numbers = name.partition(" ")
    if numbers and not task.numbers:
        return None
    return FAMILIES[family][1](task, numbers or "splines", seed)


def is_installed(name):
    """Return whether the package of a model is installed."""
    return find_spec(package(name)) is not None


def package(name):
    """Return the package that a model is from."""
    return FAMILIES[name.partition(" ")[0]][0]


def columns(task, numbers, dtype=np.float64):
    """Return a transformer to sparse columns: one-hot categories, words, and numbers as splines or one-hot values."""
    names = {name: name if name in task.words else [name] for name in task.frame}
    encoders = [(name, encoder(task, name, numbers), selected) for name, selected in names.items()]
    convert = FunctionTransformer(partial(sparse.csr_matrix, dtype=dtype))
    return make_pipeline(ColumnTransformer(encoders, sparse_threshold=1.0), convert)


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
        self.columns_ = columns(self.task, self.numbers).fit(X)
        slices = self.columns_[0].output_indices_
        shapes = [slices[name].stop - slices[name].start for name in self.task.frame.columns]
        self.model_ = class_of(self.task, "myfm.MyFM")(rank=16, random_seed=self.seed)
        self.model_.fit(self.columns_.transform(X), y, group_shapes=[n for n in shapes if n])
        return self

    def predict(self, X):
        """Return the predictions."""
        return self.model_.predict(self.columns_.transform(X))

    def predict_proba(self, X):
        """Return the probabilities of both classes."""
        p = self.model_.predict_proba(self.columns_.transform(X))
        return np.column_stack([1 - p, p])


def class_of(task, prefix):
    """Return the classifier or the regressor whose module and name start with ``prefix``."""
    module, _, name = prefix.rpartition(".")
    return getattr(import_module(module), name + ("Classifier" if task.is_classification else "Regressor"))


def constant(task, _, __):
    """Return the model that predicts the same for all rows."""
    return class_of(task, "sklearn.dummy.Dummy")()


def linear(task, numbers, _):
    """Return a linear model, its penalty chosen by cross-validation with the loss that is measured."""
    model = RidgeCV(np.logspace(-2, 4, 13), cv=5)
    if task.is_classification:
        options = {"l1_ratios": (0.0,), "use_legacy_attributes": False}  # what will be the default
        model = LogisticRegressionCV(scoring="neg_log_loss", max_iter=1000, **options)
    return make_pipeline(columns(task, numbers), model)


def fm(prefix, task, numbers, seed):
    """Return a model of skafm, with float32 columns."""
    return make_pipeline(columns(task, numbers, np.float32), class_of(task, prefix)(random_state=seed))


def hist_gradient_boosting(task, _, seed):
    """Return HistGradientBoosting, with target-encoded ids."""
    categories = task.frame.select_dtypes("category")
    ids = [name for name in categories if len(categories[name].cat.categories) > MAX_CATEGORIES]
    encoder = TargetEncoder(target_type="binary" if task.is_classification else "continuous", random_state=seed)
    encode = ColumnTransformer([("ids", encoder, ids)], remainder="passthrough").set_output(transform="pandas")
    model = class_of(task, "sklearn.ensemble.HistGradientBoosting")(random_state=seed)
    return make_pipeline(TreeColumns(task), encode, model)


def lightgbm(task, _, seed):
    """Return LightGBM."""
    model = class_of(task, "lightgbm.LGBM")(random_state=seed, n_jobs=THREADS, verbose=-1)
    return make_pipeline(TreeColumns(task), model)


def catboost(task, _, seed):
    """Return CatBoost."""
    options = {"verbose": False, "allow_writing_files": False, "thread_count": THREADS}
    options["cat_features"] = list(task.frame.select_dtypes("category"))
    return make_pipeline(TreeColumns(task), class_of(task, "catboost.CatBoost")(random_seed=seed, **options))


def modern_fm(task, numbers, seed):
    """Return modern-fm with early stopping, which it needs, and for a regression a standardized target."""
    model = class_of(task, "modern_fm.FM")(early_stopping=True, random_state=seed, n_jobs=THREADS)
    if not task.is_classification:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    return make_pipeline(columns(task, numbers), model)


FAMILIES = {
    "constant": ("sklearn", constant),
    "linear": ("sklearn", linear),
    "FM": ("skafm", partial(fm, "skafm.FM")),
    "AFM": ("skafm", partial(fm, "skafm.AFM")),
    "BayesianFM": ("skafm", partial(fm, "skafm.BayesianFM")),
    "HGB": ("sklearn", hist_gradient_boosting),
    "LightGBM": ("lightgbm", lightgbm),
    "CatBoost": ("catboost", catboost),
    "modern-fm": ("modern_fm", modern_fm),
    "myFM": ("myfm", MyFM),
}
"""Package of each family, and what makes a model for a task, a coding of numbers and a seed."""
MODELS = ["constant", "linear", "linear values", "FM", "FM values", "AFM", "AFM values", *list(FAMILIES)[4:]]
