"""What is stored comes back, elsewhere and later."""

import ast
import copy
import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
import torch
from conftest import ragged_matrix
from skops.io.exceptions import UntrustedTypesFoundException

import skafm
from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ESTIMATORS = [getattr(skafm, name) for name in skafm.__all__]
OURS = {f"{each.__module__}.{each.__name__}" for each in ESTIMATORS}
DATA = Path(__file__).parent / "data"
X = ragged_matrix()
Y = X[:, 0] - 2 * X[:, 1] * X[:, 2]
every = pytest.mark.parametrize("Estimator", ESTIMATORS)


def by_skops(model):
    return skops.io.loads(skops.io.dumps(model), trusted=sorted(OURS))


STORES = {"pickle": lambda model: pickle.loads(pickle.dumps(model)), "skops": by_skops, "deepcopy": copy.deepcopy}
stores = pytest.mark.parametrize("store", STORES.values(), ids=STORES)


def make(Estimator, **parameters):
    small = {"n_factors": 2, "hidden_layer_sizes": (4,), "attention_size": 2, "fields": np.arange(9) // 3}
    known = inspect.signature(Estimator).parameters
    small = {name: value for name, value in small.items() if name in known}
    return Estimator(**small | {"max_iter": 2, "random_state": 0} | parameters)


def targets(model, several=False):
    if hasattr(model, "predict_proba"):
        names = np.array(["low", "middle", "high"] if several else ["no", "yes"])
        return names[np.digitize(Y, [-0.1, 0.1])] if several else names[(Y > 0).astype(int)]
    return np.column_stack([Y, -Y]) if several else Y


def stopped_early(Estimator):
    scoring = "accuracy" if hasattr(Estimator, "predict_proba") else "r2"
    model = make(Estimator, early_stopping=True, scoring=scoring, random_state=np.random.RandomState(0))
    return model.fit(X, targets(model))


def of_several_outputs(Estimator):
    model = make(Estimator)
    return model.fit(X, targets(model, several=True))


def in_parts(Estimator):
    model = make(Estimator, solver="adam", dropout=0.2)
    classes = {"classes": ["no", "yes"]} if hasattr(model, "predict_proba") else {}
    return model.partial_fit(X[:30], targets(model)[:30], **classes)


def with_an_init(Estimator):
    first = make(FMClassifier if hasattr(Estimator, "predict_proba") else FMRegressor)
    y = targets(first)
    return make(Estimator, init=first.fit(X, y)).fit(X, y)


FITS = (stopped_early, of_several_outputs, in_parts, with_an_init)
CASES = [
    pytest.param(fit, Estimator, id=f"{Estimator.__name__} {fit.__name__}")
    for Estimator in ESTIMATORS
    for fit in FITS
    if fit is not with_an_init or "init" in inspect.signature(Estimator).parameters
]
cases = pytest.mark.parametrize(("fit", "Estimator"), CASES)


def outcome(model, rows=X):
    return getattr(model, "predict_proba", model.predict)(rows)


@cases
@stores
def test_stored_model_predicts_the_same_bits(fit, Estimator, store):
    model = fit(Estimator)
    assert np.array_equal(outcome(store(model)), outcome(model))


@cases
def test_skops_names_no_type_but_the_estimators(fit, Estimator):
    assert set(skops.io.get_untrusted_types(data=skops.io.dumps(fit(Estimator)))) <= OURS


@cases
def test_fitted_attributes_are_plain(fit, Estimator):
    def kinds(value):
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        return {type(value)}.union(*map(kinds, children))

    model = fit(Estimator)
    learnt = {name: value for name, value in vars(model).items() if name not in model.get_params(deep=False)}
    scalars = {type(None), bool, int, float, str, np.float64, np.int64}
    assert learnt
    assert kinds(learnt) <= scalars | {list, tuple, dict, np.ndarray}


@every
@pytest.mark.parametrize("store", [STORES["pickle"], by_skops], ids=["pickle", "skops"])
def test_partial_fit_goes_on_as_if_nothing_had_been_stored(Estimator, store):
    model = in_parts(Estimator)
    stored, y = store(model), targets(model)
    expected = outcome(model.partial_fit(X[30:], y[30:]))
    assert np.array_equal(outcome(stored.partial_fit(X[30:], y[30:])), expected)


def test_another_process_predicts_the_same_bits(tmp_path):
    np.save(tmp_path / "X.npy", X)
    models = [stopped_early(Estimator) for Estimator in (FMRegressor, AFMClassifier)]
    joblib.dump(models, tmp_path / "models.joblib")
    skops.io.dump(models, tmp_path / "models.skops")
    code = (
        "import sys, joblib, skops.io, numpy as np; folder, *trusted = sys.argv[1:]; X = np.load(f'{folder}/X.npy')\n"
        "models = joblib.load(f'{folder}/models.joblib') + skops.io.load(f'{folder}/models.skops', trusted=trusted)\n"
        "for i, model in enumerate(models):\n"
        "    np.save(f'{folder}/{i}.npy', getattr(model, 'predict_proba', model.predict)(X))"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path, *sorted(OURS)], check=True)
    for i, model in enumerate(models * 2):
        assert np.array_equal(np.load(tmp_path / f"{i}.npy"), outcome(model))


def test_skops_file_opens_no_type_that_was_not_trusted():
    stored = skops.io.dumps(make(FMRegressor, device=torch.device("cpu")).fit(X, Y))
    assert set(skops.io.get_untrusted_types(data=stored)) - OURS == {"torch.device"}
    with pytest.raises(UntrustedTypesFoundException, match=r"torch\.device"):
        skops.io.loads(stored, trusted=sorted(OURS))


def test_callbacks_are_stored_until_they_are_taken_off():
    callback = pytest.importorskip("sklearn.callback").ScoringMonitor(scoring="r2")
    model = make(FMRegressor).set_callbacks(callback).fit(X, Y)
    assert "sklearn.callback" in str(skops.io.get_untrusted_types(data=skops.io.dumps(model)))
    assert set(skops.io.get_untrusted_types(data=skops.io.dumps(model.set_callbacks()))) <= OURS


# --- versions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["pickle", "skops"])
def test_model_of_another_version_opens_with_a_warning(store, monkeypatch):
    model = make(AFMRegressor).fit(X, Y)
    monkeypatch.setattr("skafm._estimators.base.__version__", "0.0.1")
    stored = pickle.dumps(model) if store == "pickle" else skops.io.dumps(model)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=rf"skafm's AFMRegressor from version 0\.0\.1 .* {skafm.__version__}"):
        loaded = pickle.loads(stored) if store == "pickle" else skops.io.loads(stored, trusted=sorted(OURS))
    assert np.array_equal(loaded.predict(X), model.predict(X))


def test_version_is_no_attribute():
    assert vars(STORES["pickle"](make(FMRegressor))).keys() == vars(make(FMRegressor)).keys()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
@pytest.mark.parametrize("Estimator", [FMRegressor, FMClassifier, AFMRegressor, AFMClassifier])
def test_files_of_version_0_1_0_open_and_predict_the_same(Estimator):
    expected = json.loads((DATA / "predictions.json").read_text())
    path = DATA / f"{Estimator.__name__}.skops"
    model = skops.io.load(path, trusted=[f"{Estimator.__module__}.{Estimator.__name__}"])
    np.testing.assert_allclose(outcome(model, np.array(expected["X"])), expected[Estimator.__name__], rtol=1e-9)


# --- devices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
@stores
def test_model_set_to_cuda_opens_without_it(Estimator, store):
    model = make(Estimator).fit(X, Y)
    expected = model.predict(X)
    opened = store(model.set_params(device="cuda"))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="finds no CUDA device: use 'cpu' or 'auto'"):
            opened.predict(X)
        assert np.array_equal(opened.set_params(device="auto").predict(X), expected)
    assert np.array_equal(opened.set_params(device="cpu").predict(X), expected)


OPENERS = {"load", "load_url", "lstm_cell", "script", "unpack_sequence"}
OWNERS = {"export", "hub", "jit", "joblib", "np", "numpy", "onnx", "package", "torch"}


def test_skafm_calls_nothing_that_can_run_the_code_of_a_file():
    """By name: what opens what pickle or torch stored, and what SECURITY.md lists."""
    sources = [path.read_text() for path in Path(skafm.__file__).parent.rglob("*.py")]
    imported, used = set(), set()
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        match node:
            case ast.Import(names):
                imported |= {alias.name for alias in names}
            case ast.ImportFrom(module, names):
                imported.add(module)
                used |= {(module.split(".")[-1], alias.name) for alias in names}
            case ast.Attribute(owner, name):
                used.add((ast.unparse(owner).split(".")[-1], name))
    assert {"torch", "numpy"} <= imported
    assert not imported & {"cloudpickle", "dill", "marshal", "pickle", "shelve"}
    assert not {(owner, name) for owner, name in used if owner in OWNERS and name in OPENERS}
