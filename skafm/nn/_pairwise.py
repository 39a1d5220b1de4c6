"""Models whose raw score is a sum over pairs of features, and the terms of that sum."""

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
    """Model whose raw score is a linear part plus a sum over the pairs of a row."""

    factors: Tensor

    @abstractmethod
    def _pair_scores(self, left: Tensor, right: Tensor, product: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the interactions, (c,) or (c, C), of pairs of features, and their attention logits (c,) or None.

        Parameters
        ----------
        left, right : Tensor of shape (c,)
            Features i and j of each pair.
        product : Tensor of shape (c,)
            Value ``x_i x_j`` of each pair.
        """

    def _entry_scores(
        self,
        batch: tuple[Tensor, Tensor | None, Tensor],
        left: Tensor,
        right: Tensor,
        rows: Tensor,  # noqa: ARG002 used by HOFM
    ) -> tuple[Tensor, Tensor | None]:
        """Return the scores of pairs of entries; by default they depend only on the features and values of the pair.

        Parameters
        ----------
        batch : tuple of Tensor
            indices, values and offsets, see :mod:`skafm.nn.functional`.
        left, right, rows : Tensor of shape (c,)
            Indices of the two entries of each pair, and their row, non-decreasing.
        """
        indices, values, _ = batch
        product = self.factors.new_ones(len(left)) if values is None else values[left] * values[right]
        return self._pair_scores(indices[left].long(), indices[right].long(), product)

    @torch.no_grad()
    def pair_terms(
        self, indices: Tensor, values: Tensor | None, offsets: Tensor, *, chunk_elements: int = 2**22
    ) -> PairTerms:
        """Return the terms of the raw score that belong to the pairs of each row.

        Parameters
        ----------
        indices, values, offsets : Tensor
            The batch, see :mod:`skafm.nn.functional`; ``values`` is None if all are 1.
        chunk_elements : int, default=2**22
            Maximum number of elements of a (c, k) tensor; the pairs are processed in chunks of c.

        Returns
        -------
        PairTerms
        """
        left, right, rows = functional.pairs(offsets, len(indices))
        size = max(chunk_elements // self.factors[0].numel(), 1)
        chunks = [slice(start, start + size) for start in range(0, max(len(left), 1), size)]
        batch = (indices, values, offsets)
        scores = (self._entry_scores(batch, left[chunk], right[chunk], rows[chunk]) for chunk in chunks)
        interaction, *logits = _concatenate(scores, chunks, len(left))  # (P,) or (P, C), and (P,)
        attention = self.factors.new_ones(len(left))
        if logits:
            attention, _ = functional.segment_softmax(logits[0], rows, len(offsets) - 1)
        return PairTerms(rows, indices[left], indices[right], attention, interaction)


def _concatenate(scores: Iterable[tuple[Tensor | None, ...]], chunks: Iterable[slice], n_pairs: int) -> list[Tensor]:
    """Concatenate the scores of the chunks, without those that are None.

    Memory for all pairs is allocated at once: small results between the freed tensors of the chunks would fragment
    glibc's heap, so that each chunk would need new memory.
    """
    results: list[Tensor] = []
    for chunk, optional in zip(chunks, scores, strict=True):
        tensors = [tensor for tensor in optional if tensor is not None]
        results = results or [tensor.new_empty(n_pairs, *tensor.shape[1:]) for tensor in tensors]
        for result, tensor in zip(results, tensors, strict=True):
            result[chunk] = tensor
    return results
