"""Imports go down only: the layers of the architecture, kept."""

import ast
from pathlib import Path

import pytest

import skafm

ROOT = Path(skafm.__file__).parent
MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.py"))

# What each module may import of skafm itself.
TRAINING = {"_batch", "_losses", "_optim"}
ALLOWED = {
    "__init__": {"_fm", "_afm"},
    "_fm": {"_base", "nn"},
    "_afm": {"_base", "nn"},
    "_base": {"_train", *TRAINING},
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
SKLEARN_SIDE = {"__init__", "_fm", "_afm", "_base"}


def imports(module):
    """Yield the modules that one of ours imports, skafm's own without their first name."""
    for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
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


@pytest.mark.parametrize("module", ["_base", "_train"])
def test_loop_and_base_know_no_model(module):
    assert not [name for name in imports(module) if name.startswith("skafm.nn")]
