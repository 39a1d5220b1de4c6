"""How often features occur, and how large their values are."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skafm._training.batching import Dataset


class FeatureStatistics(NamedTuple):
    """Of the rows of all ranks in which a feature is not zero."""

    weight: Tensor
    """(n_features,) Weight of these rows; the smallest weight of a row counts as 1."""
    scale: Tensor
    """(n_features,) Weighted root mean square of its values in them; 0 if there are none."""


def feature_statistics(dataset: Dataset) -> FeatureStatistics:
    """Return the statistics of the features of a data set."""
    rows, weight = dataset.rows, None
    indices, n = rows.indices.cpu(), rows.n_features
    if dataset.weight is not None:
        weight = dataset.weight.cpu().double().repeat_interleave(rows.indptr.diff().cpu())  # (N,)
    count = square = np.bincount(indices, weight, minlength=n)
    if rows.values is not None:
        squares = rows.values.cpu().double().square()  # (N,)
        square = np.bincount(indices, squares if weight is None else weight * squares, minlength=n)
    count, square = dataset.group.all_reduce_sum(np.stack([count, square]).astype(np.float64))  # (n_features,)
    scale = np.sqrt(np.divide(square, count, out=np.zeros_like(count), where=count > 0))
    found = count * dataset.mean_weight, scale
    return FeatureStatistics(*(torch.as_tensor(each, dtype=rows.dtype, device=rows.device) for each in found))
