"""The link between the attributes of a fitted estimator and the parameters of its module.

``names`` are an estimator's ``_parameter_attributes``: parameter of the module -> attribute. Several layers are a list.
"""

from operator import is_
from weakref import WeakKeyDictionary

import numpy as np

from skafm._estimators.feature_subset import select_features

_CACHE: WeakKeyDictionary = WeakKeyDictionary()
"""Estimator -> what its module was built from, and the module."""


def attributes_from_parameters(parameters, names):
    """Return the attributes, by name, that hold a module's parameters."""
    attributes: dict = {}
    for name, array in parameters.items():
        stem, _, number = name.rpartition(".")
        if number.isdigit():  # one of several layers
            attributes.setdefault(names[stem], []).append(array)
        else:
            attributes[names[name]] = _transpose_coef(name, array)[()]
    return attributes


def parameters_from_attributes(estimator, names):
    """Return the parameters, by name, that a fitted estimator has."""
    parameters: dict = {}
    for name, attribute in names.items():
        match getattr(estimator, attribute, None):
            case None:
                pass
            case list() as layers:
                parameters |= {f"{name}.{number}": array for number, array in enumerate(layers)}
            case array:
                parameters[name] = _transpose_coef(name, np.asarray(array))
    return parameters


def writable_parameter(estimator, names, name):
    """Return a parameter's array, to be changed in place; one in read-only memory is copied first."""
    attribute = names[name]
    if not getattr(estimator, attribute).flags.writeable:
        setattr(estimator, attribute, getattr(estimator, attribute).copy())
    return _transpose_coef(name, getattr(estimator, attribute))


def _transpose_coef(name, array):
    """Transpose w: the module has features first, ``linear_coef_`` outputs first."""
    return array.T if name == "linear.weight" else array


def check_shapes(module, parameters):
    """Raise a ValueError if a fitted model's parameters do not have the shapes of the module's."""
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    for name in [*shapes, *(parameters.keys() - shapes.keys())]:
        fitted = np.shape(parameters[name]) if name in parameters else "none"
        required = shapes.get(name, "none")
        if fitted != required:
            raise ValueError(
                f"Shape mismatch for {name}: fitted {fitted}, required {required}. With warm_start=True and in "
                "partial_fit, model sizes, columns and targets must not change; use warm_start=False to fit anew."
            )


def cached_module(estimator, names, build, device, memory):
    """Return the module of a fitted estimator on a device, to predict with.

    To build it takes as long as to predict a row, so on the CPU it is cached while the estimator has the same arrays.
    It shares their memory: an array that is changed in place, or assigned anew, is in the next prediction.

    Parameters
    ----------
    estimator : estimator
    names : dict of str to str
    build : callable
        Takes n_outputs (or None) and a device, and returns a module of the fitted sizes.
    device : torch.device
    memory : int
        What else ``build`` depends on.
    """
    if device.type != "cpu":
        return shared_module(estimator, names, build, device)
    sources = [memory]
    for name in names.values():
        value = getattr(estimator, name, None)
        sources += value if isinstance(value, list) else [value]
    cached, module = _CACHE.get(estimator, ((), None))
    if len(cached) != len(sources) or cached[0] != memory or not all(map(is_, cached[1:], sources[1:])):
        module = shared_module(estimator, names, build, device)
        _CACHE[estimator] = sources, module
    return module


def shared_module(estimator, names, build, device, subset=None):
    """Return a new module that shares the estimator's arrays; with ``subset`` of some features only.

    Parameters
    ----------
    estimator, names, build, device
        As for :func:`cached_module`.
    subset : tuple, optional
        The features (U,), ascending, and the rows of missing fields: dict of str to ndarray.
    """
    from skafm._training import conversion

    n_outputs = None if np.ndim(estimator.intercept_) == 0 else len(estimator.intercept_)
    module = build(n_outputs, device="meta")
    parameters = parameters_from_attributes(estimator, names)
    if subset is not None:
        features, missing = subset
        parameters = select_features(parameters, features, missing, missing)
    if separate_intercept(estimator) is not None:
        name, _ = conversion.intercept_of(module)
        parameters[name] = np.zeros_like(parameters[name], estimator.factors_.dtype)
    conversion.load_shared(module, parameters, device)
    return module


def separate_intercept(estimator):
    """Return w0 if it is of higher precision than the model, and is to be added to its results; else None."""
    intercept = np.asarray(estimator.intercept_)
    return None if intercept.dtype == estimator.factors_.dtype else intercept


def invalidate_cache(estimator):
    """Drop the cached module of an estimator."""
    _CACHE.pop(estimator, None)
