"""The raw scores of rows by each of many draws.

Letters in shapes: B rows, D draws, k factors.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skafm._training.batching import CSRRows, as_read_only_tensor, split_batch
from skafm.nn import _sparse_ops
from skafm.nn._base import Batch
from skafm.nn.functional import pairs, sum_entries


@torch.no_grad()
def score_draws(
    X: Any,
    intercepts: NDArray[Any],
    weights: NDArray[Any],
    factors: NDArray[Any],
    device: torch.device,
    memory: int,
) -> NDArray[Any]:
    """Return the raw scores (B, D).

    Parameters
    ----------
    X : sparse matrix, sparse array or ndarray of shape (B, n_features)
    intercepts : ndarray of shape (D,)
    weights : ndarray of shape (n_features, D)
    factors : ndarray of shape (n_features, D k)
    device : torch.device
    memory : int
        Bytes for temporary arrays.
    """
    rows = CSRRows.from_scipy(X, device)
    V, w, w0 = (as_read_only_tensor(np.ascontiguousarray(each), device) for each in (factors, weights, intercepts))
    norms = torch.linalg.vector_norm(V.view(*w.shape, -1), dim=2).square_()  # (n_features, D)
    batch = rows.slice(0, len(rows))
    cost = 3 * V.element_size() * V.shape[1] + 64 * batch.offsets.diff().long()  # (B,)
    parts = [_score(part, w0, w, V, norms) for _, part in split_batch(batch, cost, memory)]
    result: NDArray[Any] = torch.cat(parts).numpy(force=True)
    return result


def _score(batch: Batch, intercepts: Tensor, weights: Tensor, factors: Tensor, norms: Tensor) -> Tensor:
    """Return the raw scores (B, D) of a batch, by Rendle's identity."""
    indices, values, offsets = batch
    squares = None if values is None else values.square()
    total = sum_entries(factors, indices, values, offsets)  # (B, D k)
    pooled = total.view(len(total), len(intercepts), -1).square().sum(2)  # (B, D)
    pooled -= sum_entries(norms, indices, squares, offsets)
    pairs = _sparse_ops.zero_short_rows(pooled / 2, 2, values, offsets)
    return intercepts + sum_entries(weights, indices, values, offsets) + pairs


@torch.no_grad()
def iter_pair_draws(
    X: Any, factors: NDArray[Any], device: torch.device, memory: int
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield row, features i and j (P,), and mean and standard deviation (P, C) of pairs' terms, part by part.

    Parameters
    ----------
    X : CSR of shape (B, n_features)
    factors : ndarray of shape (n_features, C, S, k)
        Of S draws.
    device : torch.device
    memory : int
        Bytes for temporary arrays.
    """
    V = as_read_only_tensor(np.ascontiguousarray(factors), device)
    indices, values, offsets = CSRRows.from_scipy(X, device).slice(0, X.shape[0])
    left, right, row = pairs(offsets, len(indices))
    size = max(memory // (4 * V[0].numel() * V.element_size()), 1)
    for start in range(0, len(left), size):
        part = slice(start, start + size)
        i, j = (indices[each[part]] for each in (left, right))  # (c,)
        terms = (V[i] * V[j]).sum(3)  # (c, C, S)
        if values is not None:
            terms *= (values[left[part]] * values[right[part]]).view(-1, 1, 1)
        yield tuple(each.numpy(force=True) for each in (row[part], i, j, terms.mean(2), terms.std(2, correction=0)))
