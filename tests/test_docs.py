"""Every public name is documented, with an example, and stands in the API reference."""

import importlib
import importlib.util
import inspect
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
from numpydoc.validate import validate

import skafm

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WIDTH = 76
"""Columns that a box of code shows on a screen of 1,280 pixels."""


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


def code(text):
    """Return the lines of code and of output in reStructuredText or Markdown, without their indentation."""
    lines, inside, doctest = [], None, False
    for line in text.splitlines():
        bare = line.strip()
        doctest = bool(bare) and (doctest or bare.startswith(">>> "))
        if inside is not None and bare and len(line) - len(line.lstrip()) <= inside:
            inside = None
        if bare and (doctest or inside is not None):
            lines.append(bare if doctest else line[inside:])
        if inside is None and (re.match(r"\s*\.\. code-block::", line) or re.match(r"\s*(?!\.\. ).*::$", line)):
            inside = len(line) - len(line.lstrip())
    return [re.sub(r"\s+# doctest: .*", "", line) for line in lines]


def pages():
    """Return README.md and the pages that are written by hand."""
    return [
        ROOT / "README.md",
        *sorted({*DOCS.glob("*.rst"), *DOCS.glob("develop/*.rst")} - {DOCS / "sg_execution_times.rst"}),
    ]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_code_fits_its_box(page):
    wide = [line for line in code(page.read_text()) if len(line) > WIDTH]
    assert not wide


def test_no_doctest_prints_a_bare_truth_value():
    files = [*pages(), *Path(skafm.__file__).parent.rglob("*.py")]
    bare = r"^[ ]*(?:>>>|\.\.\.) (.*)\n[ ]*(?:True|False)$"
    assert [match for file in files for match in re.findall(bare, file.read_text(), flags=re.MULTILINE)] == []


def table_rows(text):
    """Yield the cells of each row of the simple tables of reStructuredText."""
    rule = None
    for line in text.splitlines():
        if re.fullmatch(r"=+(  =+)+", line):
            rule = line
        elif rule and not line:
            rule = None
        elif rule and not line.startswith("-"):
            starts = [match.start() for match in re.finditer("=+", rule)]
            yield [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_no_row_of_a_table_is_split(page):
    # A second line of a first cell is a row by itself: cells of other columns may go on, the first may not.
    assert [row[0] for row in table_rows(page.read_text()) if row[0] not in ("", "..") and not any(row[1:])] == []


def test_code_is_found():
    assert len(code("So::\n\n    one\n      two\n\nand\n")) == 2


def test_readme_and_first_page_have_the_same_example():
    readme, first = (code((ROOT / path).read_text()) for path in ("README.md", "docs/index.rst"))
    assert readme == [line for line in first if not line.startswith(" ")]


def prose():
    """Return the files that users read: pages, examples and the package, whose docstrings they read."""
    package = Path(skafm.__file__).parent
    texts = [*pages(), ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md"]
    return [*texts, *ROOT.glob("examples/**/*.py"), *package.rglob("*.py")]


@pytest.mark.parametrize(
    ("wrong", "right"),
    {
        "rows held back|held back|holds back": "validation set, held out",
        "by heart": "overfit",
        "learnt": "fitted",
        "worked (plainly|in pieces)|is worked|are worked": "computed",
        "the judge": "reference implementation",
        "so many": "N",
        "source of chance": "random generator",
        "pictures": "plots",
        "mends?": "fix",
        "pays": "helps",
        "the relatives": "variants",
        "makes small": "minimizes",
        "hands out|hands them out": "returns",
        "goes? on": "resume, continue",
        "will not do": "invalid",
        r"(?-i:R2)": "R²",
        r"colour\w*|neighbour\w*(?!\.py)|behaviour|catalogue\w*": "color, neighbor, behavior, catalog",
        r"\w+(?:normal|standard|regular|minim|maxim|optim|initial|general|penal)is(?:e[sd]?|ing|ation)": "-ize",
    }.items(),
)
def test_words_are_those_of_the_field(wrong, right):
    pattern = re.compile(rf"\b(?:{wrong})\b", flags=re.IGNORECASE)
    found = [(path.name, match[0]) for path in prose() for match in pattern.finditer(path.read_text())]
    assert not found, f"say {right}"


def figures():
    """Return the script that writes the figures of the pages."""
    spec = importlib.util.spec_from_file_location("figures", DOCS / "_ext" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_figures_are_those_of_the_measurements():
    written = {path.name: path.read_text() for path in (DOCS / "figures").glob("*.inc")}
    assert written == figures().files(), "run `python docs/_ext/figures.py`"


@pytest.mark.parametrize("path", ["README.md", "docs/index.rst"])
def test_first_page_has_the_measured_losses(path):
    measured = figures().numbers()
    text = re.sub(
        r"\|(\w+)\|", lambda name: measured.get(name[1], name[0]), " ".join((ROOT / path).read_text().split())
    )
    for task in ("frappe", "mltags"):
        afm, trees, linear = (measured[f"{task}_{model}"] for model in ("afm", "lightgbm", "linear"))
        assert f"{afm}, LightGBM {trees}, logistic regression {linear}" in text
    assert f"({measured['paper_afm']} and {measured['paper_fm']} on the validation" in text


@pytest.mark.parametrize(
    ("path", "names"),
    {
        "README.md": (
            "d2_fm",
            "d2_afm",
            "d2_gradient",
            "d2_poissonregressor",
            "skafm_epoch_4096",
            "deepctr_epoch_4096",
            "skafm_fm",
            "modern_fm_fm",
        ),
        "docs/performance.rst": (
            *("skafm_epoch_128", "skafm_epoch_4096", "deepctr_epoch_128", "deepctr_epoch_4096", "skafm_rows"),
            *("deepctr_rows", "skafm_fm", "modern_fm_fm", "cuda_128_float32", "cuda_4096_bfloat16"),
        ),
        "docs/paper.rst": ("paper_afm", "paper_fm", "quality_rmse", "quality_seconds", "deepctr_rmse"),
        "docs/numeric_features.rst": ("adult_fm", "adult_afm"),
        "CHANGELOG.md": ("cuda_128_float32",),
    }.items(),
)
def test_page_repeats_the_measured_numbers(path, names):
    measured, text = figures().numbers(), (ROOT / path).read_text()
    assert [name for name in names if measured[name] not in text] == []


def test_project_has_all_addresses_or_none():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project.get("urls", ())) in (set(), {"Documentation", "Source", "Issues", "Changelog"})
