"""Errors of training, importable without torch."""


class DivergenceError(ArithmeticError):
    """A loss, a gradient or a parameter is no longer finite."""
