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
TRAINING = {"_batch", "_losses", "_optim"}
ALLOWED = {
    "__init__": {"_fm", "_afm"},
    "_fm": {"_base", "_tasks", "nn"},
    "_afm": {"_base", "_engine", "_tasks", "nn"},
    "_tasks": set(),
    "_base": {"_callbacks", "_engine", "_run"},
    "_run": set(),
    "_callbacks": set(),
    "_engine": {"_train", *TRAINING},
    "_train": TRAINING,
    "_batch": set(),
    "_losses": set(),
    "_optim": set(),
    "nn/__init__": {"nn", "nn.afm", "nn.fm", "nn.linear"},
    "nn/functional": set(),
    "nn/entries": {"nn.functional"},
    "nn/pairs": {"nn"},
    "nn/linear": {"nn", "nn.entries"},
    "nn/fm": {"nn", "nn.entries", "nn.linear"},
    "nn/afm": {"nn", "nn.entries", "nn.linear", "nn.pairs"},
}
SKLEARN_SIDE = {"__init__", "_fm", "_afm", "_base", "_callbacks", "_run", "_tasks"}


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


@pytest.mark.parametrize("module", sorted(set(MODULES) - SKLEARN_SIDE))
def test_torch_side_does_not_import_sklearn(module):
    assert not [name for name in imports(module) if name.split(".")[0] == "sklearn"]


@pytest.mark.parametrize("module", ["_base", "_engine", "_run", "_tasks", "_train"])
def test_loop_and_base_know_no_model(module):
    assert not [name for name in imports(module) if name.startswith("skafm.nn")]


def test_torch_comes_when_first_needed():
    code = "import sys, skafm; skafm.AFMClassifier().get_params(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
