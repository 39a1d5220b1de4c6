"""Is a sparse matrix what it says it is? Compiled code believes the index arrays, and would read where they point."""

from typing import Any

from scipy import sparse


def check_sparse(X: Any) -> Any:
    """Return X, if it is sparse in a shell of its own, with indices of int32 or int64.

    Parameters
    ----------
    X : object
        Never changed, and its arrays not copied; what is not sparse has nothing to contradict.

    Raises
    ------
    ValueError
        If indices are out of range or no integers, if ``indptr`` falls, or if lengths disagree.
    """
    if not sparse.issparse(X):
        return X
    try:
        return _checked(X)
    except ValueError as error:
        raise ValueError(
            f"X is a corrupt {X.format} matrix of shape {X.shape}: {error}. Build it anew, e.g. with "
            "scipy.sparse.csr_array((values, (rows, columns)), shape=shape)."
        ) from error


def _checked(X: Any) -> Any:
    if X.format == "lil" and any(len(row) != len(data) for row, data in zip(X.rows, X.data, strict=True)):
        raise ValueError("rows and data should have the same lengths")
    for name in ("indptr", "indices"):
        if hasattr(X, name) and getattr(X, name).dtype.kind != "i":
            raise ValueError(f"{name} should be signed integers, but are {getattr(X, name).dtype}")
    X = X.tocsr() if X.format in {"lil", "dok"} else type(X)(X)  # compares the lengths
    if hasattr(X, "indptr"):
        if (X.indptr[1:] < X.indptr[:-1]).any():  # check_format asks only where there are entries
            raise ValueError("indptr should never fall")
        X.check_format()
    return X
