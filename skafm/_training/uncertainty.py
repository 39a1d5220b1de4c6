"""How far a mean over few rows can be trusted."""

import math

import torch
from torch import Tensor

from skafm._training.batching import Dataset
from skafm._training.collectives import ProcessGroup

_FEW_ROWS = 200
"""A validation set with fewer rows is small."""


def few_rows(validation: Dataset) -> bool:
    """Return whether a validation set has so few rows that its mean loss is uncertain."""
    return bool(validation.group.all_reduce_sum(len(validation.rows)) < _FEW_ROWS)


@torch.no_grad()
def mean_and_error(values: Tensor, weight: Tensor | None, group: ProcessGroup) -> tuple[float, float]:
    """Return the weighted mean of values (n_samples,) of the rows of all ranks, and its standard error.

    As many rows count as rows of equal weights would have the same error (Kish's effective sample size).
    """
    values = values.double()
    weight = torch.ones_like(values) if weight is None else weight.double()
    total = group.all_reduce_sum
    whole = total(float(weight.sum()))
    mean = total(float(weight @ values)) / whole
    variance, share = total(float(weight @ (values - mean).square())) / whole, total(float(weight @ weight)) / whole**2
    return mean, math.sqrt(variance * share / (1 - share)) if share < 1 else math.inf
