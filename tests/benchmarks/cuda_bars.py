"""Whether training on CUDA is right, and how far it is from its goals, in under six minutes, as JSON lines.

    python tests/benchmarks/cuda_bars.py --data FOLDER [--sections check afm fm ...] [--seconds 330]
    TRITON_INTERPRET=1 python tests/benchmarks/cuda_bars.py --dry-run

FOLDER holds frappe_train.npz and frappe_validation.npz, see README.md beside this file. The sections:

``check``    the fused pairs (``SKAFM_EXPERIMENTAL_CUDA=1``) beside ``skafm.nn.functional`` in float64, and trainings by
             graphs, plain and fused, beside those on the CPU; ``right`` must be true in each line.
``afm``      epochs of AFM, k = t = 256, dropout 0.2, plain and fused, in float32, TF32 and bfloat16, beside
             DeepCTR-Torch where it is installed. ``peak_share`` is the part of the chip's product in bfloat16 that the
             three products of all pairs are.
``fm``       epochs of FM at the default batch size, beside the host's CPU.
``predict``  million rows predicted a second, by whole calls and on the device alone.
``uneven``   epochs of rows of which one in a thousand has up to three times the entries, with the option and without.
``bits``     what deterministic algorithms cost, and whether two fits are then the same.
``sizes``    validation RMSE of larger batches at equal epochs, and in the seconds that the default batch size takes.
``memory``   a fit of two rows of 2,000 entries, k = t = 64.
``blocks``   epochs of the fused AFM by how its kernels are compiled.

A line with ``goal`` says whether it is met. An epoch is the median of those after the first, within a fit. A section
that fails prints its error, and none starts after ``--seconds``. ``--dry-run`` takes a few rows, on the CPU, by the
same steps; its figures mean nothing.
"""

import argparse
import contextlib
import json
import time
import traceback
import warnings
from importlib.util import find_spec

import numpy as np
import torch
from cuda_checks import check, precision, ways
from graphs import NO_STOP, Timer
from quality import load
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import root_mean_squared_error
from speed import deepctr_afm, peak_flops

from skafm import AFMRegressor, FMRegressor
from skafm._training.batching import CSRRows
from skafm._training.loop import predict
from skafm.nn import AFM, FM
from skafm.nn._pairs import fused

warnings.simplefilter("ignore", ConvergenceWarning)  # a few epochs are the point


def report(section, **figures):
    """Print one measurement."""
    short = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps({"section": section, **short}), flush=True)


def goal(section, what, value, at_least):
    """Print whether a figure is what it should be."""
    report(section, goal=what, value=float(value), at_least=float(at_least), met=bool(value >= at_least))


class Bench:
    """The data, the device and the sizes of a run."""

    def __init__(self, options):
        self.dry, self.device = options.dry_run, "cpu" if options.dry_run else "cuda"
        self.X, self.y, self.X_val, self.y_val = draw() if self.dry else load(options.data, "frappe")
        self.m = self.X.nnz // self.X.shape[0]
        self.k, self.batches, self.n_epochs = (8, (8, 16), 2) if self.dry else (256, (128, 4096), 3)
        self.afm = {"n_factors": self.k, "attention_size": self.k, "dropout": 0.2}

    def fit(self, kind, *, X=None, pairs="plain", device=None, **options):
        """Return a model after some epochs, and the seconds of one."""
        device = device or self.device
        settings = NO_STOP | {"l2_linear": 0.001, "max_iter": self.n_epochs, "device": device} | options
        with Timer() as timer, ways(None if device == "cpu" and not self.dry else device, pairs):
            model = kind(**settings).fit(self.X if X is None else X, self.y)
        return model, float(np.median(timer.seconds[1:] or timer.seconds))

    def rmse(self, model):
        return float(root_mean_squared_error(self.y_val, model.predict(self.X_val).clip(-1, 1)))


def draw():
    """Return a few one-hot rows of four fields and their targets, of training and validation."""
    rng, data = np.random.default_rng(0), []
    for n in (16, 8):
        columns = rng.integers(0, 5, (n, 4)) + 5 * np.arange(4)
        entries = np.ones(4 * n, np.float32), columns.ravel().astype(np.int32), np.arange(0, 4 * n + 1, 4, np.int32)
        data += [sparse.csr_array(entries, (n, 20)), rng.choice([-1, 1], n).astype(np.float32)]
    return data


def deepctr(bench, batch):
    """Return the seconds of an epoch of DeepCTR-Torch's AFM, from the first 32,768 rows."""
    model, as_input = deepctr_afm(bench.X, bench.k, bench.device)
    model.compile("adagrad", "mse")
    n = min(32_768, len(bench.y))
    some, warm = as_input(bench.X[:n]), as_input(bench.X[: 2 * batch])
    model.fit(warm, bench.y[: 2 * batch], batch_size=batch, epochs=1, verbose=0)
    start = time.perf_counter()
    model.fit(some, bench.y[:n], batch_size=batch, epochs=1, verbose=0)
    return (time.perf_counter() - start) * len(bench.y) / n


def afm(bench):
    """Measure epochs of AFM."""
    peak = peak_flops(bench.device, torch.bfloat16)
    needed = 6 * bench.k**2 * len(bench.y) * bench.m * (bench.m - 1) / 2
    report("afm", bfloat16_TFLOP_s=peak / 1e12, deepctr_torch=bool(find_spec("deepctr_torch")))
    for batch, times in zip(bench.batches, (8, 30), strict=True):
        found = {}
        for pairs in ("plain", "fused"):
            for name in ("float32", "tf32") if bench.dry else ("float32", "tf32", "bfloat16"):
                options = bench.afm | {"batch_size": batch, "reduced_precision": name == "bfloat16"}
                with reported_errors("afm", pairs=pairs, precision=name, batch=batch), precision(name):
                    model, found[pairs, name] = bench.fit(AFMRegressor, pairs=pairs, **options)
                    share, seconds = needed / found[pairs, name] / peak, found[pairs, name]
                    about = {"batch": batch, "pairs": pairs, "precision": name, "rmse": bench.rmse(model)}
                    report("afm", **about, epoch_s=seconds, peak_share=share)
        best = min(found.values())
        if batch == bench.batches[-1]:
            goal("afm", "share of the product in bfloat16", needed / best / peak, 0.15)
        for pairs in ("plain", "fused"):
            if {(pairs, "float32"), (pairs, "bfloat16")} <= found.keys():
                exact, reduced = (found[pairs, name] for name in ("float32", "bfloat16"))
                goal("afm", f"reduced_precision pays, {pairs}, batch {batch}", exact / reduced, 1.05)
        if find_spec("deepctr_torch"):
            peer = deepctr(bench, batch)
            report("afm", system="DeepCTR-Torch", batch=batch, epoch_s=peer)
            goal("afm", f"times as fast as DeepCTR-Torch, batch {batch}", peer / best, times)


def fm(bench):
    """Measure epochs of FM on the device and on its host."""
    for k in (16, 64):
        found = {where: bench.fit(FMRegressor, n_factors=k, device=where)[1] for where in (bench.device, "cpu")}
        report("fm", k=k, **{f"{where}_epoch_s": seconds for where, seconds in found.items()})
        goal("fm", f"times as fast as the CPU, k = {k}", found["cpu"] / found[bench.device], 3)


def best_of(call, times=3):
    """Return the seconds of the fastest call after a first one."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def predictions(bench):
    """Measure predictions of two million rows."""
    X = bench.X if bench.dry else sparse.vstack([bench.X] * 10, format="csr")
    rows = CSRRows.from_scipy(X, torch.device(bench.device))
    for name, kind, module, at_least in (("FM", FMRegressor, FM, 20), ("AFM", AFMRegressor, AFM, 15)):
        sizes = bench.afm if name == "AFM" else {"n_factors": 64}
        model, _ = bench.fit(kind, max_iter=1, batch_size=4096, **sizes)
        widths = [bench.k, bench.k] if name == "AFM" else [64]
        own = module(X.shape[1], *widths, device=bench.device, dtype=torch.float32)
        whole = best_of(lambda model=model: model.predict(X))
        on_device = best_of(lambda own=own: on_the_device(own, rows))
        report("predict", model=name, Mrows_s=X.shape[0] / whole / 1e6, on_device_Mrows_s=X.shape[0] / on_device / 1e6)
        goal("predict", f"million rows a second, {name}", X.shape[0] / whole / 1e6, at_least)


@torch.no_grad()
def on_the_device(model, rows):
    """Predict rows that are there, and wait."""
    return float(predict(model, rows, model._predict_batch_size, 2**30)[-1])


def uneven(bench):
    """Measure epochs of rows of which a few are long."""
    draws, n = np.random.default_rng(0), max(len(bench.y) // 1000, 1)
    long = sum(bench.X[draws.integers(0, len(bench.y), n)] for _ in range(3))
    long.data[:] = 1
    X = sparse.vstack([bench.X[:-n], long], format="csr")
    for kind, options in ((FMRegressor, {"n_factors": 64}), (AFMRegressor, bench.afm)):
        for pairs, n_epochs in (("plain", 1), ("fused", 2)):  # one is launched kernel by kernel
            settings = {"batch_size": bench.batches[0], "max_iter": n_epochs, **options}
            _, seconds = bench.fit(kind, X=X, pairs=pairs, **settings)
            report("uneven", model=kind.__name__, batch=bench.batches[0], pairs=pairs, epoch_s=seconds)


def bits(bench):
    """Measure deterministic epochs, and compare two fits."""
    for pairs in ("plain", "fused"):
        for batch in bench.batches:
            options, found = bench.afm | {"batch_size": batch, "pairs": pairs, "max_iter": 2}, {}
            for deterministic in (False, True):
                torch.use_deterministic_algorithms(deterministic)
                try:
                    fits = [bench.fit(AFMRegressor, **options) for _ in range(2)]
                finally:
                    torch.use_deterministic_algorithms(False)
                same = bool(np.array_equal(*(model.factors_ for model, _ in fits)))
                found[deterministic] = min(seconds for _, seconds in fits), same
            cost = found[True][0] / found[False][0] - 1
            report("bits", pairs=pairs, batch=batch, same_by_default=found[False][1], same=found[True][1], cost=cost)


def sizes(bench):
    """Measure the RMSE of larger batches, after as many epochs and after as many seconds as the default takes."""
    n = 2 if bench.dry else 6
    for kind, options in ((FMRegressor, {"n_factors": 64}), (AFMRegressor, bench.afm)):
        base, seconds = bench.fit(kind, max_iter=n, **options)
        report("sizes", model=kind.__name__, batch="auto", epochs=n, epoch_s=seconds, rmse=bench.rmse(base))
        for batch in bench.batches[-1:] if bench.dry else (2048, 4096, 8192):
            model, own = bench.fit(kind, max_iter=n, batch_size=batch, **options)
            figures = {"epoch_s": own, "rmse_at_equal_epochs": bench.rmse(model)}
            longer = min(max(int(n * seconds / own), 1), 60)
            model, _ = bench.fit(kind, max_iter=longer, batch_size=batch, **options)
            figures |= {"epochs_in_equal_seconds": longer, "rmse_in_equal_seconds": bench.rmse(model)}
            report("sizes", model=kind.__name__, batch=batch, **figures)


def memory(bench):
    """Measure the memory of long rows."""
    n, k = (40, 8) if bench.dry else (2000, 64)
    X = np.random.default_rng(0).normal(size=(2, n)).astype(np.float32)
    model = AFMRegressor(k, attention_size=k, max_iter=2, device=bench.device, **NO_STOP)
    if bench.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = best_of(lambda: model.fit(X, [0.0, 1.0]), 1)
    peak = torch.cuda.max_memory_reserved() / 2**30 if bench.device == "cuda" else 0.0
    report("memory", rows=2, entries=n, fit_s=seconds, GiB=peak)
    goal("memory", "2 GiB, as a multiple of what is taken", 2 / max(peak, 1e-9), 1)


def blocks(bench):
    """Measure the fused AFM by the factors that its kernels read at a time, and their warps."""
    before = fused.COLUMNS, fused.WARPS
    for columns, warps in ((32, 4), (64, 4), (64, 8)):
        fused.COLUMNS, fused.WARPS = columns, warps
        for batch in bench.batches:
            reduced = not bench.dry
            with reported_errors("blocks", columns=columns, warps=warps, batch=batch):
                options = bench.afm | {"batch_size": batch, "reduced_precision": reduced}
                _, seconds = bench.fit(AFMRegressor, pairs="fused", **options)
                report("blocks", columns=columns, warps=warps, batch=batch, reduced=reduced, epoch_s=seconds)
    fused.COLUMNS, fused.WARPS = before


@contextlib.contextmanager
def reported_errors(section, **about):
    """Print an error, and go on."""
    try:
        yield
    except Exception as error:
        *_, where = traceback.extract_tb(error.__traceback__)
        what = f"{type(error).__name__}: {error}"[:600]
        report(section, **about, error=what, line=f"{where.filename}:{where.lineno}")


SECTIONS = {
    "check": lambda bench: check(report, bench.device, dry=bench.dry),
    "afm": afm,
    "fm": fm,
    "predict": predictions,
    "uneven": uneven,
    "bits": bits,
    "sizes": sizes,
    "memory": memory,
    "blocks": blocks,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--seconds", type=float, default=330)
    parser.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args()
    if not (arguments.dry_run or arguments.data):
        parser.error("--data FOLDER or --dry-run")
    begin, bench = time.monotonic(), Bench(arguments)
    where = "dry run" if bench.dry else torch.cuda.get_device_name()
    report("start", device=where, torch=torch.__version__, threads=torch.get_num_threads())
    for section in arguments.sections:
        if time.monotonic() - begin > arguments.seconds:
            report(section, error="--seconds are over")
            continue
        start = time.monotonic()
        with reported_errors(section):
            SECTIONS[section](bench)
        report(section, seconds=time.monotonic() - start)
