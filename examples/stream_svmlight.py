"""
A stream larger than memory
===========================

``partial_fit`` learns from rows as they come. Here a file in svmlight format is read in pieces, by
``sklearn.datasets.load_svmlight_file`` with an offset and a length in bytes, so that neither the file nor a matrix of
it is ever whole in memory; its columns are hashed names, of which there are as many as one likes. The file is made on
the spot: clicks that depend on which user group meets which article.

    python examples/stream_svmlight.py [--rows 1000000]
"""

import argparse
import resource
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from sklearn.datasets import dump_svmlight_file, load_svmlight_file
from sklearn.feature_extraction import FeatureHasher
from sklearn.metrics import log_loss, roc_auc_score

from skafm import FMClassifier

N_FEATURES = 2**18
PIECE = 2**20  # bytes read at once


def clicks(n, seed):
    """Return hashed rows of user, group and article, whether the user clicked, and how probable that was."""
    rng = np.random.default_rng(seed)
    users, articles = rng.integers(0, 20_000, n), rng.integers(0, 50, n)
    liking = np.random.default_rng(0).normal(size=(10, 50))
    truth = 1 / (1 + np.exp(1 - 2 * liking[users % 10, articles]))
    names = ([f"user={u}", f"group={u % 10}", f"article={a}"] for u, a in zip(users, articles, strict=True))
    hasher = FeatureHasher(N_FEATURES, input_type="string", alternate_sign=False, dtype=np.float32)
    return hasher.transform(names), (rng.random(n) < truth).astype(int), truth


def pieces(path):
    """Yield rows and targets of the file, so many bytes at a time."""
    for offset in range(0, path.stat().st_size, PIECE):
        X, y = load_svmlight_file(path, n_features=N_FEATURES, offset=offset, length=PIECE, dtype=np.float32)
        if len(y):
            yield X, y


def main():
    """Write the file, learn from it, and say how well and in how much memory."""
    parser = argparse.ArgumentParser(description="Learn from an svmlight file in pieces.")
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args()
    model, seconds, n_rows = FMClassifier(n_factors=8, batch_size=1000, random_state=0), 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clicks.svm"
        with path.open("wb") as file:
            for seed in range(-(-options.rows // 10_000)):
                X, y, _ = clicks(10_000, seed + 1)
                dump_svmlight_file(X, y, file)
        for X, y in pieces(path):
            start = perf_counter()
            model.partial_fit(X, y, classes=[0, 1])
            seconds, n_rows = seconds + perf_counter() - start, n_rows + len(y)
        size = path.stat().st_size / 2**20
    X, y, truth = clicks(20_000, seed=0)
    proba = model.predict_proba(X)[:, 1]
    print(f"{n_rows:,} rows, a file of {size:.0f} MB, learnt in {seconds:.1f} s and {model.n_iter_} pieces")
    print(f"log loss {log_loss(y, proba):.4f} (of the true probabilities {log_loss(y, truth):.4f}), ", end="")
    print(f"AUC {roc_auc_score(y, proba):.4f} ({roc_auc_score(y, truth):.4f})")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
