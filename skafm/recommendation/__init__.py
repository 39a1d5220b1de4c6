"""The best items for a user or another context, and vectors for an index of inner products."""

from skafm.recommendation._recommend import recommend
from skafm.recommendation._vectors import context_vectors, item_vectors

__all__ = ["context_vectors", "item_vectors", "recommend"]

for _public in (context_vectors, item_vectors, recommend):
    _public.__module__ = __name__  # documentation names the public module
