"""The pooling of :mod:`skafm.nn.pairs`: a row's pairs as a small matrix.

With the attention of a row's pairs above the diagonal of A (n, n) and its entries ``v_i x_i`` in E (n, k), the pooled
vector is ``sum_i E_i * (A E)_i``. With its gradient q (k,), that of A is ``(E * q) E'`` and that of E
``q * ((A + A') E)``. So no (P, k) numbers are needed, and products of small matrices are fast.

Rows of about one length are worked together, in blocks whose tensors fit the caches; a shorter row repeats its last
entry where it has none, and has no attention there.

Letters in shapes: B rows, N entries, M distinct entries, P pairs, R rows of a block, n entries of its longest row, l of
them that are left ones (all, but for a part of one long row), k factors.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from skafm.nn.distinct import Places


class Block(NamedTuple):
    """Rows that are worked together."""

    rows: slice | Tensor
    """(R,)"""
    places: slice | Tensor
    """(R n,) Positions of their entries."""
    cells: slice
    """(R l n,) Their matrices, among those of all blocks."""
    shape: tuple[int, int, int]
    """(R, l, n)"""


class Layout(NamedTuple):
    """The matrices of a batch."""

    entry: Tensor
    """(N,) The distinct entry of each entry."""
    part: slice
    """Which entries of a row are left ones."""
    cell: Tensor
    """(P,) Where a pair is among all cells."""
    n_cells: int
    blocks: list[Block]


def lay_out(
    entry: Tensor, offsets: Tensor, places: Places, length: int | None, part: slice, max_entries: int
) -> Layout:
    """Lay out the pairs of a batch in blocks of at most so many entries, or one row."""
    if length is None:
        return _lay_out_ragged(entry, offsets, places, max_entries)
    n_rows, n = len(offsets) - 1, length
    left = range(n)[part]
    size, area = max(max_entries // n, 1), len(left) * n
    blocks = []
    for start in range(0, n_rows, size):
        stop = min(start + size, n_rows)
        cells = slice(start * area, stop * area)
        blocks.append(Block(slice(start, stop), slice(start * n, stop * n), cells, (stop - start, len(left), n)))
    first = torch.arange(n_rows, device=entry.device) * (area - n * n - n) - left.start * n  # (B,)
    cell = (places.left * n + places.right).add_(places.rows.spread(first))  # (P,)
    return Layout(entry, part, cell, n_rows * area, blocks)


def _lay_out_ragged(entry: Tensor, offsets: Tensor, places: Places, max_entries: int) -> Layout:
    """Do that for rows of different lengths: those within half an octave go together."""
    lengths, order = offsets.diff().long().sort()  # (B,)
    octaves = (2 * lengths.clamp(min=1).double().log2()).floor()  # (B,)
    counts = torch.unique_consecutive(octaves, return_counts=True)[1]  # (groups,)
    longest = lengths.index_select(0, counts.cumsum(0) - 1)  # (groups,)
    widths = longest.repeat_interleave(counts, output_size=len(order))  # (B,)
    areas = widths.square()
    first = areas.cumsum(0) - areas - offsets.index_select(0, order) * (widths + 1)  # (B,)
    width_of, first_of = (torch.empty_like(each).index_copy_(0, order, each) for each in (widths, first))
    cell = places.left * places.rows.spread(width_of) + places.right + places.rows.spread(first_of)
    blocks, row, n_cells = [], 0, 0
    for count, n in zip(counts.tolist(), longest.tolist(), strict=True):
        for rows in torch.split(order[row : row + count], max(max_entries // max(n, 1), 1)):
            last = offsets.index_select(0, rows + 1).unsqueeze(1) - 1  # (R, 1)
            at = offsets.index_select(0, rows).unsqueeze(1) + torch.arange(n, device=entry.device)  # (R, n)
            cells = slice(n_cells, n_cells + len(rows) * n * n)
            if n > 1:
                blocks.append(Block(rows, torch.minimum(at, last).view(-1), cells, (len(rows), n, n)))
            n_cells = cells.stop
        row += count
    return Layout(entry, slice(None), cell, n_cells, blocks)


def pool(entries: Tensor, layout: Layout, attention: Tensor, n_rows: int) -> Tensor:
    """Return the pooled vectors (B, k) of entries (M, k) and attention (P,)."""
    cells = _fill(layout, attention)
    pooled = entries.new_zeros(n_rows, entries.shape[1])
    for block in layout.blocks:
        E = _embed(entries, layout, block)  # (R, n, k)
        pooled[block.rows] = torch.bmm(cells[block.cells].view(block.shape), E).mul_(E[:, layout.part]).sum(1)
    return pooled


def gradients(entries: Tensor, layout: Layout, attention: Tensor, g_pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the attention (P,) and the entries (M, k), from that of the pooled vectors (B, k)."""
    cells, g_entries = _fill(layout, attention), torch.zeros_like(entries)
    g_cells = torch.empty_like(cells)
    for block in layout.blocks:
        E, q = _embed(entries, layout, block), g_pooled[block.rows].unsqueeze(1)  # (R, n, k), (R, 1, k)
        left, A = E[:, layout.part], cells[block.cells].view(block.shape)
        torch.bmm(left * q, E.mT, out=g_cells[block.cells].view(block.shape))
        if left.shape == E.shape:
            g = torch.bmm(A + A.mT, E)  # (R, n, k)
        else:
            g = torch.bmm(A.mT, left)
            g[:, layout.part] += torch.bmm(A, E)
        g_entries.index_add_(0, layout.entry[block.places], g.mul_(q).flatten(0, 1))
    return g_cells.index_select(0, layout.cell), g_entries


def _fill(layout: Layout, attention: Tensor) -> Tensor:
    return attention.new_zeros(layout.n_cells).index_copy_(0, layout.cell, attention)


def _embed(entries: Tensor, layout: Layout, block: Block) -> Tensor:
    return entries.index_select(0, layout.entry[block.places]).view(block.shape[0], block.shape[2], -1)
