"""How much each feature moves the raw score of the training rows. No model is known."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.func import functional_call

from skafm._training.batching import Dataset, split_batch
from skafm._training.conversion import intercept_of
from skafm.nn._base import Batch, Model, TransposedBatch

_MAX_ENTRIES = 2**16
"""With more entries in all rows and outputs, a random sample has about this many: below 3 % of a fit's time."""
_COPIES = 6
"""Most tensors of the size of an entry's parameters at a time: a copy, powers, gradients and products."""


def feature_importances(
    model: Model, dataset: Dataset, scale: ArrayLike, generator: torch.Generator, memory: int
) -> NDArray[np.float64]:
    """Return the weighted mean of ``|x_i d raw / d x_i|`` over rows and outputs, for each feature.

    Parameters
    ----------
    model : Model
    dataset : Dataset
        All rows count if they have few entries; of others a random sample does.
    scale : array-like of shape () or (C,)
        Unit of each output.
    generator : torch.Generator
        Draws the sample, on the device of the data set.
    memory : int
        Most bytes to use at a time.

    Returns
    -------
    ndarray of shape (n_features,)
        The same on all ranks.
    """
    n_outputs = intercept_of(model)[1].numel()
    rows, outputs = _draw(dataset, n_outputs, generator)  # (S,)
    batch = dataset.rows.take(rows)
    entry_terms = gradient_times_input(model, batch, outputs, memory).double().numpy(force=True)  # (N,)
    weight = np.ones(len(rows)) if dataset.weight is None else dataset.weight[rows].double().numpy(force=True)
    units = weight * np.broadcast_to(scale, n_outputs)[outputs.numpy(force=True)]  # (S,)
    sizes = np.abs(entry_terms) * np.repeat(units, batch.offsets.diff().numpy(force=True))  # (N,)
    sums = np.bincount(batch.indices.numpy(force=True), sizes, minlength=dataset.rows.n_features)  # (n_features,)
    totals: NDArray[np.float64] = dataset.group.all_reduce_sum(np.append(sums, weight.sum()))
    mean: NDArray[np.float64] = totals[:-1] / totals[-1]
    return mean


def _draw(dataset: Dataset, n_outputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return rows (S,) and an output (S,) of each: every output of every row, or some drawn at random."""
    n_cells, device = len(dataset.rows) * n_outputs, dataset.rows.device
    n_entries = n_outputs * dataset.group.all_reduce_sum(len(dataset.rows.indices))
    if n_entries <= _MAX_ENTRIES:
        cells = torch.arange(n_cells, device=device)
    else:
        size = max(n_cells * _MAX_ENTRIES // n_entries, 1)
        cells = torch.randint(n_cells, (size,), generator=generator, device=device)
    return cells // n_outputs, cells % n_outputs


def gradient_times_input(model: Model, batch: Batch, outputs: Tensor, memory: int) -> Tensor:
    """Return ``x_i d raw / d x_i`` (N,) of each entry, for one output (B,) of each row (Shrikumar et al., 2016).

    The raw score depends on x_i only through the products of x_i with the feature's rows u of the per-feature
    parameters. Where each entry has its own copies of these rows, ``x_i d raw / d x_i = sum_u <u, d raw / d u>``.
    """
    model.train(False)
    numbers = [p[0].numel() * p.element_size() for name, p in model.named_parameters() if name in model._per_feature]
    lengths = batch.offsets.diff()
    costs = model._bytes_per_row(lengths) + _COPIES * sum(numbers) * lengths.long()  # (B,)
    parts = split_batch(batch, costs, memory)
    return torch.cat([_gradient_times_input(model, part, outputs[rows]) for rows, part in parts])


def _gradient_times_input(model: Model, batch: Batch, outputs: Tensor) -> Tensor:
    """Return ``x_i d raw / d x_i`` (N,) of the entries of a micro-batch."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    copies = {name: parameters[name].index_select(0, batch.indices) for name in model._per_feature}  # (N, ...)
    tables = [table.requires_grad_() for table in copies.values() if table.is_floating_point()]
    raw: Tensor = functional_call(model, parameters | copies, _renumber(batch))  # (B,) or (B, C)
    chosen = raw if raw.ndim == 1 else raw.gather(1, outputs.unsqueeze(1))
    gradients = torch.autograd.grad(chosen.sum(), tables)
    products = (table.detach() * gradient for table, gradient in zip(tables, gradients, strict=True))
    return torch.stack([product.unsqueeze(-1).flatten(1).sum(1) for product in products]).sum(0)


def _renumber(batch: Batch) -> tuple[Tensor, Tensor | None, Tensor, TransposedBatch]:
    """Return the batch with each entry a feature of its own, and the same transposed."""
    _, values, offsets = batch
    offsets, n_entries = offsets.long(), len(batch.indices)
    entries = torch.arange(n_entries + 1, device=offsets.device)
    rows = torch.arange(len(offsets) - 1, device=offsets.device)
    rows = rows.repeat_interleave(offsets.diff(), output_size=n_entries)  # (N,)
    return entries[:-1], values, offsets, TransposedBatch(rows, values, entries)
