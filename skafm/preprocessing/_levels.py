"""The levels of a numeric column: frequent values, bins of the others, and missing values."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

_ROWS_PER_VALUE = 30
"""Rows per distinct value, on average, from which the frequent values of a column are levels; below, they overfit."""


class Levels(NamedTuple):
    """Intervals of the real line, each of which belongs to a level; a level may have several intervals."""

    edges: np.ndarray
    """(n_intervals - 1,) Upper ends of all intervals but the last, which they include."""
    codes: np.ndarray
    """(n_intervals,) Level of each interval; empty if there were no values."""
    names: list[str]
    """(n_levels,) Range of the values of each level; the last is "missing" if there were missing values."""

    def encode(self, x):
        """Return the level (n_samples,) of each value, or -1 for a missing value if there were none."""
        is_missing = np.isnan(x)
        codes = np.full(len(x), -1)
        if self.names[-1] == "missing":
            codes[is_missing] = len(self.names) - 1
        if len(self.codes):
            codes[~is_missing] = self.codes[np.searchsorted(self.edges, x[~is_missing])]
        return codes


def find_levels(x, *, min_frequency, n_bins):
    """Find the levels of a numeric column.

    A frequent value is a level of its own. All others form bins of about equal numbers of rows: at most ``n_bins``, and
    as many as make ``min_frequency`` rows a bin, but at least one. A value is frequent if at least ``min_frequency``
    rows have it and, unless the distinct values have 30 rows each on average, at least ``1 / n_bins`` of the rows.

    Parameters
    ----------
    x : ndarray of shape (n_samples,)
        Values, NaN where missing.
    min_frequency, n_bins : int

    Returns
    -------
    Levels
        A value that is not in ``x`` has the level of its neighbors in ``x``: between two levels, that of the nearer
        one, but never that of a frequent value if the other neighbor is in a bin.
    """
    present = x[~np.isnan(x)]
    missing = ["missing"] if len(present) < len(x) else []
    if not len(present):
        return Levels(np.empty(0), np.empty(0, int), missing)
    values, counts = np.unique(present, return_counts=True)  # (D,)
    is_discrete = len(present) >= _ROWS_PER_VALUE * len(values)
    is_frequent = counts >= (min_frequency if is_discrete else max(min_frequency, len(present) / n_bins))
    codes = _assign_levels(counts, is_frequent, min_frequency, n_bins)
    last = np.flatnonzero(np.diff(codes))  # of each interval but the last
    edges = _upper_ends(values[last], values[last + 1], is_frequent[last], is_frequent[last + 1])
    first_of_level = np.unique(codes, return_index=True)[1]
    last_of_level = len(codes) - 1 - np.unique(codes[::-1], return_index=True)[1]
    names = _range_names(np.stack([values[first_of_level], values[last_of_level]], axis=1) + 0.0)  # no -0
    return Levels(edges, codes[np.append(last, -1)], names + missing)


def one_hot(levels, X, dtype):
    """Return CSR (n_samples, n_levels of all columns) of the numbers X (n_samples, n_columns), by their levels."""
    codes = np.stack([level.encode(x) for level, x in zip(levels, X.T, strict=True)], axis=1)  # (n_samples, n_columns)
    ends = np.cumsum([len(level.names) for level in levels])
    has_level = codes >= 0
    columns = (codes + np.append(0, ends[:-1]))[has_level]
    indptr = np.append(0, has_level.sum(axis=1).cumsum())
    return sparse.csr_array((np.ones(len(columns), dtype), columns, indptr), shape=(len(X), ends[-1]))


def _assign_levels(counts, is_frequent, min_frequency, n_bins):
    """Return the level (D,) of each distinct value, numbered by their smallest values."""
    rows = np.where(is_frequent, 0, counts)
    total = rows.sum()
    n_parts = max(1, min(n_bins, total // min_frequency))
    middle = (rows.cumsum() - rows / 2) / max(total, 1)  # quantile of each value among those of the bins
    part = np.minimum((middle * n_parts).astype(int), n_parts - 1)
    key = np.where(is_frequent, n_parts + np.arange(len(counts)), part)
    _, first, codes = np.unique(key, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes]


def _upper_ends(lower, upper, lower_is_frequent, upper_is_frequent):
    """Return the upper ends of intervals, given their last values and the first values of the intervals after them."""
    below_upper = np.nextafter(upper, -np.inf)
    middle = np.clip(lower / 2 + upper / 2, lower, below_upper)  # rounding must not pass either
    ends = np.where(lower_is_frequent & ~upper_is_frequent, lower, middle)
    return np.where(~lower_is_frequent & upper_is_frequent, below_upper, ends)


def _range_names(ranges):
    """Return a name for each range (n_levels, 2) of values, with as few digits as tell them apart, but at least six."""
    for digits in range(6, 18):
        ends = [[f"{end:.{digits}g}" for end in each] for each in ranges]
        names = [low if low == high else f"{low}..{high}" for low, high in ends]
        if len(set(names)) == len(names):
            break
    return names
