"""Consistency checks of sparse matrices: compiled code trusts the index arrays, and would read out of bounds."""

from typing import Any

from scipy import sparse


def check_sparse(X: Any) -> Any:
    """Return X, if sparse in a new matrix object over the same arrays, with indices of int32 or int64.

    Parameters
    ----------
    X : object
        Never changed, and its arrays are not copied. Anything that is not sparse is returned as it is.

    Raises
    ------
    ValueError
        If indices are out of range or no integers, if ``indptr`` decreases, or if lengths disagree.
    """
    if not sparse.issparse(X):
        return X
    try:
        return _check(X)
    except ValueError as error:
        raise ValueError(
            f"Invalid {X.format.upper()} matrix X of shape {X.shape}: {error}. Build it anew, e.g. with "
            "scipy.sparse.csr_array((values, (rows, columns)), shape=shape)."
        ) from error


def _check(X: Any) -> Any:
    if X.format == "lil" and any(len(row) != len(data) for row, data in zip(X.rows, X.data, strict=True)):
        raise ValueError("rows and data must have the same lengths")
    for name in ("indptr", "indices"):
        if hasattr(X, name) and getattr(X, name).dtype.kind != "i":
            raise ValueError(f"{name} must be signed integers, but are {getattr(X, name).dtype}")
    X = X.tocsr() if X.format in {"lil", "dok"} else type(X)(X)  # compares the lengths
    if hasattr(X, "indptr"):
        if (X.indptr[1:] < X.indptr[:-1]).any():  # check_format checks this only if there are entries
            raise ValueError("indptr must be non-decreasing")
        X.check_format()
    return X
