"""Kernels in Triton for the pairs of rows of one length, launched by ``fused``, whose docstring has the equations.

No tensor of pairs by factors or by hidden units is ever written. Row r has ``n_pairs[r]`` of the P pairs of M entries.

Letters beside those of the package: BP pairs of a tile, BK of its factors at a time, TP the next power of two of t, BM
that of M. What is beyond K, t, M or the pairs of a row is masked. L is the type of the factors of the products.
"""

try:
    import triton
    import triton.language as tl
except ImportError:  # torch for the CPU comes without it
    triton = tl = None

__all__ = ["entries_kernel", "pool_kernel", "tl", "triton", "weight_kernel"]
jit, constexpr = (triton.jit, tl.constexpr) if triton else (lambda kernel: kernel, None)

# fmt: off


@jit
def number_ends(left, right, start, n, BP: constexpr):
    """Return the two entries (BP,) of the pairs from ``start`` on, and whether they are among a row's n pairs."""
    number = start + tl.arange(0, BP)
    valid = number < n
    return tl.load(left + number, mask=valid, other=0), tl.load(right + number, mask=valid, other=0), valid


@jit
def load_ends(entries, i, j, columns, valid, K: constexpr):
    """Return some factors (BP, BK) of the two entries of pairs: their product is the interacted vector of Eq. 2."""
    mask = valid[:, None] & (columns < K)[None, :]
    left = tl.load(entries + i[:, None] * K + columns[None, :], mask=mask, other=0.0)
    return left, tl.load(entries + j[:, None] * K + columns[None, :], mask=mask, other=0.0)


@jit
def load_matrix(matrix, t, columns, T: constexpr, K: constexpr):
    """Return some columns (TP, BK) of a matrix (T, K)."""
    mask = (t < T)[:, None] & (columns < K)[None, :]
    return tl.load(matrix + t[:, None] * K + columns[None, :], mask=mask, other=0.0)


@jit
def pool_kernel(
    entries, weight, bias, h, left, right, n_pairs, pooled, denominators, M: constexpr, K: constexpr, T: constexpr,
    TP: constexpr, BP: constexpr, BK: constexpr, PRECISION: constexpr,
):
    """Write the pooled vector (K,) of a row, and the logarithm of the softmax's denominator.

    ``l_ij = h' ReLU(W (z_i * z_j) + b)``, ``pooled = sum_{i<j} exp(l_ij - max l) (z_i * z_j) / sum_{i<j} exp(l_ij - max
    l)``. The maximum is that of the tiles so far; when it rises, the sums so far are scaled down.
    """
    row, t = tl.program_id(0).to(tl.int64), tl.arange(0, TP)
    n = tl.load(n_pairs + row)
    entries += row * M * K
    pooled += row * K
    b, project = tl.load(bias + t, mask=t < T, other=0.0), tl.load(h + t, mask=t < T, other=0.0)
    highest, total = tl.full((), -1e30, b.dtype), tl.zeros((), b.dtype)
    for start in range(0, tl.maximum(n, 1), BP):
        i, j, valid = number_ends(left, right, start, n, BP)
        z = tl.zeros((BP, TP), b.dtype)
        for column in range(0, K, BK):
            columns = column + tl.arange(0, BK)
            one, other = load_ends(entries, i, j, columns, valid, K)
            w = load_matrix(weight, t, columns, T, K)
            z = tl.dot((one * other).to(w.dtype), tl.trans(w), z, input_precision=PRECISION, out_dtype=b.dtype)
        logits = tl.sum(tl.maximum(z + b[None, :], 0.0) * project[None, :], 1)
        higher = tl.maximum(highest, tl.max(tl.where(valid, logits, -1e30), 0))
        scale, a = tl.exp(highest - higher), tl.exp(tl.where(valid, logits - higher, -1e30))
        highest, total = higher, total * scale + tl.sum(a, 0)
        for column in range(0, K, BK):
            columns = column + tl.arange(0, BK)
            one, other = load_ends(entries, i, j, columns, valid, K)
            before = tl.load(pooled + columns, mask=(columns < K) & (start > 0), other=0.0)
            tl.store(pooled + columns, before * scale + tl.sum(one * other * a[:, None], 0), mask=columns < K)
        tl.debug_barrier()  # other threads read what these have written
    total = tl.where(n > 0, total, 1.0)
    for column in range(0, K, BK):
        columns = column + tl.arange(0, BK)
        tl.store(pooled + columns, tl.load(pooled + columns, mask=columns < K, other=0.0) / total, mask=columns < K)
    tl.store(denominators + row, highest + tl.log(total))


@jit
def entries_kernel(
    entries, weight, bias, h, scaled, left, right, n_pairs, denominators, g_pooled, shift, g_logits, signs, g_entries,
    M: constexpr, K: constexpr, T: constexpr, P: constexpr, TP: constexpr, BP: constexpr, BK: constexpr,
    BM: constexpr, PRECISION: constexpr,
):
    """Write the gradients of a row's entries (M, K) and logits (P,), and the signs m of its hidden units (P, TP // 32).

    With q the gradient of the pooled vector and the attention ``a_ij = exp(l_ij - log denominator)``:
    ``g_ij = a_ij ((z_i * z_j)' q - pooled' q)`` is that of the logit, ``de_ij = a_ij q + (h * W)' (g_ij m_ij)`` that of
    the interacted vector, and ``dz_i = sum_j de_ij * z_j``, a product with the matrix that has a 1 where i is an end.

    ``scaled`` is ``h * W`` and ``shift`` is ``pooled' q``. Bit u of word v of the signs is hidden unit v + u TP / 32.
    """
    row, t = tl.program_id(0).to(tl.int64), tl.arange(0, TP)
    n, entry = tl.load(n_pairs + row), tl.arange(0, BM)
    entries += row * M * K
    g_entries += row * M * K
    b, project = tl.load(bias + t, mask=t < T, other=0.0), tl.load(h + t, mask=t < T, other=0.0)
    for start in range(0, tl.maximum(n, 1), BP):
        i, j, valid = number_ends(left, right, start, n, BP)
        z, score = tl.zeros((BP, TP), b.dtype), tl.zeros((BP,), b.dtype)
        for column in range(0, K, BK):
            columns = column + tl.arange(0, BK)
            one, other = load_ends(entries, i, j, columns, valid, K)
            q = tl.load(g_pooled + row * K + columns, mask=columns < K, other=0.0)
            score += tl.sum(one * other * q[None, :], 1)
            w = load_matrix(weight, t, columns, T, K)
            z = tl.dot((one * other).to(w.dtype), tl.trans(w), z, input_precision=PRECISION, out_dtype=b.dtype)
        z += b[None, :]
        logits = tl.sum(tl.maximum(z, 0.0) * project[None, :], 1)
        a = tl.exp(tl.where(valid, logits - tl.load(denominators + row), -1e30))
        g = a * (score - tl.load(shift + row))
        number = row * P + start + tl.arange(0, BP)
        tl.store(g_logits + number, g, mask=valid)
        bits = tl.reshape((z > 0).to(tl.int32), (BP, 32, TP // 32)) << tl.arange(0, 32)[None, :, None]
        words = number[:, None] * (TP // 32) + tl.arange(0, TP // 32)[None, :]
        tl.store(signs + words, tl.sum(bits, 1), mask=valid[:, None])
        positive = tl.where(z > 0, 1.0, 0.0)
        to_left = ((entry[:, None] == i[None, :]) & valid[None, :]).to(b.dtype)  # (BM, BP)
        to_right = ((entry[:, None] == j[None, :]) & valid[None, :]).to(b.dtype)
        for column in range(0, K, BK):
            columns = column + tl.arange(0, BK)
            w = load_matrix(scaled, t, columns, T, K)
            q = tl.load(g_pooled + row * K + columns, mask=columns < K, other=0.0)
            g_e = tl.dot(positive.to(w.dtype), w, input_precision=PRECISION, out_dtype=b.dtype) * g[:, None]
            g_e += a[:, None] * q[None, :]
            one, other = load_ends(entries, i, j, columns, valid, K)
            out = g_entries + entry[:, None] * K + columns[None, :]
            mask = (entry < M)[:, None] & (columns < K)[None, :]
            total = tl.load(out, mask=mask & (start > 0), other=0.0)
            total = tl.dot(to_left, g_e * other, total, input_precision=PRECISION, out_dtype=b.dtype)
            total = tl.dot(to_right, g_e * one, total, input_precision=PRECISION, out_dtype=b.dtype)
            tl.store(out, total, mask=mask)
        tl.debug_barrier()  # other threads read what these have written


@jit
def weight_kernel(
    entries, left, right, n_pairs, g_logits, signs, S, signed, n_slots, M: constexpr, K: constexpr, T: constexpr,
    P: constexpr, TP: constexpr, BP: constexpr, BK: constexpr, L: constexpr, PRECISION: constexpr,
):
    """Write some columns of a part's ``S = sum_ij (g_ij m_ij) (z_i * z_j)'`` (T, K), and ``sum_ij g_ij m_ij`` (T,).

    The pairs of all rows, P for each, are the slots; a part has the tiles at a fixed stride.
    """
    part, t, columns = tl.program_id(1).to(tl.int64), tl.arange(0, TP), tl.program_id(0) * BK + tl.arange(0, BK)
    ACC: constexpr = S.dtype.element_ty
    total, total_signed = tl.zeros((TP, BK), ACC), tl.zeros((TP, 16), ACC)
    for start in range(part * BP, n_slots, tl.num_programs(1) * BP):
        slot = start + tl.arange(0, BP)
        row, number = slot // P, slot % P
        valid = slot < n_slots
        valid &= number < tl.load(n_pairs + row, mask=valid, other=0)
        i = row * M + tl.load(left + number, mask=valid, other=0)
        j = row * M + tl.load(right + number, mask=valid, other=0)
        one, other = load_ends(entries, i, j, columns, valid, K)
        words = tl.arange(0, TP // 32)[:, None] + slot[None, :] * (TP // 32)
        bits = tl.load(signs + words, mask=valid[None, :], other=0)[None, :, :] >> tl.arange(0, 32)[:, None, None]
        positive = tl.reshape(bits & 1, (TP, BP)).to(ACC).to(L)
        g = tl.load(g_logits + slot, mask=valid, other=0.0)
        total = tl.dot(positive, (one * other * g[:, None]).to(L), total, input_precision=PRECISION, out_dtype=ACC)
        same = tl.broadcast_to(g[:, None], (BP, 16)).to(L)
        total_signed = tl.dot(positive, same, total_signed, input_precision=PRECISION, out_dtype=ACC)
    mask = (t < T)[:, None] & (columns < K)[None, :]
    tl.store(S + (part * T + t[:, None]) * K + columns[None, :], total, mask=mask)
    if tl.program_id(0) == 0:
        tl.store(signed + part * T + t, tl.sum(total_signed, 1) / 16, mask=t < T)


# fmt: on
