"""Which item comes next: three tables of choices as contexts, a catalog, and which choices are for testing."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from quality import load
from scipy import sparse
from shootout_tasks import Sources
from sklearn.datasets import get_data_home
from sklearn.preprocessing import OneHotEncoder, normalize

FIT, VALIDATE, TEST = 0, 1, 2
RECENT = 10
"""Number of the films before that are features of a row."""
MOST = 20
"""Number of the other items of a user, or of a film, that are."""


@dataclass(frozen=True)
class Task:
    """Choices of an item in a context."""

    plain: sparse.csr_array
    """(n, C) Features of each choice but those of the item: the user, the time, the films before."""
    items: sparse.csr_array
    """(n_items, I) Features of each item: its number, one-hot, first."""
    item: np.ndarray
    """(n,) The chosen item."""
    part: np.ndarray
    """(n,) FIT, VALIDATE or TEST."""
    entities: dict[str, np.ndarray]
    """Who chose, (n,): rows of a matrix with the items as columns, all that a factorization of two modes can take."""
    owner: str
    """Of these the one whose known items are not ranked again; or "", if all are ranked."""
    query: str
    """Whose known items do not compete with a row's in training."""
    factored: tuple[str, ...]
    """Those that a factorization of two modes makes sense for."""
    table: np.ndarray
    """(n, m) The context as numbers, for trees."""
    remembers: tuple[str, ...] = ()
    """Those whose other choices are features of a row."""

    def ids(self):
        """Return the task without features: the numbers of the factored entities and of the items."""
        plain = one_hot(*(self.entities[name] for name in self.factored))
        return replace(self, plain=plain, items=one_hot(np.arange(self.items.shape[0])), remembers=())

    def contexts(self, parts):
        """Return the contexts (n, C) as they are when the choices of some parts are known."""
        return stack([self.plain, *(self.others(self.entities[name], parts) for name in self.remembers)])

    def others(self, entity, parts):
        """Return the MOST most frequent items of each choice's entity, counted but for that choice, as unit vectors."""
        used, n_items, n = np.isin(self.part, parts), self.items.shape[0], len(self.item)
        ones = np.ones(used.sum(), np.float32)
        counts = sparse.csr_array((ones, (entity[used], self.item[used])), (entity.max() + 1, n_items))
        own = sparse.csr_array((ones, (np.flatnonzero(used), self.item[used])), (n, n_items))
        rows = counts[entity] - own  # (n, n_items)
        rows.eliminate_zeros()
        row = np.repeat(np.arange(n), np.diff(rows.indptr))
        order = np.lexsort((-rows.data, row))
        kept = order[np.arange(len(row)) - rows.indptr[row] < MOST]
        rows = sparse.csr_array((rows.data[kept], (row[kept], rows.indices[kept])), rows.shape)
        return sparse.csr_array(normalize(rows))

    def known(self, parts):
        """Return the items that the owner of each choice has in other parts, CSR (n, n_items), or None."""
        if not self.owner:
            return None
        group, used = self.entities[self.owner], np.isin(self.part, parts)
        return sparse.csr_array((np.ones(used.sum(), bool), (group[used], self.item[used])), self.shape(self.owner))

    def shape(self, entity):
        """Return the shape of the matrix of an entity and the items."""
        return self.entities[entity].max() + 1, self.items.shape[0]


def one_hot(*columns):
    """Return columns of numbers from 0 as one-hot CSR."""
    encoder = OneHotEncoder(categories=[np.arange(column.max() + 1) for column in columns], dtype=np.float32)
    return sparse.csr_array(encoder.fit_transform(np.column_stack(columns)))


def movielens():
    """MovieLens 100k: which film does a user rate next? The last one is for testing, that before for validation."""
    sources = Sources(Path(get_data_home()) / "skafm", None)
    ratings, users, films = (sources.parquet(f"MovieLens100k_{name}") for name in ("data", "users", "items"))
    ratings = ratings.sort_values(["user_id", "timestamp"], kind="stable")
    user, film = (ratings[name].to_numpy() - 1 for name in ("user_id", "movie_id"))
    place = ratings.groupby("user_id").cumcount(ascending=False).to_numpy()
    part = np.where(place > 1, FIT, np.where(place == 1, VALIDATE, TEST))
    users["age"] //= 10
    of_user = OneHotEncoder(dtype=np.float32).fit_transform(users[["age", "gender", "occupation"]])[user]
    genres = normalize(films.loc[:, "unknown":"Western"].to_numpy(np.float32), norm="l1")
    items = [one_hot(np.arange(len(films))), sparse.csr_array(genres)]
    before = films_before(user, film, len(films))
    contexts = sparse.hstack([one_hot(user), of_user, *before], format="csr", dtype=np.float32)
    table = np.column_stack([users[["age"]].to_numpy()[user], films_last(user, film)])
    return Task(contexts, stack(items), film, part, {"user": user}, "user", "user", ("user",), table)


def films_last(user, film):
    """Return the last film before of rows that are ordered by user and time, -1 if there is none."""
    return np.where(user == np.roll(user, 1), np.roll(film, 1), -1)


def films_before(user, film, n_films):
    """Return the last film before, and the last RECENT, of rows that are ordered by user and time."""
    rows, columns, n = [], [], len(user)
    for lag in range(1, RECENT + 1):
        same = np.flatnonzero(user[lag:] == user[:-lag]) + lag
        rows.append(same)
        columns.append(film[same - lag])
    last, recent = (
        sparse.csr_array((np.ones(len(r), np.float32), (r, c)), (n, n_films))
        for r, c in ((rows[0], columns[0]), map(np.concatenate, (rows, columns)))
    )
    return last, sparse.csr_array(normalize(recent, norm="l1"))


def stack(blocks):
    """Return CSR blocks side by side, in float32."""
    return sparse.csr_array(sparse.hstack(blocks, format="csr", dtype=np.float32))


def positives(folder, name, item_columns, seed=0):
    """Return the observed rows of a table of the AFM paper, without the item, and their items and parts."""
    X_fit, y_fit, X_test, y_test = load(folder, name)
    X = np.concatenate([x.indices.reshape(x.shape[0], -1)[y > 0] for x, y in ((X_fit, y_fit), (X_test, y_test))])
    part = np.repeat([FIT, TEST], [np.sum(y_fit > 0), np.sum(y_test > 0)])
    part[np.random.default_rng(seed).permutation(np.sum(y_fit > 0))[: np.sum(y_fit > 0) // 10]] = VALIDATE
    table = np.column_stack([np.unique(column, return_inverse=True)[1] for column in X.T])  # (n, m) numbers from 0
    return np.delete(table, item_columns, axis=1), table[:, item_columns], part


def frappe(folder):
    """Frappe: which app does a user use at this time, in this place and weather?"""
    rest, item, part = positives(folder, "frappe", 1)
    contexts = one_hot(*rest.T)
    context = np.unique(rest, axis=0, return_inverse=True)[1].ravel()
    entities = {"user": rest[:, 0], "context": context}
    return Task(
        contexts, one_hot(np.arange(item.max() + 1)), item, part, entities, "", "context", ("user",), rest, ("user",)
    )


def mltags(folder):
    """MovieLens tags: which tag does a user give a film?"""
    rest, item, part = positives(folder, "mltags", 2)
    pair = np.unique(rest, axis=0, return_inverse=True)[1].ravel()
    entities = {"user": rest[:, 0], "film": rest[:, 1], "pair": pair}
    return Task(
        one_hot(*rest.T),
        one_hot(np.arange(item.max() + 1)),
        item,
        part,
        entities,
        "pair",
        "pair",
        ("user", "film"),
        rest,
        ("user", "film"),
    )
