"""Attention over the pairs of rows of one length in three Triton kernels: no tensor of pairs by factors is written.

Equal to :func:`skafm.nn._pairs.entries.attentional_pooling`. With the entries ``z_i = v_i x_i`` of a row, a pass over
its pairs forms ``e_ij = z_i * z_j`` in registers, multiplies it by W on the tensor cores, and takes ReLU, h and a
softmax over the pairs that is corrected as they come, as FlashAttention (Dao et al., 2022) does over keys:

    ``l_ij = h' ReLU(W e_ij + b)``, ``pooled = sum_{i<j} exp(l_ij) e_ij / sum_{i<j} exp(l_ij)``  (Eq. 4 and 5)

Only the pooled vectors and the logarithms of the denominators are kept for the backward pass, which forms the pairs
again. It has the gradients of fact 4 in :mod:`skafm.nn._pairs`. For that of W it writes two things of a pair: the
gradient of its logit, and the signs of its hidden units, a bit each. All sums are added up in a fixed order.

A pair's number is ``j (j - 1) / 2 + i``, i < j. So the pairs of the first n entries are the first n (n - 1) / 2, and no
pair is formed with an entry that fills up a shorter row.
"""

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from skafm._options import EXPERIMENTAL_CUDA, experimental_cuda

_MAX_ENTRIES = 64
"""Most entries of a row: a program adds up the gradients of all of them in one tile."""
COLUMNS, WARPS = 32, 8
"""Factors that are read at a time, and warps of a program: for k = t = 256 Hopper has registers for that."""
_MAX_HIDDEN = 512
"""Most hidden units t: with more, Hopper has too little shared memory for a program."""
_MAX_TILE = 2**14
"""Most numbers of a tile (BP, TP) of hidden units."""
_MAX_PARTS = 66
"""Most partial sums of the gradient of W."""


def suit(entries: Tensor, weight: Tensor) -> bool:
    """Return whether the kernels are turned on and made for entries (B, m, k) and W (t, k)."""
    return entries.is_cuda and enabled(entries.shape[1], len(weight), entries.itemsize)


def enabled(length: int, t: int, itemsize: int) -> bool:
    """Return whether the kernels are turned on, which they are not by default, and made for rows of such a length."""
    made = length <= _MAX_ENTRIES and t <= _MAX_HIDDEN and itemsize == torch.float32.itemsize
    return made and experimental_cuda()


def bytes_per_row(length: int, k: int, t: int, itemsize: int) -> int:
    """Return the memory that a row of a batch needs in training."""
    return length * (length - 1) // 2 * (itemsize + max(_power_of_2(t), 32) // 8) + 12 * itemsize * length * k


def attentional_pooling(
    entries: Tensor,
    weight: Tensor,
    bias: Tensor,
    attention_projection: Tensor,
    exists: Tensor | None = None,
    matmul_dtype: torch.dtype | None = None,
) -> Tensor:
    """Return ``sum_{i<j} a_ij z_i * z_j`` of each row (Eq. 4).

    Parameters
    ----------
    entries, weight, bias, attention_projection, matmul_dtype
        As for :func:`skafm.nn._pairs.entries.attentional_pooling`. Products of float32 factors are in TF32 if torch's
        own are (``torch.set_float32_matmul_precision``), otherwise in three of these, about as exact as float32.
    exists : Tensor of shape (B, m), optional
        Whether an entry belongs to its row; in each row those that do come first. By default all do.

    Returns
    -------
    Tensor of shape (B, k)

    Raises
    ------
    ImportError
        If Triton is not installed.
    """
    n_rows, m, _ = entries.shape
    lengths = entries.new_full((n_rows,), m, dtype=torch.int32) if exists is None else exists.sum(1, dtype=torch.int32)
    n_pairs = lengths * (lengths - 1) // 2  # (B,)
    network = (weight, bias, attention_projection)
    pooled: Tensor = _Pooling.apply(  # type: ignore[no-untyped-call]
        entries, *network, n_pairs, matmul_dtype or entries.dtype
    )
    return pooled


class _Launch(NamedTuple):
    """What the kernels of a batch are compiled for."""

    ends: tuple[Tensor, Tensor]
    """(P,) Left and right entry of each pair."""
    n_slots: int
    """B P"""
    sizes: dict[str, Any]

    @classmethod
    def of(cls, entries: Tensor, t: int, dtype: torch.dtype) -> "_Launch":
        """Return what suits entries (B, m, k), a hidden layer of t units and products of a type."""
        n_rows, m, k = entries.shape
        n_pairs, TP = m * (m - 1) // 2, max(_power_of_2(t), 32)
        exact = dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest"
        most = max(_MAX_TILE // (2 * TP if exact else TP), 16)  # three products need more registers
        BP = min(max(_power_of_2(n_pairs), 16), most, 64)
        right, left = torch.tril_indices(m, m, -1, dtype=torch.int32, device=entries.device)  # (P,)
        sizes = {"M": m, "K": k, "T": t, "TP": TP, "BP": BP, "PRECISION": "tf32x3" if exact else "tf32"}
        return cls((left, right), n_rows * n_pairs, sizes)

    def options(self, columns: int, warps: int, **more: Any) -> dict[str, Any]:
        """Return the arguments by name of a kernel that reads ``columns`` factors at a time."""
        BK = max(min(_power_of_2(self.sizes["K"]), columns), 16)
        return self.sizes | {"BK": BK, "num_warps": warps, "num_stages": 2} | more


def _power_of_2(n: int) -> int:
    """Return the smallest power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def _kernels() -> ModuleType:
    """Return the module of the kernels, whose import takes a while."""
    from skafm.nn._pairs import kernels  # noqa: PLC0415

    if kernels.triton is None:
        raise ImportError(
            f"{EXPERIMENTAL_CUDA}=1 needs Triton, which comes with torch for CUDA on Linux: pip install triton, or "
            "unset the variable."
        )
    return kernels


class _Pooling(torch.autograd.Function):
    """The pooled vectors (B, k) of entries (B, m, k), with the number of pairs (B,) of each row."""

    @staticmethod
    def forward(
        ctx: Any, entries: Tensor, weight: Tensor, bias: Tensor, h: Tensor, n_pairs: Tensor, dtype: torch.dtype
    ) -> Tensor:
        kernels, entries, launch = _kernels(), entries.contiguous(), _Launch.of(entries, len(h), dtype)
        pooled, denominators = entries.new_empty(len(entries), entries.shape[2]), entries.new_empty(len(entries))
        arguments = (entries, weight.to(dtype).contiguous(), bias, h, *launch.ends, n_pairs, pooled, denominators)
        kernels.pool_kernel[len(entries),](*arguments, **launch.options(COLUMNS, WARPS))
        ctx.save_for_backward(entries, weight, bias, h, n_pairs, pooled, denominators)
        ctx.dtype, ctx.launch = dtype, launch
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        entries, weight, bias, h, n_pairs, pooled, denominators = ctx.saved_tensors
        q = gradients[0].contiguous()  # (B, k)
        scaled = weight * h.unsqueeze(1)  # (t, k)
        inputs = (entries, weight.to(ctx.dtype).contiguous(), bias, h, scaled.to(ctx.dtype).contiguous())
        softmax = (denominators, q, (pooled * q).sum(1))
        g_entries, *of_pairs = _entries_gradient(ctx.launch, inputs, n_pairs, softmax)
        S, signed = _weight_sums(ctx.launch, entries, n_pairs, of_pairs, ctx.dtype)
        return g_entries, S * h.unsqueeze(1), signed * h, (S * weight).sum(1) + signed * bias, None, None


def _entries_gradient(
    launch: _Launch, inputs: tuple[Tensor, ...], n_pairs: Tensor, softmax: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the entries (B, m, k) and logits (B P,), and the signs (B P, TP // 32)."""
    entries, n_slots = inputs[0], launch.n_slots
    g_entries, g_logits = torch.empty_like(entries), entries.new_empty(n_slots)
    signs = entries.new_empty(n_slots, launch.sizes["TP"] // 32, dtype=torch.int32)
    arguments = (*inputs, *launch.ends, n_pairs, *softmax, g_logits, signs, g_entries)
    options = launch.options(COLUMNS, WARPS, P=len(launch.ends[0]), BM=max(_power_of_2(entries.shape[1]), 16))
    _kernels().entries_kernel[len(entries),](*arguments, **options)
    return g_entries, g_logits, signs


def _weight_sums(
    launch: _Launch, entries: Tensor, n_pairs: Tensor, of_pairs: list[Tensor], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return S (t, k) and sum(g m) (t,), from the gradients of the logits and the signs."""
    kernels, k, t = _kernels(), launch.sizes["K"], launch.sizes["T"]
    n_parts = max(min(_MAX_PARTS, -(-launch.n_slots // launch.sizes["BP"])), 1)
    S, signed = entries.new_empty(n_parts, t, k), entries.new_empty(n_parts, t)
    product_type = getattr(kernels.tl, str(dtype).removeprefix("torch."))
    options = launch.options(2 * COLUMNS, 8, P=max(len(launch.ends[0]), 1), L=product_type)
    arguments = (entries, *launch.ends, n_pairs, *of_pairs, S, signed, launch.n_slots)
    kernels.weight_kernel[-(-k // options["BK"]), n_parts](*arguments, **options)
    return S.sum(0), signed.sum(0)
