"""Optional dependencies, for tables and plots."""


def import_pandas():
    """Return pandas, or raise an ImportError that names it."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError("Tables require pandas. You can install it with `pip install pandas`.") from error
    return pandas


def import_pyplot():
    """Return matplotlib's pyplot, or raise an ImportError that names matplotlib."""
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError("Plots require matplotlib. You can install it with `pip install matplotlib`.") from error
    return matplotlib.pyplot
