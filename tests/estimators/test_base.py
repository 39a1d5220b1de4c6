"""Input, targets and parameters: what an estimator makes of what it is given."""

import platform
import subprocess
import sys
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import reference
import torch
from conftest import cuda, ragged_matrix
from scipy import sparse
from sklearn.datasets import make_regression
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor, FMRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])


def fit(Estimator, X, y, **parameters):
    return Estimator(**{"n_factors": 3, "random_state": 0, "max_iter": 10, "batch_size": 16} | parameters).fit(X, y)


# --- predictions are the published equations -----------------------------------------------------------------------


@both
@pytest.mark.parametrize("unit", [(0.0, 1.0), (1000.0, 300.0), (1e-6, 1e-7)], ids=["standard", "large", "small"])
def test_predict_equals_the_equation_from_public_attributes(Estimator, unit, ragged):
    X, y = ragged
    y = unit[0] + unit[1] * (y - y.mean()) / y.std()
    model = fit(Estimator, X, y, max_iter=30, learning_rate=0.2)
    np.testing.assert_allclose(model.predict(X), reference.predict(model, X), rtol=1e-10)


@both
def test_float32_predictions_equal_the_equation(Estimator, ragged):
    X, y = ragged
    model = fit(Estimator, X.astype(np.float32), y.astype(np.float32), max_iter=30, learning_rate=0.2)
    np.testing.assert_allclose(model.predict(X), reference.predict(model, X), rtol=1e-4, atol=1e-5)


def test_reduced_precision_trains_alike_and_predicts_in_full(ragged, monkeypatch):
    monkeypatch.setattr("skafm.nn._pairs.dispatch.MAX_PLAIN_ELEMENTS", 0)  # so few pairs would be worked in full
    X, y = ragged
    full, reduced = (
        fit(AFMRegressor, X, y, max_iter=30, learning_rate=0.2, reduced_precision=choice) for choice in (False, True)
    )
    assert not np.array_equal(full.factors_, reduced.factors_)
    np.testing.assert_allclose(reduced.predict(X), reference.predict(reduced, X), rtol=1e-10)
    assert reduced.score(X, y) == pytest.approx(full.score(X, y), abs=0.05)


def test_attention_of_a_fitted_model_differs_between_pairs(ragged):
    X, y = ragged
    model = fit(AFMRegressor, X, y, max_iter=30, learning_rate=0.2)
    network = (model.attention_coef_, model.attention_intercept_, model.attention_projection_)
    weights = reference.attention(X[-1], model.factors_, *network)[2]
    assert np.std(weights) > 0.01 / len(weights)


@both
def test_predicts_after_a_change_of_parameters(Estimator, ragged):
    X, y = ragged
    model = fit(Estimator, X, y)
    expected = model.predict(X)
    changed = {name: 7 for name in ("n_factors", "attention_size") if name in model.get_params()}
    assert np.array_equal(model.set_params(**changed).predict(X), expected)


# --- every kind of input is the same input ----------------------------------------------------------------------------


def scrambled(X):
    """Return X in CSR with unsorted and duplicate indices and explicit zeros."""
    csr = sparse.csr_matrix(X)
    rows, columns, values = [], [], []
    for row in range(X.shape[0]):
        here = slice(csr.indptr[row], csr.indptr[row + 1])
        features, entries = csr.indices[here][::-1], csr.data[here][::-1]
        columns += [*features, *features, row % X.shape[1]]
        values += [*(entries - 1.0), *np.ones_like(entries), 0.0]
        rows.append(2 * len(features) + 1)
    return sparse.csr_matrix((values, columns, np.r_[0, np.cumsum(rows)]), shape=X.shape)


def int64_csr(X):
    csr = sparse.csr_array(X)
    csr.indices, csr.indptr = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    return csr


KINDS = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc_array": sparse.csc_array,
    "coo_array": sparse.coo_array,
    "lil_matrix": sparse.lil_matrix,
    "dok_array": sparse.dok_array,
    "fortran": np.asfortranarray,
    "list": lambda X: X.tolist(),
    "frame": pd.DataFrame,
    "int64": int64_csr,
    "scrambled": scrambled,
}


@both
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names", "ignore:X has feature names")
def test_every_kind_of_input_gives_the_same_model(Estimator, kind, ragged):
    X, y = ragged
    expected = fit(Estimator, X, y)
    model = fit(Estimator, KINDS[kind](X), y)
    np.testing.assert_allclose(model.factors_, expected.factors_, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(expected.predict(KINDS[kind](X)), expected.predict(X), rtol=1e-12)


@both
@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "scrambled", "int64", "fortran"])
def test_caller_arrays_are_never_changed(Estimator, kind, ragged):
    X, y = ragged
    given = KINDS[kind](X)
    arrays = [given.data, given.indices, given.indptr] if sparse.issparse(given) else [given]
    weight = np.arange(60) % 2 + 0.5
    before = [array.copy() for array in [*arrays, y, weight]]
    Estimator(max_iter=2, random_state=0).fit(given, y, sample_weight=weight).predict(given)
    after = [given.data, given.indices, given.indptr] if sparse.issparse(given) else [given]
    assert all(np.array_equal(a, b) for a, b in zip(before, [*after, y, weight], strict=True))


@both
def test_read_only_memory_map(Estimator, ragged, tmp_path):
    X, y = ragged
    csr = sparse.csr_array(X)
    parts = {"data": csr.data, "indices": csr.indices, "indptr": csr.indptr, "y": y}
    for name, array in parts.items():
        np.save(tmp_path / f"{name}.npy", array)
    maps = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in parts}
    mapped = sparse.csr_array((maps["data"], maps["indices"], maps["indptr"]), shape=X.shape)
    model = fit(Estimator, mapped, maps["y"])
    assert np.array_equal(model.predict(mapped), fit(Estimator, csr, y).predict(X))


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_model_has_the_precision_of_X(Estimator, dtype, ragged):
    X, y = ragged
    model = fit(Estimator, X.astype(dtype), y)
    assert model.factors_.dtype == model.coef_.dtype == model.predict(X).dtype == dtype


@both
def test_integer_input_is_computed_in_float64(Estimator):
    X = np.eye(4, dtype=np.int32)[np.arange(40) % 4]
    assert fit(Estimator, X, np.arange(40.0) % 4).factors_.dtype == np.float64


@both
def test_rows_without_a_pair_are_predicted(Estimator, ragged):
    X, y = ragged
    model = fit(Estimator, X, y)
    rows = np.zeros((2, 9))
    rows[1, 4] = -2.5
    np.testing.assert_allclose(model.predict(rows), model.intercept_ + rows @ model.coef_, rtol=1e-12)


@both
@pytest.mark.parametrize("most", [0, 1])
def test_fits_rows_that_have_no_pair_at_all(Estimator, most):
    X = ragged_matrix(40)
    X[(X != 0).cumsum(1) > most] = 0
    model = fit(Estimator, X, np.arange(40.0))
    assert np.isfinite(model.predict(X)).all()


@both
def test_prediction_of_a_row_does_not_depend_on_its_company(Estimator, ragged):
    X, y = ragged
    model = fit(Estimator, X, y)
    np.testing.assert_allclose([model.predict(x[None])[0] for x in X], model.predict(X), rtol=1e-12)


# --- targets ----------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(("mean", "sd"), [(1000.0, 300.0), (1e-6, 1e-6), (100.0, 1.0), (-5e8, 1e3)])
def test_unit_of_y_does_not_matter(Estimator, mean, sd, ragged):
    X, y = ragged
    y = (y - y.mean()) / y.std()
    standard = fit(Estimator, X, y, max_iter=30, learning_rate=0.2)
    score = standard.score(X, y)
    assert score > 0.8
    moved = fit(Estimator, X, mean + sd * y, max_iter=30, learning_rate=0.2)
    assert moved.score(X, mean + sd * y) == pytest.approx(score, abs=1e-4)
    np.testing.assert_allclose((moved.predict(X) - mean) / sd, standard.predict(X), rtol=1e-3, atol=1e-3)


@both
def test_constant_y_is_predicted(Estimator, ragged):
    X, _ = ragged
    np.testing.assert_allclose(fit(Estimator, X, np.full(60, 7.3)).predict(X), 7.3, rtol=1e-6)


@both
def test_intercept_starts_at_the_weighted_mean(Estimator, ragged):
    X, y = ragged
    weight = np.arange(1.0, 61.0)
    model = Estimator(max_iter=1, learning_rate=1e-12, random_state=0).fit(X, y, sample_weight=weight)
    assert model.intercept_ == pytest.approx(np.average(y, weights=weight), rel=1e-9)


@both
def test_scale_of_weights_does_not_matter(Estimator, ragged):
    X, y = ragged
    weight = np.arange(1.0, 61.0)
    models = [Estimator(random_state=0, max_iter=5).fit(X, y, sample_weight=scale * weight) for scale in (1, 1e6)]
    np.testing.assert_allclose(models[0].factors_, models[1].factors_, rtol=1e-6, atol=1e-9)


@both
def test_dense_real_valued_regression(Estimator):
    X, y = make_regression(500, 20, n_informative=5, noise=1.0, random_state=0)
    assert Estimator(random_state=0).fit(X, y).score(X, y) > 0.9


# --- training stops, or says why not ----------------------------------------------------------------------------------


@both
def test_not_finite_loss_names_the_epoch_and_the_remedies(Estimator, ragged):
    X, y = ragged
    with pytest.raises(ValueError, match=r"became (nan|inf) in epoch \d+: lower learning_rate \(now 0.5\) or scale X"):
        fit(Estimator, 1e4 * X, y, solver="sgd", learning_rate=0.5)


@both
def test_warns_when_max_iter_ends_before_tol(Estimator, ragged):
    X, y = ragged
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        fit(Estimator, X, y, max_iter=2)


@both
def test_stops_without_a_warning_when_the_loss_no_longer_falls(Estimator, ragged):
    X, y = ragged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fit(Estimator, X, y, tol=1.0, n_iter_no_change=3, max_iter=100)
    assert model.n_iter_ == 4


@both
def test_verbose_prints_a_line_an_epoch(Estimator, ragged, capsys):
    X, y = ragged
    model = fit(Estimator, X, y, max_iter=3, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert f"{model.loss_curve_[-1]:.6f}" in lines[-1]


# --- parameters -------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_factors", 0),
        ("n_factors", 2.5),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("l2_linear", -1),
        ("l2_factors", -1),
        ("solver", "lbfgs"),
        ("learning_rate", 0.0),
        ("batch_size", 0),
        ("batch_size", "all"),
        ("max_iter", 0),
        ("tol", -1.0),
        ("n_iter_no_change", 0),
        ("shuffle", "yes"),
        ("early_stopping", "always"),
        ("validation_fraction", 1.0),
        ("scoring", "rmse"),
        ("warm_start", 2),
        ("clip", "both"),
        ("random_state", "zero"),
    ],
)
def test_parameter_out_of_range_is_named(Estimator, name, value, ragged):
    with pytest.raises(ValueError, match=f"'{name}' parameter of {Estimator.__name__} must be"):
        Estimator(**{name: value}).fit(*ragged)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attention_size", 0),
        ("l2_attention", -1.0),
        ("init", "zeros"),
        ("reduced_precision", "bf16"),
        ("freeze_init", 1),
    ],
)
def test_afm_parameter_out_of_range_is_named(name, value, ragged):
    with pytest.raises(ValueError, match=f"'{name}' parameter of AFMRegressor must be"):
        AFMRegressor(**{name: value}).fit(*ragged)


@both
def test_device_of_another_type_is_named(Estimator, ragged):
    with pytest.raises(ValueError, match=r"device must be 'cpu', 'cuda', 'auto', another str or a torch.device, got 3"):
        Estimator(device=3).fit(*ragged)


@both
def test_unknown_device_is_named(Estimator, ragged):
    with pytest.raises(ValueError, match="Unknown device 'abacus': use 'cpu'"):
        Estimator(device="abacus").fit(*ragged)


@both
@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_missing_cuda_is_a_clear_error(Estimator, ragged):
    with pytest.raises(ValueError, match="finds no CUDA device: use 'cpu' or 'auto'"):
        Estimator(device="cuda").fit(*ragged)


@both
@pytest.mark.parametrize("device", ["auto", torch.device("cpu")])
def test_device_may_be_auto_or_a_torch_device(Estimator, device, ragged):
    X, y = ragged
    assert np.isfinite(fit(Estimator, X, y, device=device).predict(X)).all()


@both
@cuda
def test_cuda_learns_what_cpu_learns(Estimator, xor):
    X, y = xor
    model = Estimator(random_state=0, device="cuda").fit(X, y)
    assert model.score(X, y) > 0.95
    np.testing.assert_allclose(model.predict(X), model.set_params(device="cpu").predict(X), rtol=1e-5, atol=1e-5)


@both
def test_weights_that_are_all_zero_are_refused(Estimator, ragged):
    X, y = ragged
    with pytest.raises(ValueError, match=r"(?i)sample.weights?.* (non-zero|above zero)"):
        Estimator().fit(X, y, sample_weight=np.zeros(60))


@both
def test_corrupt_csr_is_refused(Estimator, ragged):
    X, y = ragged
    csr = sparse.csr_matrix(X)
    csr.indices[0] = 99
    with pytest.raises(ValueError, match=r"column index|indices"):
        Estimator().fit(csr, y)


@both
def test_global_generators_dtype_and_threads_are_untouched(Estimator, ragged):
    X, y = ragged

    def state():
        numpy_state = np.random.get_state()  # noqa: NPY002 the global one is the point
        return [
            torch.get_rng_state().tolist(),
            numpy_state[1].tolist(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
        ]

    before = state()
    fit(Estimator, X.astype(np.float32), y, dropout=0.5).predict(X)
    assert state() == before


LONG_ROWS = """
import sys, warnings
import numpy as np, sklearn
from skafm import AFMRegressor
warnings.simplefilter("ignore")

def peak():  # ru_maxrss would begin at the size of the process that started this
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) / 1024

X = np.random.default_rng(0).normal(size=(2, 2000)).astype(np.float32)
model = AFMRegressor(64, attention_size=64, max_iter=1, dropout=0.2, solver="sgd", learning_rate=1e-9)
with sklearn.config_context(working_memory=1):
    model.fit(X[:, :300], [0.0, 1.0]).predict(X[:, :300])  # loads all there is to load
before = peak()
with sklearn.config_context(working_memory=int(sys.argv[1])):
    model.fit(X, [0.0, 1.0]).predict(X)
print(peak(), peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_rows_of_two_million_pairs_keep_to_the_working_memory():
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    for working_memory in (1024, 64):
        output = run([sys.executable, "-c", LONG_ROWS, str(working_memory)]).stdout
        whole, more = (float(figure) for figure in output.split())
        assert whole < 1500
        assert more < 1.5 * working_memory + 50


REGIONS = """
import ctypes, warnings
import numpy as np, torch
from skafm import FMRegressor
warnings.simplefilter("ignore")

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in "arena ordblks smblks hblks hblkhd".split() + list("abcde")]

mallinfo = ctypes.CDLL(None).mallinfo
mallinfo.restype = Info

X = np.eye(3)
FMRegressor(2, max_iter=1).fit(X, X[0])
before = mallinfo().hblks  # regions that are the kernel's again as soon as they are freed
tensor = torch.empty(7 * 2**20)  # 28 MiB
print(mallinfo().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
def test_memory_of_a_step_is_kept_for_the_next():
    run = subprocess.run([sys.executable, "-c", REGIONS], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["0"]


@both
def test_first_prediction_loads_no_more_of_torch(Estimator):
    code = f"""
import sys, numpy as np, skafm, warnings
warnings.simplefilter("ignore")
X = np.eye(3)
model = skafm.{Estimator.__name__}(max_iter=1).fit(X, X[0])
before = len(sys.modules)
model.predict(X)
assert len(sys.modules) - before < 100, len(sys.modules) - before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
