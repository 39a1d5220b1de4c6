"""Loaders of the data sets of the AFM paper, as published by its authors."""

import os
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch, check_scalar

from skafm.datasets._download import Download, load
from skafm.datasets._libfm import assign_columns, read_one_hot
from skafm.datasets._sources import FRAPPE, MOVIELENS_TAGS, Source

Data: TypeAlias = Bunch | tuple[sparse.csr_array, NDArray[np.float32]]


def fetch_frappe(
    *,
    data_home: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
    download_if_missing: bool = True,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Data:
    """Load the Frappe data set of mobile app usage (classification).

    Each row says whether a user used an app in a context, such as the weather. The data set is downloaded if necessary.
    It may be used for research only; see the terms of use in ``DESCR``.

    =========  ===========================
    rows       288,609
    columns    5,382, of 10 one-hot fields
    target     -1 or 1
    =========  ===========================

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder whose subfolder ``skafm`` caches the files. By default that of scikit-learn, ``~/scikit_learn_data``.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    download_if_missing : bool, default=True
        Whether to download files that are missing or changed. If False, they raise an OSError.
    n_retries : int, default=3
        Number of retries when a download fails; at least 0.
    delay : float, default=1.0
        Seconds between retries; at least 0.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes:

        data : CSR array of shape (288609, 5382), float32
            One-hot encoded rows: the training set, followed by the validation set and the test set.
        target : ndarray of shape (288609,), float32
            1 for logs of app usage, -1 for negative samples.
        feature_names : ndarray of shape (5382,), object
            Field of each column and its number in the published files, such as ``user_451``.
        field_names : list of 10 str
            Names of the fields, in the order of the columns.
        fields : ndarray of shape (5382,), int
            Field of each column, an index into ``field_names``. The columns of a field are adjacent.
        splits : dict
            Slices of the rows: ``"train"``, ``"validation"`` and ``"test"``.
        DESCR : str
            Description of the data set, its source, references and terms of use.
    (data, target) : tuple, if ``return_X_y``
        Data and target, as above.

    Raises
    ------
    OSError
        If a file is missing or changed and ``download_if_missing`` is False, if its download fails or has another
        content, or if it cannot be written.

    Warns
    -----
    UserWarning
        When a download is retried, or when a changed file is downloaded again.

    See Also
    --------
    sample_negatives : Negative sampling as in this data set.

    Examples
    --------
    >>> from skafm.datasets import fetch_frappe
    >>> frappe = fetch_frappe()  # doctest: +SKIP
    >>> train = frappe.splits["train"]  # doctest: +SKIP
    >>> X, y = frappe.data[train], frappe.target[train]  # doctest: +SKIP
    """
    return _fetch(FRAPPE, data_home, return_X_y, Download(download_if_missing, n_retries, delay))


def fetch_movielens_tags(
    *,
    data_home: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
    download_if_missing: bool = True,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Data:
    """Load the MovieLens data set of movie tags (classification).

    Each row says whether a user applied a tag to a movie. The data set is downloaded if necessary; see the terms of use
    in ``DESCR``.

    =========  ===========================
    rows       2,006,859
    columns    90,445, of 3 one-hot fields
    target     -1 or 1
    =========  ===========================

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder whose subfolder ``skafm`` caches the files. By default that of scikit-learn, ``~/scikit_learn_data``.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    download_if_missing : bool, default=True
        Whether to download files that are missing or changed. If False, they raise an OSError.
    n_retries : int, default=3
        Number of retries when a download fails; at least 0.
    delay : float, default=1.0
        Seconds between retries; at least 0.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the attributes described in :func:`fetch_frappe`: ``data`` of shape
        (2006859, 90445), ``target``, ``feature_names``, ``field_names`` (user, movie, tag), ``fields``, ``splits`` and
        ``DESCR``.
    (data, target) : tuple, if ``return_X_y``
        Data and target, as above.

    Raises
    ------
    OSError
        If a file is missing or changed and ``download_if_missing`` is False, if its download fails or has another
        content, or if it cannot be written.

    Warns
    -----
    UserWarning
        When a download is retried, or when a changed file is downloaded again.

    See Also
    --------
    sample_negatives : Negative sampling as in this data set.

    Examples
    --------
    >>> from skafm.datasets import fetch_movielens_tags
    >>> X, y = fetch_movielens_tags(return_X_y=True)  # doctest: +SKIP
    """
    return _fetch(MOVIELENS_TAGS, data_home, return_X_y, Download(download_if_missing, n_retries, delay))


def _fetch(source: Source, data_home: str | os.PathLike[str] | None, return_X_y: bool, download: Download) -> Data:
    check_scalar(download.n_retries, "n_retries", Integral, min_val=0)
    check_scalar(download.delay, "delay", Real, min_val=0)
    folder = Path(get_data_home(data_home)) / "skafm"
    targets, numbers = [], []
    for file in source.files.values():
        target, number = read_one_hot(load(file, folder, download), file.path, len(source.field_names))
        targets.append(target)
        numbers.append(number)
    data, feature_names, fields = _one_hot(np.concatenate(numbers), source.field_names)
    if return_X_y:
        return data, np.concatenate(targets)
    return Bunch(
        data=data,
        target=np.concatenate(targets),
        feature_names=feature_names,
        field_names=list(source.field_names),
        fields=fields,
        splits=_splits(source.files, targets),
        DESCR=source.descr,
    )


def _one_hot(
    numbers: NDArray[np.intp], field_names: tuple[str, ...]
) -> tuple[sparse.csr_array, NDArray[np.object_], NDArray[np.intp]]:
    """Return the one-hot matrix (B, n_features), and the name and field of each column (n_features,)."""
    columns = assign_columns(numbers)
    n_rows, n_fields = numbers.shape
    indptr = np.arange(0, numbers.size + 1, n_fields, dtype=np.int32)
    entries = np.ones(numbers.size, np.float32), columns.indices.ravel().astype(np.int32), indptr
    pairs = zip(columns.fields, columns.numbers, strict=True)
    names = np.array([f"{field_names[field]}_{number}" for field, number in pairs], dtype=object)
    return sparse.csr_array(entries, shape=(n_rows, len(names))), names, columns.fields


def _splits(names: Iterable[str], parts: list[NDArray[np.float32]]) -> dict[str, slice]:
    """Return the slice of the rows of each part, in the order of the parts."""
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return {name: slice(end - len(part), end) for name, part, end in zip(names, parts, ends, strict=True)}
