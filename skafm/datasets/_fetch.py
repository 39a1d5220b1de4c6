"""The data sets of the AFM paper, as their authors published them."""

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
from skafm.datasets._libfm import number_columns, read_one_hot
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
    """Load Frappe: which user used which mobile app in which context.

    It is downloaded when first asked for, and for research only: the terms of use are in ``DESCR``.

    =========  ===========================
    rows       288,609
    columns    5,382, of 10 one-hot fields
    target     -1 or 1
    =========  ===========================

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder to keep the files in, below ``skafm``. ``None`` is scikit-learn's, ``~/scikit_learn_data``.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` in place of a Bunch.
    download_if_missing : bool, default=True
        Whether to download what is missing or changed; otherwise that is an error.
    n_retries : int, default=3
        How many times to try again when a download fails.
    delay : float, default=1.0
        Seconds to wait before that.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        With these attributes:

        data : CSR array of shape (288609, 5382), float32
            A one for each field of a row. First come the rows for training, then validation, then test.
        target : ndarray of shape (288609,), float32
            1 where the user used the app in that context, -1 in the rows drawn at random.
        feature_names : ndarray of shape (5382,), object
            Each column's field and its number in the publisher's files, such as ``user_451``.
        field_names : list of 10 str
            In the order of the columns.
        fields : ndarray of shape (5382,), int
            Each column's field, as a place in ``field_names``. A field's columns lie side by side.
        splits : dict
            ``"train"``, ``"validation"`` and ``"test"``, each a slice of the rows.
        DESCR : str
            What the data are, where they come from, whom to cite and the terms of use.
    (data, target) : tuple, if ``return_X_y``
        The two.

    Raises
    ------
    OSError
        If a file is missing or changed and may not be downloaded, if its download fails or brings something else, or
        if it cannot be written.

    Warns
    -----
    UserWarning
        When a download is tried again, and when a changed file is replaced.

    See Also
    --------
    sample_negatives : Draws rows of target -1 as the authors did.

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
    """Load the MovieLens tags: which user gave which movie which tag.

    They are downloaded when first asked for; the terms of use are in ``DESCR``.

    =========  ===========================
    rows       2,006,859
    columns    90,445, of 3 one-hot fields
    target     -1 or 1
    =========  ===========================

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder to keep the files in, below ``skafm``. ``None`` is scikit-learn's, ``~/scikit_learn_data``.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` in place of a Bunch.
    download_if_missing : bool, default=True
        Whether to download what is missing or changed; otherwise that is an error.
    n_retries : int, default=3
        How many times to try again when a download fails.
    delay : float, default=1.0
        Seconds to wait before that.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        With the attributes that :func:`fetch_frappe` describes: ``data`` of shape (2006859, 90445), ``target``,
        ``feature_names``, ``field_names`` (user, movie, tag), ``fields``, ``splits`` and ``DESCR``.
    (data, target) : tuple, if ``return_X_y``
        The two.

    Raises
    ------
    OSError
        If a file is missing or changed and may not be downloaded, if its download fails or brings something else, or
        if it cannot be written.

    Warns
    -----
    UserWarning
        When a download is tried again, and when a changed file is replaced.

    See Also
    --------
    sample_negatives : Draws rows of target -1 as the authors did.

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
    """Return the matrix of the rows' features, and each column's name and field."""
    columns = number_columns(numbers)
    n_rows, n_fields = numbers.shape
    indptr = np.arange(0, numbers.size + 1, n_fields, dtype=np.int32)
    entries = np.ones(numbers.size, np.float32), columns.indices.ravel().astype(np.int32), indptr
    pairs = zip(columns.fields, columns.numbers, strict=True)
    names = np.array([f"{field_names[field]}_{number}" for field, number in pairs], dtype=object)
    return sparse.csr_array(entries, shape=(n_rows, len(names))), names, columns.fields


def _splits(names: Iterable[str], parts: list[NDArray[np.float32]]) -> dict[str, slice]:
    """Return the rows of each part, one part after the other."""
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return {name: slice(end - len(part), end) for name, part, end in zip(names, parts, ends, strict=True)}
