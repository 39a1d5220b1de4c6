"""What a training step of AFM and of FM could take on CUDA, beside a step of ``fit``, as JSON lines.

    python tests/benchmarks/limit_cuda.py [--sections peak check skafm afm fm fused] [--seconds 150]
    python tests/benchmarks/limit_cuda.py --check

Random one-hot rows with the sizes of Frappe, float32, AFM with t = k = 256 and dropout 0.2. The sections:

``peak``    the speed of matrix products and of a copy. ``peak_share`` below is the part of the fastest product, in the
            precision of the line, that the three products of the attention network over all pairs are; of each batch's
            distinct pairs it is less by the factor that ``distinct`` gives.
``check``   float64 parameters after eight steps beside skafm's on the CPU, on CUDA by the graph; the gradients of each
            way to compute the pairs beside ``skafm.nn.functional``. ``--check`` is this section alone.
``skafm``   an epoch of ``fit``.
``afm``     a step in which no size depends on the data, in plain torch, its kernels launched one by one or by a graph
            of one or eight steps; and its pairs alone. ``update`` is how the rows of the tables are updated.
``fm``      the same of FM. ``copy_share`` is the part of a copy's speed at which a step must read and write.
``fused``   as ``afm``, with the pairs in kernels of Triton, which write no tensor of pairs by factors.

Times are medians of five. A section that fails prints its error, and none starts a measurement after ``--seconds``.
"""

import argparse
import contextlib
import json
import time
import traceback
import warnings
from functools import cache, partial

import numpy as np
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from torch.nn.functional import pad

from skafm import AFMRegressor, FMRegressor
from skafm._training.batching import CSRRows, Dataset
from skafm._training.loop import BatchConfig
from skafm._training.losses import make_loss
from skafm._training.trainer import Trainer
from skafm.nn import AFM, FM, functional

try:
    import triton
    import triton.language as tl
except ImportError:  # torch for the CPU comes without it
    triton = None
jit, constexpr = (triton.jit, tl.constexpr) if triton else (lambda kernel: kernel, None)

warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is the point
FIELDS, N, K = (957, 4082, 7, 7, 2, 3, 2, 9, 80, 233), 202_027, 256  # the columns of each field, the rows, k and t
LEARNING_RATE, L2, AUTO = 0.05, 0.003, min(max(N // 128, 200), 1024)  # AUTO is fit's default batch size
TYPES = {"float64": torch.float64, "float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}
PEAK = {}  # operations a second by precision, and bytes a second of a copy


@cache
def draw(n_rows, fields, batch):
    """Return rows (steps, batch, m), the columns of their one-hot features, and targets (steps, batch)."""
    random, columns, first = np.random.default_rng(0), [], 0
    for size in fields:
        weights = 1 / np.arange(1, size + 1)
        columns.append(first + random.choice(size, n_rows, p=weights / weights.sum()))
        first += size
    rows, target = torch.from_numpy(np.stack(columns, 1)), torch.from_numpy(random.standard_normal(n_rows))
    whole = n_rows // batch * batch
    return rows[:whole].view(-1, batch, len(fields)), target[:whole].view(-1, batch)


def one_hot(rows, n_columns, dtype):
    """Return rows (n, m) as a sparse matrix."""
    n, m = rows.shape
    return sparse.csr_array((np.ones(n * m, dtype), rows.numpy().ravel(), np.arange(0, n * m + 1, m)), (n, n_columns))


@contextlib.contextmanager
def precision(name):
    """Have torch multiply float32 matrices on CUDA in TF32, if that is the name."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def capture(work, times, generator=None):
    """Return a function that does the work some times, as one graph."""
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what a capture may not do is done before: to load, to compile, to choose
        for _ in range(2):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    if generator is not None:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        for _ in range(times):
            work()
    return graph.replay


# Adagrad of the rows of a table that a batch has, in buffers whose sizes do not depend on how many these are.


def adagrad(value, gradient, squares):
    squares.addcmul_(gradient, gradient)
    value.addcmul_(gradient, squares.rsqrt(), value=-LEARNING_RATE)


def update_rows(table, squares, features, gradient):
    """Update some rows; the table's last one, of gradient zero, may be among them several times."""
    value, part = table.index_select(0, features), squares.index_select(0, features)
    adagrad(value, gradient, part)
    table.index_copy_(0, features, value)
    squares.index_copy_(0, features, part)


def update_sorted(table, squares, _, rows, gradient):
    """Find the distinct rows by sorting."""
    keys, order = rows.sort()  # (N,)
    segment, spare = pad((keys[1:] != keys[:-1]).cumsum(0), (1, 0)), len(table) - 1  # (N,)
    features = torch.full((min(len(rows), spare),), spare, device=rows.device).scatter_(0, segment, keys)
    segment = torch.empty_like(segment).scatter_(0, order, segment)  # of the entries as they come
    total = gradient.new_zeros(len(features), gradient.shape[1]).index_add_(0, segment, gradient)
    update_rows(table, squares, features, total)


def update_claimed(table, squares, claims, rows, gradient):
    """Let one entry of each distinct row, the one that writes last, stand for all."""
    positions = torch.arange(len(rows), device=rows.device)  # (N,)
    winner = claims.scatter_(0, rows, positions).index_select(0, rows)  # (N,)
    features = torch.where(winner == positions, rows, len(table) - 1)
    update_rows(table, squares, features, torch.zeros_like(gradient).index_add_(0, winner, gradient))


def update_all(table, squares, _, rows, gradient):
    """Update all rows: Adagrad leaves those as they are whose gradient is zero."""
    adagrad(table, torch.zeros_like(table).index_add_(0, rows, gradient), squares)


UPDATES = {"sort": update_sorted, "claim": update_claimed, "table": update_all}


class Dense:
    """The parameters that are no tables, and their gradients, as views of one tensor each."""

    def __init__(self, parameters):
        parts = sorted(parameters.items(), key=lambda item: -item[1].numel())  # the intercept last: all are aligned
        sizes = [value.numel() for _, value in parts]
        self.flat = torch.cat([value.flatten() for _, value in parts])
        self.gradient, self.squares = torch.zeros_like(self.flat), torch.full_like(self.flat, 1e-8)
        self.values, self.gradients = (
            {name: view.view(value.shape) for (name, value), view in zip(parts, flat.split(sizes), strict=True)}
            for flat in (self.flat, self.gradient)
        )


class Training:
    """Training steps on batches that lie on the device: nothing in a step has a size that depends on the data."""

    def __init__(self, model, rows, target, interaction, update):
        parameters = {name: value.detach().to(target) for name, value in model.named_parameters()}
        factors, weight = parameters.pop("factors"), parameters.pop("linear.weight")
        self.rows, self.target, self.k, self.dense = rows, target, factors.shape[1], Dense(parameters)
        self.at, self.loss = torch.zeros(1, dtype=torch.long, device=rows.device), target.new_zeros(())
        # V and w in one table, of columns that are a multiple of four, and a row that no batch has.
        self.table = pad(torch.cat([factors, weight.unsqueeze(1)], 1), (0, 3, 0, 1))
        self.squares = torch.full_like(self.table, 1e-8)
        self.update = partial(UPDATES[update], self.table, self.squares, rows.new_zeros(len(self.table)))
        self.interaction = interaction(self.dense)

    def step(self):
        rows, target = (each.index_select(0, self.at).squeeze(0) for each in (self.rows, self.target))
        self.at += 1
        entries = self.table.index_select(0, rows.flatten()).view(*rows.shape, -1)  # (B, m, k + 4)
        factors, linear = entries[..., : self.k], entries[..., self.k]
        raw = self.interaction.forward(factors) + linear.sum(1) + self.dense.values["linear.intercept"]  # (B,)
        error = raw - target
        self.loss += error.square().sum()
        g = error.mul_(2 / len(error))
        gradient = torch.empty_like(entries)
        gradient[..., self.k :] = g.view(-1, 1, 1)  # of w, and of the columns beside it, which nothing reads
        self.interaction.backward(g, factors, gradient[..., : self.k])
        gradient[..., : self.k].add_(factors, alpha=2 * L2 / len(g))
        torch.sum(g, 0, out=self.dense.gradients["linear.intercept"])
        self.update(rows.flatten(), gradient.flatten(0, 1))
        adagrad(self.dense.flat, self.dense.gradient, self.dense.squares)

    def capture(self, steps, generator=None):
        """Return a function that takes some steps as a graph, and leave the parameters as they are."""
        self.at.zero_()  # two steps follow, and then the capture
        state = (self.at, self.loss, self.table, self.squares, self.dense.flat, self.dense.squares)
        before = [each.clone() for each in state]
        replay = capture(self.step, steps, generator)
        for own, value in zip(state, before, strict=True):
            own.copy_(value)
        return replay

    def parameters(self):
        """Return the parameters by skafm's names."""
        table = self.table[:-1]
        return self.dense.values | {"factors": table[:, : self.k], "linear.weight": table[:, self.k]}


class Sum:
    """The interaction of FM."""

    def __init__(self, dense):
        pass

    def forward(self, factors):
        self.total = factors.sum(1)  # (B, k)
        return (self.total.square() - factors.square().sum(1)).sum(1) / 2

    def backward(self, g, factors, out):
        torch.sub(self.total.unsqueeze(1), factors, out=out).mul_(g.view(-1, 1, 1))


class Attention:
    """The interaction of AFM."""

    def __init__(self, dense, pairs, dropout=0.0, generator=None):
        self.pairs, self.kept, self.generator = pairs, 1 - dropout, generator
        names = ("attention_weight", "attention_bias", "attention_projection", "projection")
        self.values, self.gradients = ([each[name] for name in names] for each in (dense.values, dense.gradients))

    def forward(self, factors):
        *network, p = self.values
        self.mask = factors.new_ones(len(factors), len(p))  # (B, k)
        if self.kept < 1:
            self.mask.bernoulli_(self.kept, generator=self.generator).div_(self.kept)
        value, self.pooled = self.pairs.forward(factors, p * self.mask, *network)
        return value

    def backward(self, g, factors, out):
        S, signed = self.pairs.backward(g, factors, out)  # see skafm.nn._pairs
        weight, bias, h, _ = self.values
        g_weight, g_bias, g_h, g_p = self.gradients
        torch.mul(h.unsqueeze(1), S, out=g_weight)
        torch.mul(h, signed, out=g_bias)
        torch.add((weight * S).sum(1), bias * signed, out=g_h)
        torch.sum(self.pooled.mul_(g.unsqueeze(1)).mul_(self.mask), 0, out=g_p)


@cache
def has_wide_products():
    """Return whether torch multiplies bfloat16 matrices to float32 ones."""
    one = torch.ones(16, 16, dtype=torch.bfloat16, device="cuda")
    try:
        return bool(torch.mm(one, one[:, :1], out_dtype=torch.float32).sum() == 256)
    except (TypeError, RuntimeError):
        return False


def wide(left, right):
    """Return a product in float32 if the factors are bfloat16, else in their type."""
    if left.dtype == torch.bfloat16 and left.is_cuda and has_wide_products():
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float() if left.dtype == torch.bfloat16 else left @ right


class PlainPairs:
    """All pairs of each row in plain torch; the products of the attention network are of type ``low``."""

    def __init__(self, m, like, low):
        left, right = torch.triu_indices(m, m, 1)
        number = torch.full((m, m), len(left))  # the pair of two entries; on the diagonal one past the last
        number[left, right] = number[right, left] = torch.arange(len(left))
        ends, self.low = torch.stack([left, right]), low
        is_end = (ends.unsqueeze(1) == torch.arange(m).view(1, -1, 1)).to(like)  # (2, m, R)
        self.ends, self.number, self.upper = (x.to(like.device) for x in (ends, number.flatten(), left * m + right))
        self.is_end = is_end

    def forward(self, factors, scale, weight, bias, h):
        """Return the interactions (B,), pooled by scale (B, k), and the pooled vectors (B, k)."""
        B, m, k = factors.shape
        self.weight, self.h, self.scale = weight, h, scale
        self.left, self.right = (factors.index_select(1, end) for end in self.ends)  # (B, R, k)
        self.e = torch.mul(self.left, self.right, out=torch.empty_like(self.left, dtype=self.low)).view(-1, k)
        network = (bias.to(self.low), self.e, weight.to(self.low).T)
        double = self.low == torch.float64
        self.hidden = torch.addmm(*network).relu_() if double else torch._addmm_activation(*network)  # (B R, t)
        self.attention = wide(self.hidden, h.to(self.low).unsqueeze(1)).view(B, -1).softmax(1)  # (B, R)
        # What follows needs no pairs: sum_j a_ij v_j is a product of small matrices, and so are the pairs' scores.
        symmetric = pad(self.attention, (0, 1)).index_select(1, self.number).view(B, m, m)
        self.partners = torch.bmm(symmetric, factors)  # (B, m, k)
        scores = torch.bmm(factors * scale.unsqueeze(1), factors.mT).view(B, -1)
        self.scores = scores.index_select(1, self.upper)  # (B, R)
        self.value = (self.attention * self.scores).sum(1)
        return self.value, (self.partners * factors).sum(1).div_(2)

    def backward(self, g, factors, out):  # noqa: ARG002
        """Write the gradient of the factors and return S (t, k) and sum(g m) (t,)."""
        g_logits = (self.scores - self.value.unsqueeze(1)).mul_(self.attention).mul_(g.unsqueeze(1))
        g_logits = g_logits.to(self.low).view(-1, 1).expand_as(self.hidden)
        gm = torch.ops.aten.threshold_backward(g_logits, self.hidden, 0)  # (B R, t)
        g_e = (gm @ (self.h.unsqueeze(1) * self.weight).to(self.low)).view_as(self.left)  # (B, R, k)
        torch.mul(self.partners, (self.scale * g.unsqueeze(1)).unsqueeze(1), out=out)
        for at, other in zip(self.is_end, (self.right, self.left), strict=True):
            out.baddbmm_(at.expand(len(g), -1, -1), g_e * other)
        return wide(gm.T, self.e), gm.sum(0, dtype=g.dtype)


# The kernels. A row has M entries, STRIDE numbers apart, and R pairs; a program takes B rows, with room for BP pairs
# each, BK factors at a time. Bit u of number v in signs is hidden unit v + u * T // 32's: one thread has them all.
# fmt: off


@jit
def number_pairs(left, right, n, R: constexpr, B: constexpr, BP: constexpr):
    """Return the row, the place among all pairs, and the entries of each pair, and whether it exists."""
    pair = tl.arange(0, B * BP)
    row, number = tl.program_id(0) * B + pair // BP, pair % BP
    one, other = tl.load(left + number, mask=number < R, other=0), tl.load(right + number, mask=number < R, other=0)
    return row, row * R + number, one, other, (number < R) & (row < n)


@jit
def load_ends(factors, i, j, columns, valid):
    left = tl.load(factors + i[:, None] + columns[None, :], mask=valid[:, None], other=0.0)
    return left, tl.load(factors + j[:, None] + columns[None, :], mask=valid[:, None], other=0.0)


@jit
def load_by_row(table, row, n, columns, K: constexpr, B: constexpr, BP: constexpr, BK: constexpr):
    """Return the row of a table (n, K) that belongs to each pair."""
    values = tl.load(table + row[:, None] * K + columns[None, :], mask=row[:, None] < n, other=0.0)
    return tl.reshape(tl.broadcast_to(values[:, None, :], (B, BP, BK)), (B * BP, BK))


@jit
def forward_kernel(
    factors, scale, weight, bias, h, left, right, attention, scores, signs, value, pooled, n, M: constexpr,
    STRIDE: constexpr, R: constexpr, K: constexpr, T: constexpr, B: constexpr, BP: constexpr, BK: constexpr,
):
    """Write attention, scores (n, R), signs (n, R, T // 32), value (n,) and pooled (n, K); weight is (T, K)."""
    row, at, i, j, valid = number_pairs(left, right, n, R, B, BP)
    i, j, mine, t = (row * M + i) * STRIDE, (row * M + j) * STRIDE, tl.arange(0, B), tl.arange(0, T)
    mine += tl.program_id(0) * B
    z, score = tl.zeros((B * BP, T), tl.float32), tl.zeros((B * BP,), tl.float32)
    for start in range(0, K, BK):
        columns = start + tl.arange(0, BK)
        one, other = load_ends(factors, i, j, columns, valid)
        e = one * other
        score += tl.sum(e * load_by_row(scale, mine, n, columns, K, B, BP, BK), 1)
        w = tl.load(weight + t[:, None] * K + columns[None, :])
        z = tl.dot(e.to(w.dtype), tl.trans(w), z, input_precision="tf32")
    z += tl.load(bias + t)[None, :]
    bits = tl.reshape((z > 0).to(tl.int32), (B * BP, 32, T // 32)) << tl.arange(0, 32)[None, :, None]
    words = at[:, None] * (T // 32) + tl.arange(0, T // 32)[None, :]
    tl.store(signs + words, tl.sum(bits, 1), mask=valid[:, None])
    logits = tl.sum(tl.maximum(z, 0.0) * tl.load(h + t)[None, :], 1)
    logits = tl.reshape(tl.where(valid, logits, -1e30), (B, BP))
    a = tl.exp(logits - tl.max(logits, 1)[:, None])
    a = tl.reshape(a / tl.sum(a, 1)[:, None], (B * BP,))
    tl.store(attention + at, a, mask=valid)
    tl.store(scores + at, score, mask=valid)
    tl.store(value + mine, tl.sum(tl.reshape(a * score, (B, BP)), 1), mask=mine < n)
    for start in range(0, K, BK):
        columns = start + tl.arange(0, BK)
        one, other = load_ends(factors, i, j, columns, valid)
        total = tl.sum(tl.reshape(one * other * a[:, None], (B, BP, BK)), 1)
        tl.store(pooled + mine[:, None] * K + columns[None, :], total, mask=mine[:, None] < n)


@jit
def entries_kernel(
    factors, scale, weight, left, right, attention, scores, signs, value, g, g_logits, gradient, n, M: constexpr,
    STRIDE: constexpr, R: constexpr, K: constexpr, T: constexpr, B: constexpr, BP: constexpr, BK: constexpr,
    BM: constexpr,
):
    """Write the gradients of the logits (n, R) and of the factors; weight is h * W, transposed, (K, T)."""
    row, at, left_entry, right_entry, valid = number_pairs(left, right, n, R, B, BP)
    i, j, mine, t = (row * M + left_entry) * STRIDE, (row * M + right_entry) * STRIDE, tl.arange(0, B), tl.arange(0, T)
    mine += tl.program_id(0) * B
    ag = tl.load(attention + at, mask=valid, other=0.0) * tl.load(g + row, mask=valid, other=0.0)
    gl = ag * (tl.load(scores + at, mask=valid, other=0.0) - tl.load(value + row, mask=valid, other=0.0))
    tl.store(g_logits + at, gl, mask=valid)
    words = at[:, None] * (T // 32) + tl.arange(0, T // 32)[None, :]
    bits = tl.load(signs + words, mask=valid[:, None], other=0)[:, None, :] >> tl.arange(0, 32)[None, :, None]
    positive = tl.reshape(bits & 1, (B * BP, T)).to(weight.dtype.element_ty)
    entry = tl.arange(0, B * BM)
    here = (entry // BM)[:, None] == (tl.arange(0, B * BP) // BP)[None, :]
    to_left = (here & valid[None, :] & ((entry % BM)[:, None] == left_entry[None, :])).to(tl.float32)  # (B BM, B BP)
    to_right = (here & valid[None, :] & ((entry % BM)[:, None] == right_entry[None, :])).to(tl.float32)
    entry_row = tl.program_id(0) * B + entry // BM
    exists = (entry % BM < M) & (entry_row < n)
    out = gradient + (entry_row * M + entry % BM) * STRIDE
    for start in range(0, K, BK):
        columns = start + tl.arange(0, BK)
        w = tl.load(weight + columns[:, None] * T + t[None, :])
        g_e = tl.dot(positive, tl.trans(w), input_precision="tf32") * gl[:, None]  # (B BP, BK)
        g_e += ag[:, None] * load_by_row(scale, mine, n, columns, K, B, BP, BK)
        one, other = load_ends(factors, i, j, columns, valid)
        total = tl.dot(to_left, g_e * other, input_precision="tf32")
        total = tl.dot(to_right, g_e * one, total, input_precision="tf32")
        tl.store(out[:, None] + columns[None, :], total, mask=exists[:, None])


@jit
def weight_kernel(
    factors, left, right, signs, g_logits, S, signed, n_pairs, M: constexpr, STRIDE: constexpr, R: constexpr,
    K: constexpr, T: constexpr, BP: constexpr, BK: constexpr, L: constexpr,
):
    """Write S (programs, T, K) and sum(g m) (programs, T) of a part of the pairs each, by products of type L."""
    part, t, columns = tl.program_id(1), tl.arange(0, T), tl.program_id(0) * BK + tl.arange(0, BK)
    total, total_signed = tl.zeros((T, BK), tl.float32), tl.zeros((T, 16), tl.float32)
    for start in range(part * BP, n_pairs, tl.num_programs(1) * BP):
        pair = start + tl.arange(0, BP)
        valid, row, number = pair < n_pairs, pair // R, pair % R
        i, j = (row * M + tl.load(left + number)) * STRIDE, (row * M + tl.load(right + number)) * STRIDE
        one, other = load_ends(factors, i, j, columns, valid)
        words = tl.arange(0, T // 32)[:, None] + pair[None, :] * (T // 32)
        bits = tl.load(signs + words, mask=valid[None, :], other=0)[None, :, :] >> tl.arange(0, 32)[:, None, None]
        gl = tl.load(g_logits + pair, mask=valid, other=0.0)
        positive = tl.reshape(bits & 1, (T, BP)).to(L)
        total = tl.dot(positive, (one * other * gl[:, None]).to(L), total, input_precision="tf32")
        same = tl.broadcast_to(gl[:, None], (BP, 16)).to(L)
        total_signed = tl.dot(positive, same, total_signed, input_precision="tf32")
    tl.store(S + (part * T + t[:, None]) * K + columns[None, :], total)
    if tl.program_id(0) == 0:
        tl.store(signed + part * T + t, tl.sum(total_signed, 1) / 16)


# fmt: on


class FusedPairs:
    """All pairs of each row in three kernels, as :class:`PlainPairs`, but float32 stands for TF32."""

    def __init__(self, m, like, low, rows=1, warps=4, columns=32):
        self.ends = torch.triu_indices(m, m, 1, dtype=torch.int32, device=like.device)
        self.low, self.rows, self.m, self.R = low, rows, m, self.ends.shape[1]
        self.options = {"B": rows, "BP": max(triton.next_power_of_2(self.R), 16 // rows), "BK": columns}
        self.options |= {"num_warps": warps, "num_stages": 2}

    def forward(self, factors, scale, weight, bias, h):
        (n, _, k), t, new = factors.shape, len(h), factors.new_empty
        self.weight, self.h, self.scale = weight, h, scale
        self.sizes = {"M": self.m, "STRIDE": factors.stride(1), "R": self.R, "K": k, "T": t}
        self.saved = (new(n, self.R), new(n, self.R), new(n, self.R, t // 32, dtype=torch.int32), new(n))
        arguments = (factors, scale, weight.to(self.low), bias, h, *self.ends, *self.saved, pooled := new(n, k), n)
        forward_kernel[triton.cdiv(n, self.rows),](*arguments, **self.sizes, **self.options)
        return self.saved[3], pooled

    def backward(self, g, factors, out):
        (n, _, k), t, new = factors.shape, len(self.h), factors.new_empty
        weight = torch.mul(self.weight.T, self.h, out=new(k, t, dtype=self.low))
        arguments = (factors, self.scale, weight, *self.ends, *self.saved, g, g_logits := new(n, self.R), out, n)
        entries = max(triton.next_power_of_2(self.m), 16 // self.rows)
        entries_kernel[triton.cdiv(n, self.rows),](*arguments, **self.sizes, **self.options, BM=entries)
        columns, parts = min(64, k), min(66, triton.cdiv(n * self.R, 64))
        S, signed = new(parts, t, k), new(parts, t)
        arguments = (factors, *self.ends, self.saved[2], g_logits, S, signed, n * self.R)
        low = getattr(tl, str(self.low).removeprefix("torch."))
        blocks = {"BP": 64, "BK": columns, "L": low, "num_warps": 8, "num_stages": 2}
        weight_kernel[k // columns, parts](*arguments, **self.sizes, **blocks)
        return S.sum(0), signed.sum(0)


def report(section, **figures):
    """Print one measurement."""
    short = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps({"section": section, **short}), flush=True)


def repeat(work, times):
    """Return a function that does the work some times."""
    return lambda: [work() for _ in range(times)]


def milliseconds(work, steps, before=lambda: None):
    """Return the milliseconds a step, the median of five."""
    if time.monotonic() > DEADLINE:
        raise TimeoutError("--seconds are over")
    found = []
    for _ in range(5):
        before()
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        found.append((time.perf_counter() - start) * 1e3 / steps)
    return float(np.median(found))


def peak(device):
    """Measure square products, those of the attention network's shape, and a copy."""
    versions = {"torch": torch.__version__, "triton": getattr(triton, "__version__", None)}
    report("peak", device=torch.cuda.get_device_name(), **versions)
    for name in ("float32", "tf32", "bfloat16"):
        for n, k in ((4096, 4096), (4096 * 45, K)):
            left, right = (torch.randn(size, k, device=device).to(TYPES[name]) for size in (n, k))
            with precision(name):
                work = repeat(partial(torch.mm, left, right), 20)
                work()
                speed = 2e3 * n * k * k / milliseconds(work, 20)
            PEAK[name] = max(PEAK.get(name, 0), speed)
            report("peak", product=name, shape=[n, k, k], TFLOP_s=speed / 1e12)
    one, other = torch.randn(2, 2**28, device=device)
    PEAK["copy"] = 2e3 * one.nbytes / milliseconds(repeat(partial(other.copy_, one), 10), 10)
    report("peak", copy_GB_s=PEAK["copy"] / 1e9)


def peak_share(batch, step, name):
    """Return the part of the peak that the products of a step of so many milliseconds are."""
    pairs = batch * len(FIELDS) * (len(FIELDS) - 1) // 2
    return 6e3 * K * K * pairs / step / PEAK[name] if name in PEAK else None


@cache
def distinct(batch, n_batches=10):
    """Return how many of a batch's entries, and of its pairs, are distinct."""
    some = [rows.numpy() for rows in draw(N, FIELDS, batch)[0][:n_batches]]
    left, right = np.triu_indices(len(FIELDS), 1)
    pairs = [rows[:, left] * sum(FIELDS) + rows[:, right] for rows in some]
    return [float(np.mean([len(np.unique(part)) / part.size for part in parts])) for parts in (some, pairs)]


def check_training(device):
    """Compare steps in float64 with skafm's on the CPU."""
    rows, target = draw(256, (7, 30, 2, 5), 32)
    X = one_hot(rows.flatten(0, 1), 44, np.float64)
    dataset = Dataset(CSRRows.from_scipy(X, torch.device("cpu")), target.flatten(), None)
    for update in UPDATES:
        for kind, sizes in ((FM, (16,)), (AFM, (16, 32))):
            model = kind(44, *sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
            for seed, value in enumerate(model.parameters()):  # no part of the gradient is zero then
                value.data += 0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))
            pairs = PlainPairs(len(rows[0, 0]), target.to(device), torch.float64)
            interaction = partial(Attention, pairs=pairs) if kind is AFM else Sum
            training = Training(model, rows.to(device), target.to(device), interaction, update)
            repeat(training.step if device == "cpu" else training.capture(1), len(rows))()
            before = {name: value.detach().clone() for name, value in model.named_parameters()}
            config = BatchConfig(32, shuffle=False, memory=2**30)
            trainer = Trainer(
                model, None, make_loss("squared_error"), {"factors": L2}, "adagrad", LEARNING_RATE, config
            )
            next(trainer.epochs(dataset))
            found, after = training.parameters(), {name: value.detach() for name, value in model.named_parameters()}
            worst = max(float((found[name].cpu() - value).abs().max()) for name, value in after.items())
            moved = min(float((before[name] - value).abs().max()) for name, value in after.items())
            about = {"model": kind.__name__, "update": update, "device": device, "least_moved": moved}
            report("check", **about, largest_difference=worst, right=worst < 1e-8)


def expected_gradients(factors, scale, weight, bias, h, g):
    """Return value, pooled vectors, and gradients of factors, W and b, of skafm.nn.functional."""
    n, m, k = factors.shape
    table, weight, bias = (each.clone().requires_grad_() for each in (factors.flatten(0, 1), weight, bias))
    batch = (torch.arange(n * m), None, torch.arange(0, n * m + 1, m))
    pooled = functional.attentional_pooling(table, weight, bias, h, *batch)
    value = (pooled * scale).sum(1)
    g_table, *others = torch.autograd.grad(value @ g, [table, weight, bias])
    return value.detach(), pooled.detach(), g_table.view(n, m, k), *others


def check_pairs(name, make, n, m, k, device):
    """Report the relative errors of one way to compute the pairs."""
    draws, shapes = torch.Generator().manual_seed(2), ((n, m, k), (n, k), (k, k), (k,), (k,), (n,))
    inputs = [torch.randn(shape, generator=draws, dtype=torch.float64) for shape in shapes]
    inputs[2], inputs[4] = inputs[2] / k**0.5, inputs[4] / k**0.5
    like = torch.empty(0, dtype=torch.float64 if name == "float64" else torch.float32, device=device)
    factors, scale, *network, g = (each.to(like) for each in inputs)
    table, out = pad(factors, (0, 4)), torch.full_like(pad(factors, (0, 4)), torch.nan)[..., :k]
    with precision(name):
        pairs = make(m, like, TYPES[name])
        value, pooled = pairs.forward(table[..., :k], scale, *network)
        S, signed = pairs.backward(g, table[..., :k], out)
    found = (value, pooled, out, network[2].unsqueeze(1) * S, network[2] * signed)
    errors = {
        what: float((own.cpu().double() - right).norm() / right.norm())
        for what, own, right in zip(
            ("value", "pooled", "g_factors", "g_weight", "g_bias"), found, expected_gradients(*inputs), strict=True
        )
    }
    bound = {"float64": 1e-12, "float32": 1e-5, "tf32": 5e-2, "bfloat16": 1e-1}[name]
    about = {"pairs": getattr(make, "func", make).__name__, "precision": name, "rows": n, "entries": m, "k": k}
    report("check", **about, **errors, right=max(errors.values()) < bound)


def check(device):
    """Compare with skafm."""
    check_training(device)
    for name in TYPES:
        check_pairs(name, PlainPairs, 64, 10, K if device == "cuda" else 32, device)
    for n, m, rows in ((3, 3, 2), (5, 5, 1), (5, 7, 2), (4, 10, 1), (3, 10, 2)):
        if device == "cpu" and triton:  # TRITON_INTERPRET=1 is set; it multiplies in float32
            check_pairs("tf32", partial(FusedPairs, rows=rows), n, m, 32, device)


def fit(device):
    """Measure epochs of fit."""
    rows, target = draw(N, FIELDS, 1)
    X, y = one_hot(rows.flatten(0, 1), sum(FIELDS), np.float32), target.flatten().numpy()
    attention = {"attention_size": K, "dropout": 0.2}
    cases = [(AFMRegressor, K, batch, device, attention) for batch in (4096, 128)]
    for k in (16, 64):
        cases += [(FMRegressor, k, b, where, {}) for b in (AUTO, 4096) for where in (device, "cpu")]
    for kind, k, batch, where, options in cases:
        settings = {"max_iter": 1, "early_stopping": False, "random_state": 0, "device": where, **options}
        model, seconds = kind(k, batch_size=batch, **settings), []
        model.fit(X[: 2 * batch], y[: 2 * batch])
        while len(seconds) < 3 and sum(seconds) < 3:
            start = time.perf_counter()
            model.fit(X, y)
            seconds.append(time.perf_counter() - start)
        epoch = float(np.median(seconds))
        step = epoch * 1e3 / -(-N // batch)
        share = {"peak_share": peak_share(batch, step, "float32")} if options else {}
        about = {"model": kind.__name__, "k": k, "batch": batch, "device": where, "epochs": len(seconds)}
        report("skafm", **about, s_per_epoch=epoch, step_ms=step, **share)


def time_steps(model, batch, device, interaction, update, generator=None):
    """Return milliseconds a step, launched one by one and by graphs, and of the fastest the seconds of an epoch."""
    rows, target = draw(N, FIELDS, batch)
    training = Training(model, rows.to(device), target.float().to(device), interaction, update)
    n, found, reset = len(rows), {}, training.at.zero_
    repeat(training.step, 2)()
    found["launched_ms"] = milliseconds(repeat(training.step, min(n, 50)), min(n, 50), reset)
    for steps in (1, min(8, n)):
        replay, replays = training.capture(steps, generator), min(n, 400) // steps
        found[f"graph_of_{steps}_ms"] = milliseconds(repeat(replay, replays), replays * steps, reset)
    if not training.table.isfinite().all():
        raise FloatingPointError(f"the parameters are not finite, after {found}")
    step = min(found.values())
    return step, found | {"s_per_epoch": step * -(-N // batch) / 1e3}


def time_afm(section, device, batch, name, update, make, **about):
    """Measure the steps of an AFM in one precision."""
    generator = torch.Generator(device).manual_seed(0)
    model = AFM(sum(FIELDS), K, K, initial_projection=45.0, generator=torch.Generator().manual_seed(0))
    with precision(name):
        pairs = make(len(FIELDS), torch.empty(0, device=device), TYPES[name])
        interaction = partial(Attention, pairs=pairs, dropout=0.2, generator=generator)
        step, found = time_steps(model, batch, device, interaction, update, generator)
    share = peak_share(batch, step, name)
    report(section, batch=batch, precision=name, update=update, **about, **found, peak_share=share)


def time_pairs(section, device, batch, name, make, **about):
    """Measure the pairs alone, forward and as a whole, and return the milliseconds of the whole."""
    shapes = ((batch, len(FIELDS), K + 4), (batch, K), (K, K), (K,), (K,), (batch,))
    table, *arguments, g = (torch.randn(shape, device=device) / 16 for shape in shapes)
    factors, out = table[..., :K], torch.empty_like(table)[..., :K]
    with precision(name):
        pairs = make(len(FIELDS), g, TYPES[name])
        forward = partial(pairs.forward, factors, *arguments)
        works = {"forward_ms": forward, "pairs_ms": lambda: (forward(), pairs.backward(g, factors, out))}
        found = {key: milliseconds(repeat(capture(work, 10), 10), 100) for key, work in works.items()}
    share = peak_share(batch, found["pairs_ms"], name)
    report(section, only="pairs", batch=batch, precision=name, **about, **found, peak_share=share)
    return found["pairs_ms"]


def afm(device):
    """Measure AFM in plain torch."""
    report("afm", distinct_entries_and_pairs={batch: distinct(batch) for batch in (128, 4096)})
    for batch in (4096, 128):
        for name in ("float32", "tf32", "bfloat16"):
            time_pairs("afm", device, batch, name, PlainPairs)
            for update in UPDATES if name == "bfloat16" else ["sort"]:
                time_afm("afm", device, batch, name, update, PlainPairs)


def fm(device):
    """Measure FM."""
    for batch in (AUTO, 4096, 32768):
        for k in (16, 64):
            for update in UPDATES:
                model = FM(sum(FIELDS), k, generator=torch.Generator().manual_seed(0))
                step, found = time_steps(model, batch, device, Sum, update)
                # An entry is read; of each distinct one, the parameter and Adagrad's sum are read and written.
                needed = 4e3 * (k + 1) * batch * len(FIELDS) * (1 + 4 * distinct(batch, 3)[0])
                share = needed / step / PEAK["copy"] if PEAK else None
                report("fm", k=k, batch=batch, update=update, **found, copy_share=share)


def fused(device):
    """Check and measure the pairs in Triton, and the steps with what is fastest in each precision."""
    fastest = {}
    cases = (("bfloat16", 1, 4, 64), ("bfloat16", 1, 4, 32), ("bfloat16", 2, 8, 32), ("tf32", 1, 4, 32))
    for name, rows, warps, columns in cases:
        about = {"rows": rows, "warps": warps, "columns": columns}
        make = partial(FusedPairs, **about)
        with reported_errors("fused", precision=name, **about):
            check_pairs(name, make, 64, len(FIELDS), K, device)
            for batch in (4096, 128):
                found = time_pairs("fused", device, batch, name, make, **about)
                fastest[batch, name] = min(fastest.get((batch, name), (np.inf,)), (found, rows, warps, columns))
    for (batch, name), (_, rows, warps, columns) in fastest.items():
        make = partial(FusedPairs, rows=rows, warps=warps, columns=columns)
        for update in UPDATES if name == "bfloat16" else ["sort"]:
            time_afm("fused", device, batch, name, update, make)


SECTIONS = {"peak": peak, "check": check, "skafm": fit, "afm": afm, "fm": fm, "fused": fused}


@contextlib.contextmanager
def reported_errors(section, **about):
    """Print an error, and go on."""
    try:
        yield
    except Exception as error:
        *_, where = traceback.extract_tb(error.__traceback__)
        what = f"{type(error).__name__}: {error}"[:600]
        report(section, **about, error=what, line=f"{where.filename}:{where.lineno}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    DEADLINE = time.monotonic() + options.seconds
    for section in ["check"] if options.check else options.sections:
        start = time.monotonic()
        with reported_errors(section):
            SECTIONS[section]("cuda" if torch.cuda.is_available() else "cpu")
        report(section, seconds=time.monotonic() - start)
