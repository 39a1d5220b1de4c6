"""The additive parts of a raw score: one for each entry of a row, one for each pair of entries."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from skafm.nn import functional
from skafm.nn.model import Model


class PairTerms(NamedTuple):
    """The pairs of a batch; ``attention * interaction`` is what a pair adds to the raw score."""

    rows: Tensor
    """(P,)"""
    left: Tensor
    """(P,) Feature i."""
    right: Tensor
    """(P,) Feature j."""
    attention: Tensor
    """(P,) a_ij, of a model without attention 1."""
    interaction: Tensor
    """(P,) or (P, C)"""


class PairModel(Model, ABC):
    """A model whose raw score is the linear part and a sum over the pairs of a row."""

    factors: Tensor

    @abstractmethod
    def pair_scores(self, left: Tensor, right: Tensor, product: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return interactions, (c,) or (c, C), and logits (c,) if attention weighs them.

        Parameters
        ----------
        left, right : Tensor of shape (c,)
            Features i and j.
        product : Tensor of shape (c,)
            ``x_i x_j``.
        """

    def entry_scores(
        self,
        batch: tuple[Tensor, Tensor | None, Tensor],
        left: Tensor,
        right: Tensor,
        rows: Tensor,  # noqa: ARG002 HOFM's
    ) -> tuple[Tensor, Tensor | None]:
        """Return the scores of pairs of entries: those of their features, where the rest of the row has no say.

        Parameters
        ----------
        batch : indices, values and offsets
        left, right, rows : Tensor of shape (c,)
            The two entries' numbers, and their row, ascending.
        """
        indices, values, _ = batch
        product = self.factors.new_ones(len(left)) if values is None else values[left] * values[right]
        return self.pair_scores(indices[left].long(), indices[right].long(), product)

    @torch.no_grad()
    def pair_terms(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, *, chunk_elements: int = 2**22
    ) -> PairTerms:
        """Return the parts that the pairs of each row add to its raw score.

        Parameters
        ----------
        indices, values, offsets : Tensor
            The batch, see :mod:`skafm.nn.functional`; ``values`` is None where all are 1.
        chunk_elements : int, default=2**22
            The most numbers of a (c, k) tensor; more pairs are worked one chunk after another.

        Returns
        -------
        PairTerms
        """
        left, right, rows = functional.pairs(offsets, len(indices))
        size = max(chunk_elements // self.factors[0].numel(), 1)
        parts = [slice(start, start + size) for start in range(0, max(len(left), 1), size)]
        scores = (self.entry_scores((indices, values, offsets), left[part], right[part], rows[part]) for part in parts)
        interaction, *logits = _join(scores, parts, len(left))
        attention = self.factors.new_ones(len(left))
        if logits:
            attention, _ = functional.segment_softmax(logits[0], rows, len(offsets) - 1)
        return PairTerms(rows, indices[left], indices[right], attention, interaction)


def _join(chunks: Iterable[tuple[Tensor | None, ...]], parts: Iterable[slice], n_pairs: int) -> list[Tensor]:
    """Return each result of all pairs, from those of one chunk of them after another.

    Their memory is taken at once: results kept one by one would lie between the freed tensors of the chunks, where
    glibc may find no room for the next chunk's, and so takes new memory for each.
    """
    whole: list[Tensor] = []
    for part, results in zip(parts, chunks, strict=True):
        found = [each for each in results if each is not None]
        whole = whole or [each.new_empty(n_pairs, *each.shape[1:]) for each in found]
        for all_pairs, each in zip(whole, found, strict=True):
            all_pairs[part] = each
    return whole
