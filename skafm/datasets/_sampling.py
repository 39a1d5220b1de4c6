"""Negative sampling for implicit feedback."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_random_state, check_scalar


def sample_negatives(
    X: ArrayLike,
    *,
    item_column: int,
    user_columns: int | Sequence[int],
    n_negatives: int = 2,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Add negative samples to each log: rows whose item was never observed with that user.

    As in Section 5.1 of the AFM paper. Logs such as (user, app, weather) are implicit feedback: they are all positive.
    Each log gets the target 1 and is followed by ``n_negatives`` rows with target -1, in which the item, here the app,
    is drawn uniformly from the items that the user has in no log; the other columns are unchanged.

    Parameters
    ----------
    X : array-like of shape (n_logs, n_fields)
        Categorical values of any type, one row for each log. The column names of a DataFrame are ignored.
    item_column : int
        Index of the column to replace. The items are all its values in X.
    user_columns : int or sequence of int
        Index of the column, or of the columns together, that a drawn item was never observed with: the user or, if
        users apply tags to movies and the item is the tag, the user and the movie.
    n_negatives : int, default=2
        Number of negative samples for each log, drawn independently; at least 1.
    random_state : int, RandomState instance or None, default=None
        Random generator of the negative samples.

    Returns
    -------
    rows : ndarray of shape (n_logs * (1 + n_negatives), n_fields)
        Each log, followed by its negative samples.
    target : ndarray of shape (n_logs * (1 + n_negatives),), float32
        1 for logs and -1 for negative samples.

    Raises
    ------
    ValueError
        If a user was observed with every item, or if a column does not exist.

    Notes
    -----
    Sample from all logs, and split the rows into training and test set afterwards, as in the paper. Otherwise, a test
    log can be a negative sample of the training set.

    References
    ----------
    .. [1] Xiao, J., Ye, H., He, X., Zhang, H., Wu, F., Chua, T.-S. (2017). Attentional factorization machines:
       learning the weight of feature interactions via attention networks. IJCAI 2017.

    Examples
    --------
    >>> from skafm.datasets import sample_negatives
    >>> logs = [["ann", "chess", "sun"], ["ann", "mail", "rain"], ["bob", "maps", "sun"]]
    >>> rows, target = sample_negatives(logs, item_column=1, user_columns=0, n_negatives=1, random_state=0)
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
    users = _check_columns(item_column, user_columns, table.shape[1])
    check_scalar(n_negatives, "n_negatives", Integral, min_val=1)
    _check_sortable(table, (item_column, *users))
    items, item = np.unique(table[:, item_column], return_inverse=True)  # (n_items,), (n_logs,)
    group = _encode_groups(table[:, users])  # (n_logs,)
    unseen = _UnseenItems(group, item, len(items))
    _check_unseen(unseen.counts[group], table, item_column, users)
    rows = np.repeat(table, 1 + n_negatives, axis=0)
    target = np.tile(np.array([1] + [-1] * n_negatives, np.float32), len(table))
    drawn = unseen.draw(np.repeat(group, n_negatives), check_random_state(random_state))
    rows[target < 0, item_column] = items[drawn]
    return rows, target


def _check_columns(item_column: int, user_columns: int | Sequence[int], n_columns: int) -> list[int]:
    """Return the user columns as a list."""
    users = [user_columns] if isinstance(user_columns, int | np.integer) else list(user_columns)
    for column in (item_column, *users):
        check_scalar(column, "a column in item_column or user_columns", Integral, min_val=0, max_val=n_columns - 1)
    if not users or item_column in users:
        raise ValueError(f"user_columns must have at least one column, other than {item_column=}, got {user_columns}.")
    return users


def _check_sortable(X: NDArray[Any], columns: Sequence[int]) -> None:
    """Raise a ValueError if a column has missing values, or values of types that cannot be compared."""
    for column in columns:
        try:
            np.sort(X[:, column])
        except TypeError as error:
            raise ValueError(
                f"Column {column} of X has missing values or mixed types ({error}): fill in the missing values, and "
                "use one type."
            ) from error


def _encode_groups(columns: NDArray[Any]) -> NDArray[np.int64]:
    """Return an integer code for each row, from 0; equal rows have equal codes."""
    group = np.zeros(len(columns), np.int64)
    for column in columns.T:
        values, codes = np.unique(column, return_inverse=True)
        group = np.unique(group * len(values) + codes, return_inverse=True)[1]
    return group


def _check_unseen(counts: NDArray[np.int64], X: NDArray[Any], item_column: int, users: list[int]) -> None:
    """Raise a ValueError if the group of a row has no item to draw."""
    full = np.flatnonzero(counts == 0)
    if len(full):
        row = full[0]
        who = ", ".join(f"column {column} = {X[row, column]}" for column in users)
        raise ValueError(
            f"{len(full)} logs, the first in row {row}, have no item (column {item_column}) to draw: {who} was "
            "observed with every item. Remove these logs, or use more user_columns."
        )


class _UnseenItems:
    """The items, 0 to n_items - 1, that each group was not observed with: counted and drawn without listing them.

    For a group observed with the items a_0 < a_1 < ..., there are a_i - i unseen items below a_i. So its r-th unseen
    item is r plus the number of i with a_i - i <= r, which one binary search finds for all groups at once.
    """

    def __init__(self, group: NDArray[np.int64], item: NDArray[np.int64], n_items: int) -> None:
        pairs = np.unique(group * n_items + item)  # sorted by group, then by item
        n_seen = np.bincount(pairs // n_items)  # (n_groups,)
        self._first_pair = np.cumsum(n_seen) - n_seen  # (n_groups,)
        self._keys = pairs - (np.arange(len(pairs)) - np.repeat(self._first_pair, n_seen))  # group n_items + a_i - i
        self._n_items = n_items
        self.counts = n_items - n_seen

    def draw(self, group: NDArray[np.int64], random: np.random.RandomState) -> NDArray[np.int64]:
        """Return an item for each group, drawn uniformly from those that it was not observed with."""
        rank = random.randint(0, self.counts[group], dtype=np.int64)
        n_below = np.searchsorted(self._keys, group * self._n_items + rank, side="right") - self._first_pair[group]
        return rank + n_below
