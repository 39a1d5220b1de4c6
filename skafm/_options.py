"""Options of the process, in environment variables."""

import os

EXPERIMENTAL_CUDA = "SKAFM_EXPERIMENTAL_CUDA"


def experimental_cuda() -> bool:
    """Return whether training on CUDA may take the ways that have not been measured on a GPU: if the variable is 1."""
    return os.environ.get(EXPERIMENTAL_CUDA) == "1"
