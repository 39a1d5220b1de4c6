"""Imports go down only: the layers of the architecture, kept."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skafm

ROOT = Path(skafm.__file__).parent
MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.py"))

# What each module may import of skafm itself.
ESTIMATOR = {"_base", "_docs", "_start", "_tasks", "nn"}
TRAINING = {"_batch", "_exchange", "_losses", "_optim"}
MODEL = {"nn", "nn.entries", "nn.linear", "nn.model"}
PAIRED = {"nn", "nn.entries", "nn.linear", "nn.terms"}
ALLOWED = {
    "__init__": {"_afm", "_deep_cross", "_ffm", "_fm", "_hofm", "_nfm", "_version", "_wide_deep"},
    "_afm": ESTIMATOR | {"_explain"},
    "_deep_cross": ESTIMATOR | {"_fields", "_hidden"},
    "_ffm": ESTIMATOR | {"_explain", "_fields"},
    "_fm": ESTIMATOR | {"_explain"},
    "_hofm": ESTIMATOR | {"_explain"},
    "_nfm": ESTIMATOR | {"_hidden"},
    "_wide_deep": ESTIMATOR | {"_fields", "_hidden"},
    "_docs": set(),
    "_explain": {"_base", "_engine", "_fields", "_validation", "inspection._explanation", "inspection._optional"},
    "_exchange": set(),
    "_fields": {"_exchange"},
    "_hidden": set(),
    "_sparse": set(),
    "_learnt": {"_engine"},
    "_start": {"_base", "_engine", "_exchange", "_learnt", "nn"},
    "_tasks": {"_exchange"},
    "_base": {"_callbacks", "_engine", "_exchange", "_learnt", "_run", "_validation", "_version"},
    "_validation": {"_exchange", "_sparse"},
    "_version": set(),
    "_run": set(),
    "_callbacks": set(),
    "_engine": {"_train", *TRAINING},
    "_train": TRAINING,
    "_batch": set(),
    "_losses": set(),
    "_optim": set(),
    "distributed": {"_exchange"},
    "datasets/__init__": {"datasets._fetch", "datasets._sampling"},
    "datasets/_fetch": {"datasets._download", "datasets._libfm", "datasets._sources"},
    "datasets/_sources": {"datasets._download"},
    "datasets/_download": set(),
    "datasets/_libfm": set(),
    "datasets/_sampling": set(),
    "inspection/__init__": {
        f"inspection._{name}" for name in ("explanation", "interaction", "loss_curve", "waterfall")
    },
    "inspection/_explanation": {"inspection._html", "inspection._optional"},
    "inspection/_html": set(),
    "inspection/_interaction": {"inspection._optional", "inspection._pipeline"},
    "inspection/_loss_curve": {"inspection._optional"},
    "inspection/_optional": set(),
    "inspection/_pipeline": set(),
    "inspection/_waterfall": {"inspection._optional", "inspection._pipeline"},
    "onnx": {"_afm", "_fm", "_version"},
    "nn/__init__": {
        "nn",
        *(f"nn.{name}" for name in ("afm", "deep_cross", "ffm", "fm", "hofm", "linear", "nfm", "wide_deep")),
    },
    "nn/functional": set(),
    "nn/entries": {"nn.functional"},
    "nn/again": set(),
    "nn/rows": {"nn"},
    "nn/distinct": {"nn", "nn.rows"},
    "nn/attention": {"nn.distinct"},
    "nn/pooling": {"nn.distinct"},
    "nn/weighting": {"nn", "nn.attention", "nn.distinct", "nn.rows"},
    "nn/pairs": {"nn", "nn.again", "nn.attention", "nn.distinct"},
    "nn/linear": {"nn", "nn.entries"},
    "nn/model": set(),
    "nn/layers": {"nn"},
    "nn/terms": {"nn", "nn.model"},
    "nn/fm": PAIRED,
    "nn/afm": PAIRED | {"nn.pairs"},
    "nn/hofm": PAIRED | {"nn.layers"},
    "nn/ffm": PAIRED | {"nn.layers"},
    "nn/wide_deep": MODEL | {"nn.layers"},
    "nn/deep_cross": MODEL | {"nn.layers"},
    "nn/nfm": MODEL | {"nn.layers", "nn.pairs"},
}
ESTIMATORS = {"_afm", "_deep_cross", "_ffm", "_fm", "_hofm", "_nfm", "_wide_deep"}
SKLEARN_SIDE = ESTIMATORS | {
    "__init__",
    "_base",
    "_callbacks",
    "_docs",
    "_fields",
    "_hidden",
    "_run",
    "_start",
    "_tasks",
    "_validation",
}
SKLEARN_SIDE |= {"_explain", "onnx", "datasets/_fetch", "datasets/_sampling"}
SKLEARN_SIDE |= {f"inspection/_{name}" for name in ("explanation", "loss_curve", "pipeline")}


def imports(module):
    """Yield the modules that one of ours imports, skafm's own without their first name."""
    for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"skafm.{alias.name}" for alias in node.names] if node.module == "skafm" else [node.module]
            yield from names
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_module_has_its_place():
    assert set(MODULES) == set(ALLOWED)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    ours = {name.removeprefix("skafm.") for name in imports(module) if name.split(".")[0] == "skafm"}
    assert ours <= ALLOWED[module]


@pytest.mark.parametrize("module", sorted(SKLEARN_SIDE | {"_exchange", "_learnt"}))
def test_numpy_multiplies_no_matrices_around_a_fit(module):
    """BLAS' threads wait for more by spinning, for tens of milliseconds, in which torch's get half of the processor."""
    nodes = list(ast.walk(ast.parse((ROOT / f"{module}.py").read_text())))
    assert not [node for node in nodes if isinstance(node, ast.MatMult)]
    assert not {node.attr for node in nodes if isinstance(node, ast.Attribute)} & {"dot", "inner", "matmul", "vdot"}


@pytest.mark.parametrize("module", sorted(set(MODULES) - SKLEARN_SIDE))
def test_torch_side_does_not_import_sklearn(module):
    assert not [name for name in imports(module) if name.split(".")[0] == "sklearn"]


@pytest.mark.parametrize("module", ["_base", "_engine", "_run", "_tasks", "_train"])
def test_loop_and_base_know_no_model(module):
    assert not [name for name in imports(module) if name.startswith("skafm.nn")]


def test_torch_comes_when_first_needed():
    code = "import sys, skafm; skafm.AFMClassifier().get_params(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
