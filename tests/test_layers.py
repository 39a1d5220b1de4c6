"""A layer is a folder, and imports go down only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skafm

ROOT = Path(skafm.__file__).parent
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}

# Each layer, and the layers that it may import besides itself. What is not listed is public and at the top.
LAYERS = {
    "_estimators": {"_sampling", "_training", "nn", "inspection", "metrics", "_version"},
    "_sampling": {"_training.batching", "_training.threads", "nn"},
    "_training": {"nn._base", "nn._sparse_ops"},
    "nn": set(),
    "nn._pairs": {"nn.functional"},
    "inspection": set(),
    "datasets": set(),
    "metrics": set(),
    "preprocessing": {"_estimators.sklearn_compat"},
    "distributed": {"_training"},
    "onnx": {"_estimators", "inspection", "_version"},
    "recommendation": {"_estimators", "_training"},
    "__init__": {"_estimators", "_version"},
    "_version": set(),
}
WITH_SKLEARN = (
    "_estimators",
    "inspection",
    "datasets",
    "metrics",
    "preprocessing",
    "onnx",
    "recommendation",
    "__init__",
)
# BLAS' idle threads spin for tens of milliseconds after a product, and halve the processor for torch's meanwhile.
WITHOUT_BLAS = (*WITH_SKLEARN, "_training.collectives")


def is_in(module, package):
    """Return whether a dotted name is a package or in it."""
    return module == package or module.startswith(f"{package}.")


def layer_of(module):
    """Return the innermost layer of a module."""
    return max((layer for layer in LAYERS if is_in(module, layer)), key=len)


def parse(module):
    return list(ast.walk(ast.parse(MODULES[module].read_text())))


def imports(module):
    """Return the full names that a module imports, skafm's own without their first part."""
    names = set()
    for node in parse(module):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name.removeprefix("skafm.") in MODULES else node.module for name in inside}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.removeprefix("skafm.") for name in names}


def test_every_module_is_in_a_layer():
    assert all(any(is_in(module, layer) for layer in LAYERS) for module in MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    layer = layer_of(module)
    own = {name for name in imports(module) if any(is_in(name, each) for each in LAYERS)}
    assert all(any(is_in(name, each) for each in {layer} | LAYERS[layer]) for name in own)


@pytest.mark.parametrize("module", [module for module in MODULES if not module.startswith(WITH_SKLEARN)])
def test_torch_side_does_not_import_sklearn(module):
    assert not [name for name in imports(module) if is_in(name, "sklearn")]


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith(WITHOUT_BLAS)])
def test_numpy_multiplies_no_matrices_around_a_fit(module):
    nodes = parse(module)
    assert not [node for node in nodes if isinstance(node, ast.MatMult)]
    assert not {node.attr for node in nodes if isinstance(node, ast.Attribute)} & {"dot", "inner", "matmul", "vdot"}


def test_torch_is_imported_when_first_needed():
    code = "import sys, skafm; skafm.AFMClassifier().get_params(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("preprocessing")])
def test_preprocessing_needs_no_library_of_tables(module):
    assert not [name for name in imports(module) if name.split(".")[0] in {"pandas", "polars", "narwhals"}]


def test_preprocessing_does_not_import_torch():
    code = (
        "import sys; from skafm.preprocessing import TableEncoder; TableEncoder().fit_transform([['a', 1], ['b', 2]]); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
