"""MovieLens 100k: which movie did each user rate last? All unseen movies are ranked, beside implicit if installed.

python tests/benchmarks/last_out.py
"""

import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy import sparse
from shootout_tasks import Sources
from sklearn.datasets import get_data_home
from sklearn.preprocessing import OneHotEncoder

from skafm import FMClassifier
from skafm.datasets import sample_negatives
from skafm.recommendation import recommend

N = 10


def split():
    """Return user and movie, (n, 2) from 0, of all ratings but each user's last, and the last movies (n_users,)."""
    cache = Path(get_data_home()) / "skafm"
    ratings = Sources(cache, None).parquet("MovieLens100k_data").sort_values(["user_id", "timestamp"], kind="stable")
    pairs = ratings[["user_id", "movie_id"]].to_numpy() - 1
    is_last = ~ratings.duplicated("user_id", keep="last").to_numpy()
    return pairs[~is_last], pairs[is_last, 1]


def popularity(seen):
    """Return the N movies most often rated that each user has not seen."""
    counts = np.where(seen.toarray(), -1, seen.sum(axis=0))
    return np.argsort(-counts, axis=1, kind="stable")[:, :N]


def fm(seen, pairs, users, movies, n_negatives):
    """Return the N best movies of each user, of rows of a user and a movie with their properties."""
    rows, y = sample_negatives(pairs, item_column=1, user_columns=0, n_negatives=n_negatives, random_state=0)
    model = FMClassifier(n_iter_no_change=2, random_state=0).fit(users[rows[:, 0]] + movies[rows[:, 1]], y)
    return recommend(model, users, movies, N, exclude=seen)[0]


def properties():
    """Return one-hot rows of users, and of movies with their genres, in columns of their own."""
    sources = Sources(Path(get_data_home()) / "skafm", None)
    users, movies = (sources.parquet(f"MovieLens100k_{name}") for name in ("users", "items"))
    users["age"] = users["age"] // 10
    movies["year"] = movies["movie_title"].str.extract(r"\((\d{4})\)", expand=False).fillna("?")
    genres = movies.loc[:, "unknown":"Western"].to_numpy(np.float32)
    encoder = OneHotEncoder(dtype=np.float32)
    left, right = (
        encoder.fit_transform(users[["user_id", "age", "gender", "occupation"]]),
        encoder.fit_transform(movies[["movie_id", "year"]]),
    )
    return sparse.csr_array(sparse.block_diag([left, sparse.hstack([right, genres / genres.sum(1, keepdims=True)])]))


def implicit(seen, model):
    """Return the N movies that a model of implicit recommends."""
    model.fit(seen, show_progress=False)
    return model.recommend(np.arange(seen.shape[0]), seen, N=N)[0]


def main():
    """Print a line for each model."""
    pairs, last = split()
    n_users, n_movies = pairs.max(axis=0) + 1
    seen = sparse.csr_matrix((np.ones(len(pairs), np.float32), tuple(pairs.T)), shape=(n_users, n_movies))
    rows = properties()
    users, movies = rows[:n_users], rows[n_users : n_users + n_movies]
    calls = {"popularity": partial(popularity, seen)}
    if find_spec("implicit"):
        from implicit.als import AlternatingLeastSquares
        from implicit.bpr import BayesianPersonalizedRanking

        settings = {"num_threads": 1, "random_state": 0}
        als = AlternatingLeastSquares(factors=32, regularization=0.1, **settings)
        calls["implicit ALS"] = partial(implicit, seen, als)
        calls["implicit BPR"] = partial(implicit, seen, BayesianPersonalizedRanking(factors=64, **settings))
    for n_negatives in (2, 4):
        calls[f"FMClassifier, {n_negatives} negatives"] = partial(fm, seen, pairs, users, movies, n_negatives)
    for name, call in calls.items():
        start = perf_counter()
        hits = call() == last[:, None]  # (n_users, N)
        ndcg = (hits / np.log2(np.arange(N) + 2)).sum(axis=1)
        line = {"model": name, "ndcg": round(ndcg.mean(), 4), "error": round(ndcg.std() / n_users**0.5, 4)}
        line |= {"recall": round(hits.any(axis=1).mean(), 4), "seconds": round(perf_counter() - start, 1)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
