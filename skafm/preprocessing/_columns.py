"""The columns of a table: which are numeric and which categorical, and their values."""

from datetime import date, timedelta
from decimal import Decimal
from numbers import Real

import numpy as np
from sklearn.utils import check_array

_MISSING_TYPES = {"NoneType", "NAType", "NaTType"}
_TIMES = date | timedelta | np.datetime64 | np.timedelta64
_NUMBERS = Real | Decimal | np.number
_BOOLEANS = bool | np.bool


def check_table(X):
    """Return a DataFrame as it is, and anything else as an array of numbers, strings or objects."""
    if _is_frame(X):
        if 0 in X.shape:
            raise ValueError(f"Expected a table with rows and columns, got one of shape {X.shape}.")
        return X
    array = check_array(X, dtype=None, ensure_all_finite="allow-nan")
    if array.dtype.kind == "U" and not hasattr(X, "dtype"):  # NumPy makes strings of the numbers in a list
        return check_array(X, dtype=object, ensure_all_finite="allow-nan")
    return array


def find_numeric(X):
    """Return whether each column (n_features,) of a table is numeric: all else, booleans included, is categorical.

    Raises
    ------
    TypeError
        If a column holds dates, times or durations, or strings and other values.
    """
    return np.array([_is_numeric(*_column(X, i)) for i in range(X.shape[1])])


def read_numbers(X, columns):
    """Return some columns of a table as float64 (n_samples, n_columns), NaN where missing."""
    numbers = np.empty((X.shape[0], len(columns)))
    for k, i in enumerate(columns):
        numbers[:, k] = _read_numbers(*_column(X, i))
    return numbers


def read_categories(X, columns):
    """Return some columns of a table as objects (n_samples, n_columns), None where missing."""
    categories = np.empty((X.shape[0], len(columns)), dtype=object)
    for k, i in enumerate(columns):
        categories[:, k] = _read_objects(_column(X, i)[0])
    return categories


def _is_frame(X):
    """Return whether a table has typed columns, as those of pandas and polars do."""
    return hasattr(X, "columns") and hasattr(X, "dtypes") and hasattr(X, "shape")


def _column(X, i):
    """Return a column of a table and its name."""
    column = X.iloc[:, i] if hasattr(X, "iloc") else X[:, int(i)]
    return column, X.columns[i] if _is_frame(X) else i


def _is_numeric(column, name):
    """Return whether a column is numeric, by its type or, if it has none, by the types of its values."""
    if str(column.dtype) == "category":  # of pandas: numbers may be categories
        return False
    values = np.asarray(column)
    types = set(map(type, values)) if values.dtype == object else {values.dtype.type}
    present = [each for each in types if each.__name__ not in _MISSING_TYPES]
    if any(issubclass(each, _TIMES) for each in present):
        raise TypeError(
            f"Column {name!r} has dates, times or durations, but numbers and categories are expected: replace it with "
            f"columns of its parts, such as X[{name!r}].dt.month, .dt.dayofweek and .dt.hour, or with a number of days."
        )
    if not any(issubclass(each, str) for each in present):
        return bool(present) and all(issubclass(each, _NUMBERS) and not issubclass(each, _BOOLEANS) for each in present)
    _check_strings(values, name)
    return False


def _check_strings(values, name):
    """Raise a TypeError unless the values of a categorical column are strings, or missing."""
    types = {type(value).__name__ for value in values if not isinstance(value, str) and not _is_missing(value)}
    if types:
        raise TypeError(
            f"Column {name!r} has strings and also values of type {', '.join(sorted(types))}: convert those to "
            "strings, or replace them by None if they stand for missing values."
        )


def _read_numbers(column, name):
    """Return a column as float64 (n_samples,), NaN where missing."""
    values = np.asarray(column)
    if values.dtype == object:
        values = _read_objects(values)
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Column {name!r} was numeric in fit, but has a value that is no number: {error}. Replace it by NaN if it "
            "stands for a missing value."
        ) from error
    if np.isinf(numbers).any():
        raise ValueError(f"Column {name!r} contains infinity: replace it by a finite number, or by NaN if missing.")
    return numbers


def _read_objects(column):
    """Return a column as objects (n_samples,), None where missing."""
    values = np.array(column, dtype=object)
    if any(each.__name__ in _MISSING_TYPES or issubclass(each, float | np.floating) for each in set(map(type, values))):
        values[[_is_missing(value) for value in values]] = None
    return values


def _is_missing(value):
    """Return whether a value is None, NaN, or pandas' NA or NaT."""
    return type(value).__name__ in _MISSING_TYPES or (isinstance(value, float | np.floating) and np.isnan(value))
