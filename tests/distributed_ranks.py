"""What each rank does in ``test_distributed.py``, and the data of it.

python tests/distributed_ranks.py FOLDER

Processes are forked where everything is imported already: an import takes longer than what a rank does.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import time
import warnings
from datetime import timedelta
from itertools import count
from pathlib import Path

import numpy as np
import torch.distributed as dist
from conftest import ragged_matrix
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skafm import (
    AFMClassifier,
    AFMRegressor,
    DeepCrossRegressor,
    DeepFMRegressor,
    FFMRegressor,
    FMClassifier,
    FMRanker,
    FMRegressor,
    FwFMRegressor,
    HOFMRegressor,
    NFMRegressor,
    WideDeepRegressor,
)
from skafm._training.collectives import ProcessGroup
from skafm.distributed import _TorchProcessGroup, data_parallel

N, BATCH, LIMIT = 97, 16, 5
COMMON = {"shuffle": False, "batch_size": BATCH, "max_iter": 2, "tol": 0, "random_state": 0, "n_factors": 3}
NO_PRIORS = {"l2_linear": 0.0, "l2_factors": 0.01, "early_stopping": False}  # priors weigh less beside more rows


def counts(n_ranks):
    """Rows of each rank: the first has most, the others fewer than there are batches."""
    return [N - 5 * (n_ranks - 1)] + [5] * (n_ranks - 1)


def data():
    """X, a y that grows from row to row, so that the shards differ in mean and range, and weights."""
    X, rng = ragged_matrix(N), np.random.default_rng(0)
    return X, X[:, 0] - 2 * X[:, 1] * X[:, 2] + np.linspace(-30, 30, N), rng.uniform(0.5, 1.5, N)


def labels():
    """Three classes, of which the second and third are in the last rows only."""
    return np.array(["a", "b", "c"])[np.r_[np.zeros(N - 4, int), 1, 2, 1, 2]]


def parity():
    """Two classes in turn, the one twice as frequent."""
    return (np.arange(N) % 3 == 0).astype(int)


def cases():
    """Name -> model, target: what must equal one process with all rows."""
    _, y, _ = data()
    l2 = {"l2_linear": 0.01, "l2_factors": 0.02}
    return {
        "FMRegressor": (FMRegressor(clip=True, **l2, **COMMON), y),
        "FMRegressor of two targets": (FMRegressor(solver="sgd", **COMMON), np.column_stack([y, -3 * y])),
        "FMRegressor of counts": (FMRegressor(loss="poisson", **COMMON), np.round(np.exp(y / 2))),
        "FMRegressor of a quantile": (FMRegressor(loss="quantile", quantile=0.7, **l2, **COMMON), y),
        "FMClassifier": (FMClassifier(solver="adam", class_weight="balanced", **COMMON), labels()),
        "AFMRegressor": (AFMRegressor(l2_attention=0.1, **l2, **COMMON), y),
        "AFMRegressor from FM": (AFMRegressor(init="fm", **COMMON), y),
        "AFMClassifier": (AFMClassifier(l2_attention=0.1, **COMMON), parity()),
        "FFMRegressor": (FFMRegressor(fields=np.arange(9) // 3, **COMMON), y),
        "FwFMRegressor": (FwFMRegressor(fields=np.arange(9) // 3, **COMMON), y),
        "DeepFMRegressor": (
            DeepFMRegressor(hidden_layer_sizes=(5, 4), batch_norm=False, fields=np.arange(9) // 3, **COMMON),
            y,
        ),
        "HOFMRegressor": (HOFMRegressor(**l2, **COMMON), y),
        "NFMRegressor": (NFMRegressor(hidden_layer_sizes=(5, 4), **COMMON), y),
        "WideDeepRegressor": (WideDeepRegressor(hidden_layer_sizes=(5, 4), fields=np.arange(9) // 3, **COMMON), y),
    }


def fit_ranker(rows, weight):
    """Return a ranker fitted to some rows, those of whole queries: every rank has some. A batch has all rows."""
    X, qid, grade = data()[0], np.arange(N)[::-1] // 5, np.arange(N) % 3
    return FMRanker(**COMMON | {"batch_size": N}).fit(X[rows], grade[rows], weight[rows], qid=qid[rows])


STOPPING = {"early_stopping": True, "learning_rate": 0.3, "max_iter": 60, "tol": 0.02, "n_iter_no_change": 2}


def stopped():
    """A model that stops early."""
    return FMRegressor(**COMMON | STOPPING)


class Counted:
    """Counts the bytes that the steps give to the collectives of tensors."""

    def __enter__(self):
        self.bytes, self.kept = 0, (dist.all_reduce, dist.all_gather, _TorchProcessGroup.all_reduce_sum)
        _TorchProcessGroup.all_reduce_sum = ProcessGroup.all_reduce_sum  # a few times in a fit, and in no step
        dist.all_reduce = self._counting(dist.all_reduce, 0)
        dist.all_gather = self._counting(dist.all_gather, 1)
        return self

    def __exit__(self, *_):
        dist.all_reduce, dist.all_gather, _TorchProcessGroup.all_reduce_sum = self.kept

    def _counting(self, collective, at):
        def counted(*tensors, **options):
            self.bytes += tensors[at].nbytes
            return collective(*tensors, **options)

        return counted


def error_of(model, X, y, group=None):
    """Return type and text of the error of a data_parallel fit, and whether the model is as it was."""
    kept = vars(model).copy()
    try:
        with data_parallel(group):
            model.fit(X, y)
    except Exception as error:
        return type(error).__name__, str(error), vars(model) == kept
    return None


def wide(n_features):
    """Return a one-hot matrix of the same entries in a table of ``n_features`` rows."""
    rng = np.random.default_rng(0)
    X = sparse.csr_array(np.where(rng.random((N, 50)) < 0.1, rng.random((N, 50)), 0.0))
    X.resize(N, n_features)
    return X


def equal(rank, n_ranks):
    """Return what this rank got from each claim's calls."""
    X, y, weight = data()
    bounds = np.cumsum([0, *counts(n_ranks)])
    mine = slice(bounds[rank], bounds[rank + 1])
    found = {}
    for name, (model, target) in cases().items():
        with data_parallel():
            found[name] = model.fit(X[mine], target[mine], weight[mine])
    with data_parallel():
        found["ranker"] = fit_ranker(mine, weight)
        found["float32"] = FMRegressor(solver="sgd", **COMMON).fit(X[mine].astype(np.float32), y[mine])
        found["partial_fit"] = FMRegressor(**COMMON).partial_fit(X[mine], y[mine]).partial_fit(X[mine], y[mine])
        found["stopped"] = stopped().fit(X[mine], y[mine], X_val=X[mine], y_val=y[mine] + rank)
        found["shuffled"] = (
            stopped().set_params(shuffle=True, l2_linear=0.01).fit(X[mine].repeat(4, 0), y[mine].repeat(4))
        )
        found["seeds"] = FMRegressor(**COMMON | {"random_state": rank}).fit(X[mine], y[mine])
        twin, settings = (X[: 3 * BATCH], y[: 3 * BATCH]), COMMON | NO_PRIORS | {"batch_size": BATCH * n_ranks}
        found["masks"] = FMRegressor(dropout=0.5, **settings).fit(*twin)
        found["no masks"] = FMRegressor(**settings).fit(*twin)
    found["outside"] = FMRegressor(**COMMON).fit(X[:40] + rank, y[:40])
    for size in (1000, 100_000):
        with Counted() as counted, data_parallel():
            FMRegressor(**COMMON).fit(wide(size)[[rank, rank + 5]], y[[rank, rank + 5]])
        found[f"bytes of {size}"] = counted.bytes
    nan = np.where(rank == 1, np.nan, X[:20])
    found["errors"] = {
        "rate": error_of(FMRegressor(learning_rate=0.1 + rank), X[:20], y[:20]),
        "columns": error_of(FMRegressor(), X[:20, : 9 - rank], y[:20]),
        "rows": error_of(FMRegressor(), nan, y[:20]),
        "scoring": error_of(FMRegressor(early_stopping=True, scoring="r2"), X[:20], y[:20]),
        "norm": error_of(DeepCrossRegressor(), X[:20], y[:20]),
    }
    return found


def fail(rank, folder):
    """Fit with a rank that does not answer, then with one that dies; return the other's errors and seconds."""
    X, y, _ = data()
    combine, over, found = _TorchProcessGroup.all_reduce, folder / "over", {}

    def mute():
        while not over.exists():
            time.sleep(0.1)

    def dead():
        os.kill(os.getpid(), signal.SIGKILL)

    for act, group in ((mute, dist.new_group(timeout=timedelta(seconds=LIMIT))), (dead, dist.new_group())):
        steps = count()

        def acting(self, *step, act=act, steps=steps):
            if next(steps) == 3 and rank == 1:
                act()
            return combine(self, *step)

        _TorchProcessGroup.all_reduce, start = acting, time.monotonic()
        error = error_of(FMRegressor(**COMMON), X, y, group)
        found[act.__name__] = *error, time.monotonic() - start
        over.touch()
    return found


def work(rank, n_ranks, folder):
    """Write what each of three ranks got, or what the first of two got when it lost the second."""
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=n_ranks)
    if n_ranks == 3:
        (folder / f"{rank}.pickle").write_bytes(pickle.dumps(equal(rank, n_ranks)))
    else:
        (folder / "failures.pickle").write_bytes(pickle.dumps(fail(rank, folder)))
        os._exit(0)  # gloo's threads of a broken group may abort the process at its end
    dist.barrier()
    dist.destroy_process_group()  # as torch asks: gloo's threads of a group that is left may abort it as well


def main(folder):
    """Run two ranks, then three, and print how each ended."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    for n_ranks in (2, 3):
        own = folder / str(n_ranks)
        own.mkdir()
        fork = multiprocessing.get_context("fork").Process
        ranks = [fork(target=work, args=(rank, n_ranks, own)) for rank in range(n_ranks)]
        for each in ranks:
            each.start()
        for each in ranks:
            each.join()
        print(*(each.exitcode for each in ranks))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
