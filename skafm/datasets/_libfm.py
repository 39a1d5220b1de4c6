"""Reader of one-hot encoded data in libFM format, with lines ``target number:1 number:1 ...``."""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


def read_one_hot(content: bytes, name: str, n_fields: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the targets (B,) and the numbers (B, n_fields) of the features, in the order of the line.

    The position in the line is the field. ``sklearn.datasets.load_svmlight_file`` would need ascending numbers, and
    does not keep the position.
    """
    # float64 represents the numbers exactly
    table = np.loadtxt(io.BytesIO(content.replace(b":", b" ")), comments=None, encoding="ascii", ndmin=2)
    if table.shape[1] != 1 + 2 * n_fields or (table[:, 2::2] != 1).any():
        raise ValueError(
            f"{name}: expected lines of a target and {n_fields} features 'number:1', got lines of "
            f"{table.shape[1] // 2} features with the values {np.unique(table[:, 2::2])[:9]}."
        )
    return table[:, 0].astype(np.float32), table[:, 1::2].astype(np.intp)


class Columns(NamedTuple):
    """Assignment of features to columns 0, 1, ..., ordered by field and then by number."""

    numbers: NDArray[np.intp]
    """(n_features,) Number of the feature of each column."""
    fields: NDArray[np.intp]
    """(n_features,) Field of each column."""
    indices: NDArray[np.intp]
    """(B, n_fields) Columns of each row."""


def assign_columns(numbers: NDArray[np.intp]) -> Columns:
    """Assign columns to the features with these numbers (B, n_fields), whose position in the row is their field.

    Raises
    ------
    ValueError
        If a feature is at two positions.
    """
    distinct, first, codes = np.unique(numbers, return_index=True, return_inverse=True)
    codes = codes.reshape(numbers.shape)  # (B, n_fields), which NumPy 1 flattens
    fields = first % numbers.shape[1]
    _check_positions(numbers, fields[codes])
    order = np.argsort(fields, kind="stable")  # stable: numbers ascend within each field
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Columns(distinct[order], fields[order], rank[codes])


def _check_positions(numbers: NDArray[np.intp], fields: NDArray[np.intp]) -> None:
    """Check that each feature is at the position of its field, where it was first."""
    wrong = np.argwhere(fields != np.arange(numbers.shape[1]))
    if len(wrong):
        row, position = wrong[0]
        raise ValueError(
            f"Feature {numbers[row, position]} is at position {position} in row {row}, but was at position "
            f"{fields[row, position]} in an earlier row: expected each feature at the position of its field. Is this "
            "the file of another data set?"
        )
