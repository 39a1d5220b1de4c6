"""The fast path of attention over the pairs of a batch: each distinct pair is computed once.

Equal to :func:`skafm.nn.functional.attentional_interaction` and :func:`~skafm.nn.functional.attentional_pooling`, the
reference implementations, in value and gradients. Four facts make it fast.

1. A batch of one-hot rows repeats its pairs. The interacted vector ``e = (v_i * v_j) x_i x_j``, its attention logit
   ``h' ReLU(W e + b)`` and its score ``p' e`` depend only on the pair. So they are computed for each of the D distinct
   pairs, and only the two numbers are copied to the P pairs, whose softmax and sum are the only work for each row. With
   dropout the score is ``(p * mask_row)' e`` and differs between rows, but e and the logit do not.
2. If layers follow, the vectors themselves are pooled, and a pair has no score; but a row's sum over its pairs is a
   product of small matrices.
3. A tensor of (P, k) or (D, k) numbers does not fit the caches. So the distinct pairs are processed in chunks, forward
   and backward, and the gradients add up. Nothing of that size is stored except the signs ``m = (W e + b > 0)``, one
   byte each.
4. The gradients need only the signs of the hidden layer: with g the gradient of the logits (D,) and
   ``S = (g m)' e`` (t, k), ``dW = h * S``, ``db = h * sum(g m)``, ``dh = sum_k (W * S) + b * sum(g m)`` and
   ``de = (g m) (h * W)``. So the backward pass has two matrix products, the forward pass one.

The map, from the outside in:

================  ====================================================================================================
``dispatch``      the two public functions: which path suits a batch, and rows that are too long for one pass
``dedup``         the pairs of a batch, and the distinct entries and pairs among them (fact 1)
``autograd``      the two functions with gradients of their own, for scores and for pooled vectors
``network``       the attention network on chunks of distinct pairs, forward and backward (facts 3 and 4)
``blocks``        the pooled vectors as products of small matrices (fact 2)
``segment_ops``   softmax and sums over the pairs of each row
``checkpoint``    gradient checkpointing, for rows in several parts
``entries``       for training on CUDA: all pairs of rows of one length, where no size depends on the data
``fused``         the same without a tensor of pairs, if asked for; its kernels are in ``kernels``
================  ====================================================================================================

Letters in shapes, in all files: B rows, N entries, M distinct entries, P pairs, D distinct pairs, c pairs of a chunk, k
factors, t attention size, C outputs.
"""

from skafm.nn._pairs.dispatch import attentional_interaction, attentional_pooling, pair_bytes
from skafm.nn._pairs.entries import attentional_pooling as attend_to_entries
from skafm.nn._pairs.entries import bytes_per_row as entry_bytes

__all__ = ["attend_to_entries", "attentional_interaction", "attentional_pooling", "entry_bytes", "pair_bytes"]
