"""What was learnt, twice: the attributes of a fitted estimator, and the parameters of its module.

``names`` are an estimator's ``_attributes``: the module's name of a parameter -> the attribute. Layers are a list.
"""

from operator import is_
from weakref import WeakKeyDictionary

import numpy as np

_READY: WeakKeyDictionary = WeakKeyDictionary()
"""Estimator -> what its module was built from, and the module."""


def attributes_of(parameters, names):
    """Return the attributes, by name, of a module's parameters."""
    attributes: dict = {}
    for name, array in parameters.items():
        stem, _, number = name.rpartition(".")
        if number.isdigit():  # one of several layers
            attributes.setdefault(names[stem], []).append(array)
        else:
            attributes[names[name]] = _turn(name, array)[()]
    return attributes


def parameters_of(model, names):
    """Return the parameters, by name, of a fitted model, those that it has."""
    parameters: dict = {}
    for name, attribute in names.items():
        match getattr(model, attribute, None):
            case None:
                pass
            case list() as layers:
                parameters |= {f"{name}.{number}": array for number, array in enumerate(layers)}
            case array:
                parameters[name] = _turn(name, np.asarray(array))
    return parameters


def _turn(name, array):
    """Turn w: features come first for training, outputs come first in ``coef_``."""
    return array.T if name == "linear.weight" else array


def check_sizes(module, parameters):
    """Raise an error if a fitted model's parameters are not of the sizes that the module wants."""
    for name, parameter in module.named_parameters():
        came = np.shape(parameters.get(name))
        if came != tuple(parameter.shape):
            raise ValueError(
                f"The fitted model has {name} of shape {came}, but its parameters and the data now ask for "
                f"{tuple(parameter.shape)}: leave the sizes as they were, or fit anew with warm_start=False."
            )


def module_of(model, names, build, device, memory):
    """Return the module of a fitted model on a device, to predict with.

    To build it takes as long as to predict a row, so on the CPU it is kept while the model has the same arrays. It lies
    over their memory: what is changed in place is in the next prediction, and so is what is assigned.

    Parameters
    ----------
    model : estimator
    names : dict of str to str
    build : callable
        Takes C or None and a device, and returns a module of the fitted sizes.
    device : torch.device
    memory : int
        What else ``build`` depends on.
    """
    if device.type != "cpu":
        return _built(model, names, build, device)
    sources = [memory]
    for name in names.values():
        learnt = getattr(model, name, None)
        sources += learnt if isinstance(learnt, list) else [learnt]
    kept, module = _READY.get(model, ((), None))
    if len(kept) != len(sources) or kept[0] != memory or not all(map(is_, kept[1:], sources[1:])):
        module = _built(model, names, build, device)
        _READY[model] = sources, module
    return module


def _built(model, names, build, device):
    from skafm import _engine

    n_outputs = None if np.ndim(model.intercept_) == 0 else len(model.intercept_)
    module = build(n_outputs, device="meta")
    _engine.lend(module, parameters_of(model, names), device)
    return module


def forget(model):
    """Let go of what is kept of a model."""
    _READY.pop(model, None)
