"""Which film comes next: MovieLens 100k, the last film of each user left out, ranked among all films not seen before.

    OMP_NUM_THREADS=1 python tests/benchmarks/ranking.py [--models fm_bpr popularity]

prints one JSON line for each model: NDCG@10 and recall@10 over the users, and the seconds of the fit. Defaults, but for
the factors (32) and the penalties of implicit's models, the best of three on the films before the last.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy import sparse
from shootout_tasks import Sources
from sklearn.datasets import get_data_home
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMRanker, FMClassifier, FMRanker, ImplicitFeedback

SKAFM = {
    "fm_bpr": FMRanker(random_state=0),
    "fm_softmax": FMRanker(loss="softmax", random_state=0),
    "fm_log_loss": FMClassifier(random_state=0),
    "afm_softmax": AFMRanker(loss="softmax", random_state=0),
}


def popularity(train, _):
    """Score films by the number of users that have seen them."""
    counts = np.asarray(train.sum(0)).ravel()
    return np.tile(counts, (train.shape[0], 1))


def als(train, validation):
    """Alternating least squares of implicit."""
    from implicit.als import AlternatingLeastSquares

    return best_of_three(train, validation, lambda l2: AlternatingLeastSquares(32, regularization=l2, random_state=0))


def bpr(train, validation):
    """Bayesian personalized ranking of implicit."""
    from implicit.bpr import BayesianPersonalizedRanking

    make = lambda l2: BayesianPersonalizedRanking(32, regularization=l2, iterations=200, random_state=0)  # noqa: E731
    return best_of_three(train, validation, make, (0.003, 0.01, 0.03))


def best_of_three(train, validation, make, penalties=(1.0, 10.0, 100.0)):
    """Return the scores of the penalty that is best on the film before the last."""
    before = train.copy()
    before[np.arange(train.shape[0]), validation] = 0
    before.eliminate_zeros()
    quality = [measure(factor_scores(make(l2), before), before, validation)["ndcg"] for l2 in penalties]
    return factor_scores(make(penalties[int(np.argmax(quality))]), train)


def factor_scores(model, train):
    """Return the scores of all films for all users."""
    model.fit(sparse.csr_matrix(train, dtype=np.float32), show_progress=False)
    return model.user_factors @ model.item_factors.T


def fit_skafm(estimator, users, films, n_users, n_films):
    """Return the scores of all films for all users."""
    encoder = OneHotEncoder(categories=[np.arange(n_films), np.arange(n_users)], dtype=np.float32)
    X = encoder.fit_transform(np.column_stack([films, users]))
    model = ImplicitFeedback(estimator, slice(0, n_films), random_state=0).fit(X, qid=users)
    pairs = np.column_stack([np.tile(np.arange(n_films), n_users), np.repeat(np.arange(n_users), n_films)])
    score = model.decision_function if hasattr(estimator, "decision_function") else model.predict
    return score(encoder.transform(pairs)).reshape(n_users, n_films)


def measure(scores, known, film):
    """Return the metrics of the film of each user among all that the user has not seen before."""
    scores = np.where(known.toarray() > 0, -np.inf, scores)
    rank = 1 + (scores > scores[np.arange(len(film)), film][:, None]).sum(1)
    return {"ndcg": float(np.mean((rank <= 10) / np.log2(1 + rank))), "recall": float(np.mean(rank <= 10))}


def main():
    """Print a line for each model."""
    peers = {"popularity": popularity, "implicit_als": als, "implicit_bpr": bpr}
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=[*peers, *SKAFM])
    names = parser.parse_args().models
    table = Sources(Path(get_data_home()) / "skafm", None).parquet("MovieLens100k_data")
    table = table.sort_values(["user_id", "timestamp"], kind="stable")
    user, film = (np.unique(table[name], return_inverse=True)[1] for name in ("user_id", "movie_id"))
    place = table.groupby("user_id").cumcount(ascending=False).to_numpy()
    shape = user.max() + 1, film.max() + 1
    train = sparse.csr_array((np.ones(np.sum(place > 0)), (user[place > 0], film[place > 0])), shape)
    for name in names:
        start = time.perf_counter()
        if name in peers:
            scores = peers[name](train, film[place == 1])
        else:
            scores = fit_skafm(SKAFM[name], user[place > 0], film[place > 0], *shape)
        found = {key: round(value, 4) for key, value in measure(scores, train, film[place == 0]).items()}
        print(json.dumps({"model": name, **found, "seconds": round(time.perf_counter() - start, 1)}), flush=True)


if __name__ == "__main__":
    main()
