"""Stored models in another process, of another version, on another device; ``contract_store.py`` has the rest."""

import ast
import copy
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
OURS = {f"skafm.{name}" for name in skafm.__all__}
DATA = Path(__file__).parent / "data"
X = ragged_matrix()
Y = X[:, 0] - 2 * X[:, 1] * X[:, 2]


def by_skops(model):
    return skops.io.loads(skops.io.dumps(model), trusted=sorted(OURS))


STORES = {"pickle": lambda model: pickle.loads(pickle.dumps(model)), "skops": by_skops, "deepcopy": copy.deepcopy}
stores = pytest.mark.parametrize("store", STORES.values(), ids=STORES)


def make(Estimator, **parameters):
    return Estimator(2, **{"max_iter": 2, "random_state": 0} | parameters)


def targets(Estimator):
    return np.where(Y > 0, "yes", "no") if hasattr(Estimator, "predict_proba") else Y


def outcome(model, rows=X):
    return getattr(model, "predict_proba", model.predict)(rows)


def test_another_process_predicts_the_same_bits(tmp_path):
    np.save(tmp_path / "X.npy", X)
    models = [make(each, early_stopping=True).fit(X, targets(each)) for each in (FMRegressor, AFMClassifier)]
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
    monkeypatch.setattr("skafm._estimators.fitted_model.__version__", "0.0.1")
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
