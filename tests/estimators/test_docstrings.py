"""The text that docstrings share is filled in."""

import inspect
import re

import pytest

import skafm
from skafm._estimators.docstrings import fill_docstring


@pytest.mark.parametrize("name", skafm.__all__)
def test_docstring_has_no_placeholder(name):
    doc = getattr(skafm, name).__doc__
    assert "random_state : int" in doc
    assert not re.search(r"^ *\{\w+\}$", doc, re.MULTILINE)


def test_shared_text_is_indented_as_the_docstring():
    class Estimator:
        """Summary.

        {learning_rate}
        """

    Estimator.__doc__ = inspect.cleandoc(Estimator.__doc__).replace("\n", "\n    ")
    lines = fill_docstring(Estimator).__doc__.splitlines()
    assert lines[2].startswith("    learning_rate : float")
    assert lines[3].startswith("        ")


def test_stripped_docstring_stays_none():
    class Estimator:
        pass

    assert fill_docstring(Estimator).__doc__ is None
