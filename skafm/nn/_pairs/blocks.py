"""The pooled vectors of rows as products of small matrices.

With the attention of a row's pairs above the diagonal of A (n, n) and its entries ``v_i x_i`` in E (n, k), the pooled
vector is ``sum_i E_i * (A E)_i``. With its gradient q (k,), that of A is ``(E * q) E'`` and that of E
``q * ((A + A') E)``. So no (P, k) numbers are needed, and products of small matrices are fast.

Rows of similar length are processed together, in blocks whose tensors fit the caches; a shorter row is padded with its
last entry, with an attention of 0.

Letters in shapes beside those of the package: R rows of a block, n entries of its longest row, l of them that are left
entries (all, except in a part of one long row).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from skafm.nn._pairs.dedup import PairPositions


class Block(NamedTuple):
    """Rows that are processed together."""

    rows: slice | Tensor
    """(R,)"""
    positions: slice | Tensor
    """(R n,) Positions of their entries."""
    cells: slice
    """(R l n,) The elements of their matrices A, among those of all blocks."""
    shape: tuple[int, int, int]
    """(R, l, n)"""


class Layout(NamedTuple):
    """The matrices of a batch."""

    entry_index: Tensor
    """(N,) The distinct entry of each entry."""
    part: slice
    """Which entries of a row are left entries."""
    cell: Tensor
    """(P,) Position of each pair among all cells."""
    n_cells: int
    blocks: list[Block]


def lay_out(
    entry_index: Tensor, offsets: Tensor, positions: PairPositions, length: int | None, part: slice, max_entries: int
) -> Layout:
    """Lay out the pairs of a batch in blocks of at most ``max_entries`` entries, or of one row."""
    if length is None:
        return _lay_out_ragged(entry_index, offsets, positions, max_entries)
    n_rows, n = len(offsets) - 1, length
    left = range(n)[part]
    size, area = max(max_entries // n, 1), len(left) * n
    blocks = []
    for start in range(0, n_rows, size):
        stop = min(start + size, n_rows)
        cells = slice(start * area, stop * area)
        blocks.append(Block(slice(start, stop), slice(start * n, stop * n), cells, (stop - start, len(left), n)))
    first = torch.arange(n_rows, device=entry_index.device) * (area - n * n - n) - left.start * n  # (B,)
    cell = (positions.left * n + positions.right).add_(positions.rows.expand(first))  # (P,)
    return Layout(entry_index, part, cell, n_rows * area, blocks)


def _lay_out_ragged(entry_index: Tensor, offsets: Tensor, positions: PairPositions, max_entries: int) -> Layout:
    """Do that for rows of different lengths: those within half an octave share blocks."""
    lengths, order = offsets.diff().long().sort()  # (B,)
    octaves = (2 * lengths.clamp(min=1).double().log2()).floor()  # (B,)
    counts = torch.unique_consecutive(octaves, return_counts=True)[1]  # (groups,)
    longest = lengths.index_select(0, counts.cumsum(0) - 1)  # (groups,)
    widths = longest.repeat_interleave(counts, output_size=len(order))  # (B,)
    areas = widths.square()
    first = areas.cumsum(0) - areas - offsets.index_select(0, order) * (widths + 1)  # (B,)
    width_of, first_of = (torch.empty_like(each).index_copy_(0, order, each) for each in (widths, first))
    expand = positions.rows.expand
    cell = positions.left * expand(width_of) + positions.right + expand(first_of)  # (P,)
    blocks, row, n_cells = [], 0, 0
    for count, n in zip(counts.tolist(), longest.tolist(), strict=True):
        for rows in torch.split(order[row : row + count], max(max_entries // max(n, 1), 1)):
            last = offsets.index_select(0, rows + 1).unsqueeze(1) - 1  # (R, 1)
            at = offsets.index_select(0, rows).unsqueeze(1) + torch.arange(n, device=order.device)  # (R, n)
            cells = slice(n_cells, n_cells + len(rows) * n * n)
            if n > 1:
                blocks.append(Block(rows, torch.minimum(at, last).view(-1), cells, (len(rows), n, n)))
            n_cells = cells.stop
        row += count
    return Layout(entry_index, slice(None), cell, n_cells, blocks)


def pool(entries: Tensor, layout: Layout, attention: Tensor, n_rows: int) -> Tensor:
    """Return the pooled vectors (B, k) of entries (M, k) and attention (P,)."""
    cells = _fill_cells(layout, attention)
    pooled = entries.new_zeros(n_rows, entries.shape[1])
    for block in layout.blocks:
        E = _entries_of(entries, layout, block)  # (R, n, k)
        pooled[block.rows] = torch.bmm(cells[block.cells].view(block.shape), E).mul_(E[:, layout.part]).sum(1)
    return pooled


def gradients(entries: Tensor, layout: Layout, attention: Tensor, g_pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of attention (P,) and entries (M, k), given that of the pooled vectors (B, k)."""
    cells, g_entries = _fill_cells(layout, attention), torch.zeros_like(entries)
    g_cells = torch.empty_like(cells)
    for block in layout.blocks:
        E, q = _entries_of(entries, layout, block), g_pooled[block.rows].unsqueeze(1)  # (R, n, k), (R, 1, k)
        left, A = E[:, layout.part], cells[block.cells].view(block.shape)
        torch.bmm(left * q, E.mT, out=g_cells[block.cells].view(block.shape))
        if left.shape == E.shape:
            g = torch.bmm(A + A.mT, E)  # (R, n, k)
        else:
            g = torch.bmm(A.mT, left)
            g[:, layout.part] += torch.bmm(A, E)
        g_entries.index_add_(0, layout.entry_index[block.positions], g.mul_(q).flatten(0, 1))
    return g_cells.index_select(0, layout.cell), g_entries


def _fill_cells(layout: Layout, attention: Tensor) -> Tensor:
    """Return the elements of all matrices A: (n_cells,)."""
    return attention.new_zeros(layout.n_cells).index_copy_(0, layout.cell, attention)


def _entries_of(entries: Tensor, layout: Layout, block: Block) -> Tensor:
    """Return the entries of a block's rows: (R, n, k)."""
    shape = block.shape[0], block.shape[2], -1
    return entries.index_select(0, layout.entry_index[block.positions]).view(shape)
