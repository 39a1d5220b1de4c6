"""From NumPy and SciPy to torch and back: devices, data sets, parameters, predictions."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray
from torch import Tensor

from skafm._training.batching import CSRRows, Dataset, as_read_only_tensor, split_batch
from skafm._training.collectives import ProcessGroup
from skafm._training.loop import predict
from skafm.nn._base import Model

if hasattr(os, "register_at_fork"):
    # A forked child has no threads but the one that forked: to wait for those of the parent's pool takes forever.
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


def resolve_device(device: Any) -> torch.device:
    """Return the ``torch.device`` that a constructor parameter names."""
    if not isinstance(device, str | torch.device):
        raise ValueError(f"device must be 'cpu', 'cuda', 'auto', another str or a torch.device, got {device!r}.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        if found.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device={device!r} asks for CUDA, but torch finds no CUDA device: use 'cpu' or 'auto'.")
        torch.Generator(found)  # fails if this torch, or this machine, cannot compute there
    except RuntimeError as error:
        raise ValueError(f"Unknown device {device!r}: use 'cpu', 'cuda', 'cuda:1', ... or 'auto'.") from error
    return found


def make_generator(seed: int, device: torch.device) -> torch.Generator:
    """Return a random generator on the device."""
    return torch.Generator(device).manual_seed(seed)


def to_dataset(
    X: Any,
    target: NDArray[Any],
    weight: NDArray[Any],
    group: ProcessGroup,
    device: torch.device,
    *,
    normalize: bool = True,
) -> Dataset:
    """Put rows, targets and sample weights on the device; ``normalize`` gives the weights of all processes mean 1."""
    _raise_trim_threshold()
    rows = CSRRows.from_scipy(X, device)
    lows, highs = zip(*group.all_gather((weight.min(), weight.max())), strict=True)
    mean = group.all_reduce_sum(weight.sum()) / group.all_reduce_sum(len(weight)) if normalize else 1.0
    tensor = partial(torch.tensor, dtype=rows.dtype, device=device)
    equal = min(lows) == max(highs) and (normalize or min(lows) == 1)
    return Dataset(rows, tensor(target), None if equal else tensor(weight / mean), group, float(mean / min(lows)))


@cache
def _raise_trim_threshold() -> None:
    """Have glibc's malloc keep up to 64 MiB of freed memory, as it does for any process that has freed 32 MiB at once.

    glibc returns free memory at the heap's end to the kernel once it is twice the largest block freed so far. Training
    frees its tensors after each step and would ask the kernel for the same pages in the next: 2,000 faults, 4 ms.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)  # blocks above 32 MiB do not move the threshold


def intercept_of(model: Model) -> tuple[str, Tensor]:
    """Return name and parameter of w0, which every model has under this name, at the top or in its linear part."""
    name = "linear.intercept" if hasattr(model, "linear") else "intercept"
    return name, model.get_parameter(name)


def set_intercept(model: Model, intercept: ArrayLike) -> None:
    """Set the parameter w0."""
    (value,) = tensors_like(model, intercept)
    intercept_of(model)[1].detach().copy_(value)


def tensors_like(model: Model, *numbers: ArrayLike) -> tuple[Tensor, ...]:
    """Return numbers as tensors of the model's dtype, on its device."""
    _, like = intercept_of(model)
    return tuple(torch.as_tensor(np.asarray(number), dtype=like.dtype, device=like.device) for number in numbers)


def load_parameters(
    model: Model, parameters: Mapping[str, ArrayLike], shift: ArrayLike, scale: ArrayLike, device: torch.device
) -> None:
    """Set a model's parameters from arrays, rescaled so that the raw score becomes ``shift + scale * raw``."""
    dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
    _assign(model, {name: torch.tensor(array, dtype=dtypes[name], device=device) for name, array in parameters.items()})
    model._rescale_(*tensors_like(model, shift, scale))
    name, _ = intercept_of(model)
    set_intercept(model, np.add(shift, np.multiply(scale, parameters[name])))  # in float64, if it is


def initial_tables(
    build: Callable[..., Model], seed: int, dtype: DTypeLike, scale: ArrayLike
) -> dict[str, NDArray[Any]]:
    """Return the per-feature parameters of a new model whose raw score is then multiplied by ``scale``.

    Parameters
    ----------
    build : callable
        Takes generator, device and dtype, and returns the model.
    seed : int
    dtype : dtype
    scale : array-like of shape () or (C,)
    """
    device = torch.device("cpu")
    like = torch.from_numpy(np.empty(0, dtype))
    model = build(generator=make_generator(seed, device), device=device, dtype=like.dtype)
    model._rescale_(*tensors_like(model, np.zeros(np.shape(scale)), scale))
    return {name: p.numpy(force=True) for name, p in model.named_parameters() if name in model._per_feature}


def load_shared(model: Model, parameters: Mapping[str, NDArray[Any]], device: torch.device) -> None:
    """Give a model built on the meta device read-only parameters: on the CPU they share the arrays' memory."""
    _assign(model, {name: as_read_only_tensor(array, device) for name, array in parameters.items()})


def _assign(model: Model, tensors: Mapping[str, Tensor]) -> None:
    """Replace all parameters; a table may have the rows of some features only, which ``load_state_dict`` refuses."""
    for path, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                tensor = tensors[f"{path}.{name}" if path else name]
                module._parameters[name] = torch.nn.Parameter(tensor, requires_grad=parameter.requires_grad)


def predict_raw(model: Model, X: Any, device: torch.device, memory: int) -> NDArray[Any]:
    """Return the raw score, (n_samples,) or (n_samples, C), of each row."""
    _raise_trim_threshold()
    raw: NDArray[Any] = predict(model, CSRRows.from_scipy(X, device), model._predict_batch_size, memory).numpy(
        force=True
    )
    return raw


def iter_pair_terms(model: Any, X: Any, device: torch.device, memory: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield the fields of ``PairTerms`` of one part of the rows after another."""
    batch = CSRRows.from_scipy(X, device).slice(0, X.shape[0])
    lengths = batch.offsets.diff().long()
    cost = 16 * model.factors.element_size() * (lengths * (lengths - 1) // 2 + 1)  # three times the result's bytes
    for part, rows in split_batch(batch, cost, memory // 4):
        first, *others = model.pair_terms(*rows, chunk_elements=memory // 64)
        yield tuple(each.numpy(force=True) for each in (first + part.start, *others))


@torch.no_grad()
def deep_terms(model: Any, X: Any, device: torch.device, memory: int) -> NDArray[Any]:
    """Return the term of the raw score, (n_samples,) or (n_samples, C), that the perceptron of a model has."""
    model.train(False)
    batch = CSRRows.from_scipy(X, device).slice(0, X.shape[0])
    costs = model._bytes_per_row(batch.offsets.diff())
    terms: NDArray[Any] = torch.cat([model.deep_term(*rows) for _, rows in split_batch(batch, costs, memory)]).numpy(
        force=True
    )
    return terms
