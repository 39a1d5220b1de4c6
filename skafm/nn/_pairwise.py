"""Models whose raw score is a sum over pairs, and the terms of that sum."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from skafm.nn import functional
from skafm.nn._base import Model


class PairTerms(NamedTuple):
    """The terms of the pairs of a batch: each adds ``attention * interaction`` to the raw score of its row.

    Parameters
    ----------
    rows : Tensor of shape (P,)
        Row of each pair, ascending.
    feature_i, feature_j : Tensor of shape (P,)
        The two features.
    attention : Tensor of shape (P,)
        a_ij; 1 in a model without attention.
    interaction : Tensor of shape (P,) or (P, C)
        The term with an attention of 1.

    Examples
    --------
    >>> import torch
    >>> from skafm.nn import AFM
    >>> model = AFM(n_features=3, n_factors=4, attention_size=2)
    >>> terms = model.pair_terms(torch.tensor([0, 1, 2]), None, torch.tensor([0, 3]))  # one row of three features
    >>> terms.feature_i, terms.feature_j
    (tensor([0, 0, 1]), tensor([1, 2, 2]))
    >>> terms.attention  # h = 0: uniform before training
    tensor([0.3333, 0.3333, 0.3333])
    """

    rows: Tensor
    feature_i: Tensor
    feature_j: Tensor
    attention: Tensor
    interaction: Tensor


class PairModel(Model, ABC):
    """A model whose raw score is the linear part and a sum over the pairs of a row."""

    factors: Tensor

    @abstractmethod
    def _pair_scores(self, left: Tensor, right: Tensor, product: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return interactions, (c,) or (c, C), and logits (c,) if attention weighs them.

        Parameters
        ----------
        left, right : Tensor of shape (c,)
            Features i and j.
        product : Tensor of shape (c,)
            ``x_i x_j``.
        """

    def _entry_scores(
        self,
        batch: tuple[Tensor, Tensor | None, Tensor],
        left: Tensor,
        right: Tensor,
        rows: Tensor,  # noqa: ARG002 HOFM uses it
    ) -> tuple[Tensor, Tensor | None]:
        """Return the scores of pairs of entries, by default those of their features alone.

        Parameters
        ----------
        batch : indices, values and offsets
        left, right, rows : Tensor of shape (c,)
            Positions of the two entries, and their row, ascending.
        """
        indices, values, _ = batch
        product = self.factors.new_ones(len(left)) if values is None else values[left] * values[right]
        return self._pair_scores(indices[left].long(), indices[right].long(), product)

    @torch.no_grad()
    def pair_terms(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, *, chunk_elements: int = 2**22
    ) -> PairTerms:
        """Return the terms that the pairs of each row add to its raw score.

        Parameters
        ----------
        indices, values, offsets : Tensor
            The batch, see :mod:`skafm.nn.functional`; ``values`` is None if all are 1.
        chunk_elements : int, default=2**22
            Most numbers of a (c, k) tensor; more pairs are processed in chunks.

        Returns
        -------
        PairTerms
        """
        left, right, rows = functional.pairs(offsets, len(indices))
        size = max(chunk_elements // self.factors[0].numel(), 1)
        parts = [slice(start, start + size) for start in range(0, max(len(left), 1), size)]
        scores = (self._entry_scores((indices, values, offsets), left[part], right[part], rows[part]) for part in parts)
        interaction, *logits = _concatenate(scores, parts, len(left))
        attention = self.factors.new_ones(len(left))
        if logits:
            attention, _ = functional.segment_softmax(logits[0], rows, len(offsets) - 1)
        return PairTerms(rows, indices[left], indices[right], attention, interaction)


def _concatenate(chunks: Iterable[tuple[Tensor | None, ...]], parts: Iterable[slice], n_pairs: int) -> list[Tensor]:
    """Concatenate each result over the chunks.

    Memory for all pairs is allocated at once: small results between the freed tensors of the chunks would fragment
    glibc's heap, so that each chunk needs new memory.
    """
    whole: list[Tensor] = []
    for part, results in zip(parts, chunks, strict=True):
        found = [each for each in results if each is not None]
        whole = whole or [each.new_empty(n_pairs, *each.shape[1:]) for each in found]
        for all_pairs, each in zip(whole, found, strict=True):
            all_pairs[part] = each
    return whole
