"""Rows that were not seen, to learn from logs that say only what was."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_random_state, check_scalar


def sample_negatives(
    X: ArrayLike,
    *,
    field: int,
    given: int | Sequence[int],
    n_negatives: int = 2,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Pair each log with rows in which one field is replaced by a value never seen with that user.

    Section 5.1 of the AFM paper: a log, such as (user, app, weather), says what was used, and never what was not.
    Each is given the target 1 and followed by ``n_negatives`` rows of target -1, in which the app is drawn uniformly
    from those that the user has in no log, and everything else is kept.

    Parameters
    ----------
    X : array-like of shape (n_logs, n_fields)
        Categorical values of any type, a row for each log. A DataFrame is taken as its values.
    field : int
        The column to replace, such as the app's. Its values are all that it has anywhere in X.
    given : int or sequence of int
        The column, or columns together, that a drawn value was never seen with: the user's; or, where a user gives
        tags to movies, the user's and the movie's.
    n_negatives : int, default=2
        How many rows to draw for each log, independently of one another.
    random_state : int, RandomState instance or None, default=None
        Seed for what is drawn.

    Returns
    -------
    rows : ndarray of shape (n_logs * (1 + n_negatives), n_fields)
        Each log, directly followed by what was drawn for it.
    target : ndarray of shape (n_logs * (1 + n_negatives),), float32
        1 for the logs and -1 for what was drawn.

    Raises
    ------
    ValueError
        If somebody has used everything, so that there is nothing to draw, or if a column does not exist.

    Notes
    -----
    What was never seen depends on the logs that are known: sample from all of them, and divide the rows into training
    and test afterwards, as the paper did; else a test log can be a negative of the training.

    References
    ----------
    .. [1] Xiao, J., Ye, H., He, X., Zhang, H., Wu, F., Chua, T.-S. (2017). Attentional factorization machines:
       learning the weight of feature interactions via attention networks. IJCAI 2017.

    Examples
    --------
    >>> from skafm.datasets import sample_negatives
    >>> logs = [["ann", "chess", "sun"], ["ann", "mail", "rain"], ["bob", "maps", "sun"]]
    >>> rows, target = sample_negatives(logs, field=1, given=0, n_negatives=1, random_state=0)
    >>> for row, number in zip(rows, target):
    ...     print(*row, int(number))
    ann chess sun 1
    ann maps sun -1
    ann mail rain 1
    ann maps rain -1
    bob maps sun 1
    bob chess sun -1
    """
    table: NDArray[Any] = check_array(X, dtype=None, ensure_all_finite=False, ensure_min_features=2)
    others = _check_fields(field, given, table.shape[1])
    check_scalar(n_negatives, "n_negatives", Integral, min_val=1)
    values, seen = np.unique(table[:, field], return_inverse=True)
    group = _number_groups(table[:, others])
    unseen = _Unseen(group, seen, len(values))
    _check_choice(unseen.counts[group], table, field, others)
    rows = np.repeat(table, 1 + n_negatives, axis=0)
    target = np.tile(np.array([1] + [-1] * n_negatives, np.float32), len(table))
    drawn = unseen.draw(np.repeat(group, n_negatives), check_random_state(random_state))
    rows[target < 0, field] = values[drawn]
    return rows, target


def _check_fields(field: int, given: int | Sequence[int], n_fields: int) -> list[int]:
    """Return the columns that ``given`` names."""
    others = [given] if isinstance(given, int | np.integer) else list(given)
    for column in (field, *others):
        check_scalar(column, "a column of field or given", Integral, min_val=0, max_val=n_fields - 1)
    if not others or field in others:
        raise ValueError(f"given={given} must name at least one column, and not that of field={field}.")
    return others


def _number_groups(columns: NDArray[Any]) -> NDArray[np.int64]:
    """Give the rows numbers 0, 1, ..., equal rows the same."""
    group = np.zeros(len(columns), np.int64)
    for column in columns.T:
        found, code = np.unique(column, return_inverse=True)
        group = np.unique(group * len(found) + code, return_inverse=True)[1]
    return group


def _check_choice(counts: NDArray[np.int64], X: NDArray[Any], field: int, others: list[int]) -> None:
    """Check that each row's group has values to draw from."""
    full = np.flatnonzero(counts == 0)
    if len(full):
        row = full[0]
        who = ", ".join(f"column {column} = {X[row, column]}" for column in others)
        raise ValueError(
            f"{len(full)} logs, the first in row {row}, have no value of column {field} left to draw: {who} was seen "
            "with every value there is. Leave those logs out, or name more columns in given."
        )


class _Unseen:
    """The values 0 to n_values - 1 that each group was not seen with, counted and drawn without listing them.

    Of a group seen with a_0 < a_1 < ..., a_i - i unseen values lie below a_i. So its unseen value number r is r plus
    the number of i with a_i - i <= r, which one binary search finds for all groups at once.
    """

    def __init__(self, group: NDArray[np.int64], value: NDArray[np.int64], n_values: int) -> None:
        pairs = np.unique(group * n_values + value)  # sorted by group, then by value
        n_seen = np.bincount(pairs // n_values)
        self._start = np.cumsum(n_seen) - n_seen
        self._below = pairs - (np.arange(len(pairs)) - np.repeat(self._start, n_seen))  # group n_values + a_i - i
        self._n_values = n_values
        self.counts = n_values - n_seen

    def draw(self, group: NDArray[np.int64], random: np.random.RandomState) -> NDArray[np.int64]:
        """Return a value for each of the groups, uniform among those it was not seen with."""
        rank = random.randint(0, self.counts[group], dtype=np.int64)
        n_below = np.searchsorted(self._below, group * self._n_values + rank, side="right") - self._start[group]
        return rank + n_below
