"""The public API is what tests/public_api.txt lists: a change to one is a change to the other.

    python tests/test_public_api.py

writes the file anew.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path

import skafm

LISTING = Path(__file__).parent / "public_api.txt"


def modules():
    """Return the public modules: no part of their names begins with an underscore."""
    names = [name for _, name, _ in pkgutil.walk_packages(skafm.__path__, "skafm.") if "._" not in name]
    return [skafm, *map(importlib.import_module, sorted(names))]


def describe(module):
    """Yield a line for each public name of a module, and for each public method of its classes."""
    for name in sorted(module.__all__):
        member = getattr(module, name)
        if inspect.ismodule(member):
            yield f"{module.__name__}.{name}"
            continue
        yield f"{module.__name__}.{name}{signature(member)}"
        if inspect.isclass(member):
            for method in sorted(methods(member)):
                yield f"{module.__name__}.{name}.{method}{signature(getattr(member, method))}"


def methods(cls):
    """Return the names of the public methods and properties of a class that are its own, not a library's."""
    owners = {name: next(base for base in cls.__mro__ if name in vars(base)) for name in dir(cls) if name[0] != "_"}
    own = {name for name, owner in owners.items() if owner.__module__.split(".")[0] == "skafm"}
    return {name for name in own if not name.endswith("_request")}  # scikit-learn adds them


def signature(member):
    """Return the parameters of a function, a class or a method, without types; a property has none."""
    if not callable(member):
        return ""
    parameters = inspect.signature(member).parameters.values()
    untyped = [each.replace(annotation=each.empty) for each in parameters if each.name != "self"]
    return str(inspect.Signature(untyped))


def listing():
    """Return the text of the file."""
    return "".join(f"{line}\n" for module in modules() for line in describe(module))


def test_every_public_module_says_what_is_public():
    assert [module.__name__ for module in modules() if not hasattr(module, "__all__")] == []


def test_public_api_is_the_listed_one():
    """If the change is wanted, write the file anew, see the module's docstring, and note it in CHANGELOG.md."""
    assert listing().splitlines() == LISTING.read_text().splitlines()


def test_public_classes_name_their_public_module():
    classes = [(module, getattr(module, name)) for module in modules() for name in module.__all__]
    classes = [(module, each) for module, each in classes if inspect.isclass(each)]
    assert len(classes) > 20
    assert [each for module, each in classes if each.__module__ != module.__name__] == []


if __name__ == "__main__":
    LISTING.write_text(listing())
