"""Every public name is documented, with an example, and stands in the API reference."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from numpydoc.validate import validate

import skafm

DOCS = Path(__file__).parent.parent / "docs"


def public():
    """Return what the modules without an underscore have in ``__all__``."""
    names = [name for _, name, _ in pkgutil.walk_packages(skafm.__path__, "skafm.") if "._" not in name]
    modules = [skafm, *map(importlib.import_module, names)]
    pairs = [(module, name) for module in modules for name in getattr(module, "__all__", ())]
    return sorted(f"{module.__name__}.{name}" for module, name in pairs if not inspect.ismodule(getattr(module, name)))


PUBLIC = public()
# Not asked: an extended summary, See Also and what a return value is where the first line says it all (ES01, SA01,
# RT03); single blank lines where the estimators' shared text is filled in (GL03); matters of taste.
CHECKS = {
    "EX01",  # no examples
    "GL07",  # sections in the wrong order
    "GL08",  # no docstring
    "PR01",  # a parameter is not documented
    "PR02",  # an unknown parameter is
    "PR03",  # parameters in the wrong order
    "PR04",  # a parameter without a type
    "PR07",  # or without a description
    "RT01",  # no returns
    "SS01",  # no summary
    "SS03",  # it does not end with a period
    "SS06",  # it is longer than a line
}


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_is_whole(name):
    assert [error for error in validate(name)["errors"] if error[0] in CHECKS] == []


def listed():
    """Return the names in the tables of docs/api.rst."""
    module, names = "", []
    for line in (DOCS / "api.rst").read_text().splitlines():
        if line.startswith(".. currentmodule::"):
            module = line.split()[-1]
        elif line.startswith("   ") and line.strip().isidentifier():
            names.append(f"{module}.{line.strip()}")
    return names


def test_public_names_are_found():
    some = {"skafm.AFMRegressor", "skafm.nn.AFM", "skafm.nn.functional.anova", "skafm.datasets.fetch_frappe"}
    assert some < {*PUBLIC}


def test_api_reference_lists_every_public_name_once():
    assert sorted(listed()) == PUBLIC


def test_functions_that_the_model_page_names_exist():
    named = re.findall(r"``(_sparse_ops|_pairs)\.(\w+)``", (DOCS / "model.rst").read_text())
    assert len(named) >= 4
    for module, name in named:
        assert callable(getattr(importlib.import_module(f"skafm.nn.{module}"), name))


def test_architecture_page_names_every_module_once():
    root = Path(skafm.__file__).parent
    named, folder = [], None
    for line in (DOCS / "develop" / "architecture.rst").read_text().splitlines():
        if heading := re.fullmatch(r"``(skafm/[\w/]*)``", line):
            folder = heading[1]
        elif line.startswith("``") and folder:
            named += [folder + name for name in re.findall(r"``(\w+\.py)``", line.split("   ")[0])]
    assert sorted(named) == sorted(path.relative_to(root.parent).as_posix() for path in root.rglob("*.py"))
