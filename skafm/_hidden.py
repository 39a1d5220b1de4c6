"""The hidden layers of the deep models."""

from numbers import Integral

HIDDEN = {"hidden_layer_sizes": ["array-like"]}
"""Constructor parameter, and what it may be."""


def check_sizes(sizes):
    """Return the sizes of the hidden layers as a list of integers."""
    sizes = list(sizes)
    if not sizes or not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be one or more positive integers, e.g. (64, 32), got {sizes}.")
    return [int(size) for size in sizes]
