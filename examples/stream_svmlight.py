"""
Out-of-core learning from an svmlight file
==========================================

``partial_fit`` updates a model with one chunk of rows after another. Here the chunks are read from a file in svmlight
format by ``sklearn.datasets.load_svmlight_file`` with an offset and a length in bytes, so that the file never has to
fit in memory. Feature names are hashed to columns, so their number is not limited. The script first writes a synthetic
file: clicks that depend on the interaction of user group and article.

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
CHUNK_BYTES = 2**20


def clicks(n, seed):
    """Return n hashed rows of user, group and article, whether each was clicked, and the true probability."""
    rng = np.random.default_rng(seed)
    users, articles = rng.integers(0, 20_000, n), rng.integers(0, 50, n)
    preference = np.random.default_rng(0).normal(size=(10, 50))  # of each group for each article
    truth = 1 / (1 + np.exp(1 - 2 * preference[users % 10, articles]))
    names = ([f"user={u}", f"group={u % 10}", f"article={a}"] for u, a in zip(users, articles, strict=True))
    hasher = FeatureHasher(N_FEATURES, input_type="string", alternate_sign=False, dtype=np.float32)
    return hasher.transform(names), (rng.random(n) < truth).astype(int), truth


def iter_chunks(path):
    """Yield rows and targets of the file, one chunk of bytes after another."""
    for offset in range(0, path.stat().st_size, CHUNK_BYTES):
        X, y = load_svmlight_file(path, n_features=N_FEATURES, offset=offset, length=CHUNK_BYTES, dtype=np.float32)
        if len(y):
            yield X, y


def main():
    """Write the file, train on it, and print the scores and the peak memory."""
    parser = argparse.ArgumentParser(description="Train on an svmlight file that does not fit in memory.")
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args()
    model, seconds, n_rows = FMClassifier(n_factors=8, batch_size=1000, random_state=0), 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clicks.svm"
        with path.open("wb") as file:
            for seed in range(-(-options.rows // 10_000)):
                X, y, _ = clicks(10_000, seed + 1)
                dump_svmlight_file(X, y, file)
        for X, y in iter_chunks(path):
            start = perf_counter()
            model.partial_fit(X, y, classes=[0, 1])
            seconds, n_rows = seconds + perf_counter() - start, n_rows + len(y)
        size = path.stat().st_size / 2**20
    X, y, truth = clicks(20_000, seed=0)
    proba = model.predict_proba(X)[:, 1]
    print(f"{n_rows:,} rows, a file of {size:.0f} MB, trained in {seconds:.1f} s and {model.n_iter_} chunks")
    print(f"log loss {log_loss(y, proba):.4f} (true probabilities: {log_loss(y, truth):.4f}), ", end="")
    print(f"AUC {roc_auc_score(y, proba):.4f} (true probabilities: {roc_auc_score(y, truth):.4f})")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
