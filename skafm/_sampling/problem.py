"""From rows, weights and fields to what chains share."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from skafm._sampling.blocks import find_blocks
from skafm._sampling.chain import Problem
from skafm._sampling.hyperpriors import FieldMembers, prior_variances
from skafm._sampling.layout import Columns, build_blocks
from skafm._training.batching import CSRRows

_CACHED = {"cpu": 2**18}
"""Elements of a group of features on a device whose caches, not its memory, limit the speed."""
_MAX_ELEMENTS = 2**24


def make_problem(
    rows: sparse.csr_array,
    weight: NDArray[Any],
    inferred: NDArray[Any],
    fields: NDArray[Any],
    n_factors: int,
    memory: int,
    device: torch.device,
) -> Problem:
    """Put the rows on the device, in blocks of features that can be drawn together.

    Parameters
    ----------
    rows : CSR of shape (n_samples, n_features)
        With sorted, distinct entries other than zero; float32 or float64.
    weight : ndarray of shape (n_samples,)
    inferred : ndarray of shape (n_features,)
        Field of each feature, from 0, as the rows suggest: such fields may be blocks.
    fields : ndarray of shape (n_features,)
        Field of each feature, from 0: the features of one have the same prior.
    n_factors : int
    memory : int
        Bytes for temporary arrays.
    device : torch.device

    Raises
    ------
    ValueError
        If the rows need too many blocks.
    """
    budget = memory // (4 * rows.dtype.itemsize)  # elements; state, h and two temporary arrays
    elements = min(_CACHED.get(device.type, _MAX_ELEMENTS), budget)
    blocks = find_blocks(rows, inferred)
    drawn, slots = build_blocks(Columns.of(rows, weight), blocks, n_factors, elements, device)
    csr = CSRRows.from_scipy(rows, device)
    tensor = torch.as_tensor(fields, device=device)
    seen = torch.as_tensor(np.bincount(rows.indices, minlength=rows.shape[1]) > 0, device=device)
    members = FieldMembers.of(tensor, seen, int(fields.max(initial=0)) + 1)
    variance = torch.as_tensor(prior_variances(rows, weight, n_factors), dtype=torch.float64, device=device)
    weights = torch.tensor(weight, dtype=csr.dtype, device=device)
    unseen = (~seen).nonzero().squeeze(1)
    size = max(budget // (n_factors + 2), 1)
    return Problem(csr, weights, drawn, slots[:-1], tensor, members, variance, unseen, size)
