"""What is needed for tables and pictures alone."""


def import_pandas():
    """Return pandas."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError("A table needs pandas: pip install pandas.") from error
    return pandas


def import_pyplot():
    """Return matplotlib's pyplot."""
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError("A picture needs matplotlib: pip install matplotlib.") from error
    return matplotlib.pyplot
