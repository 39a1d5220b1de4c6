"""One-hot rows of categorical fields in libfm format, ``target number:1 number:1 ...``, and columns for them."""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


def read_one_hot(content: bytes, name: str, n_fields: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the targets (B,) and the features' numbers (B, n_fields), which stay in the order of the line.

    ``sklearn.datasets.load_svmlight_file`` wants rising numbers, and so could not tell a field from its place.
    """
    # float64 holds every number exactly
    table = np.loadtxt(io.BytesIO(content.replace(b":", b" ")), comments=None, encoding="ascii", ndmin=2)
    if table.shape[1] != 1 + 2 * n_fields or (table[:, 2::2] != 1).any():
        raise ValueError(
            f"{name}: expected lines of a target and {n_fields} features 'number:1', got lines of "
            f"{table.shape[1] // 2} features with the values {np.unique(table[:, 2::2])[:9]}."
        )
    return table[:, 0].astype(np.float32), table[:, 1::2].astype(np.intp)


class Columns(NamedTuple):
    """Columns 0, 1, ... for features that have any numbers; first those of field 0, then of field 1, and so on."""

    numbers: NDArray[np.intp]
    """(n_features,) The number that each column's feature had."""
    fields: NDArray[np.intp]
    """(n_features,) Each column's field."""
    indices: NDArray[np.intp]
    """(B, n_fields) The rows' columns."""


def number_columns(numbers: NDArray[np.intp]) -> Columns:
    """Give columns to features (B, n_fields), whose place in the row is their field.

    Raises
    ------
    ValueError
        If a feature stands in two places.
    """
    found, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    inverse = inverse.reshape(numbers.shape)  # NumPy 1 returns it flat
    fields = first % numbers.shape[1]
    _check_places(numbers, fields[inverse])
    order = np.argsort(fields, kind="stable")  # and the numbers rise within each field
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Columns(found[order], fields[order], rank[inverse])


def _check_places(numbers: NDArray[np.intp], fields: NDArray[np.intp]) -> None:
    """Check that each feature is in the place where it was first."""
    wrong = np.argwhere(fields != np.arange(numbers.shape[1]))
    if len(wrong):
        row, place = wrong[0]
        raise ValueError(
            f"Feature {numbers[row, place]} stands in place {place} of row {row}, and in place {fields[row, place]} "
            "before: expected each feature in one place, that of its field. Is the file of another data set?"
        )
