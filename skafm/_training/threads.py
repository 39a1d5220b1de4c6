"""The threads of torch's operations: one where a step is small, whatever the machine has.

The threads of an operation wait for one another. In a small step that takes longer than what a second thread saves; and
where another process keeps a core busy, each wait lasts until the scheduler gives the thread its turn, so that a fit
takes several times as long.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

MANY_PRODUCTS = 2**27
"""Multiplications of a step, in matrix products, from which more threads pay."""


@cache
def _openmp() -> ThreadpoolController:
    """Return the OpenMP libraries of this process; torch is loaded when this is first called."""
    return ThreadpoolController().select(user_api="openmp")


@contextmanager
def limit_threads(n_products: float) -> Iterator[None]:
    """Limit this Python thread's operations to one thread each if a step has few multiplications.

    OpenMP keeps the number for each thread, so that others do not notice. ``torch.set_num_threads`` would also change
    the default of new threads.
    """
    if n_products >= MANY_PRODUCTS:
        yield
        return
    with _openmp().limit(limits=1):
        yield
