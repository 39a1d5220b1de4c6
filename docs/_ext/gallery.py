"""What the gallery's examples are told when the site is built."""

import tempfile
from pathlib import Path

_ROWS = 60_000  # of 327,346 flights: the site is built in minutes


def arguments(gallery_conf, script_vars):  # noqa: ARG001 sphinx-gallery passes them
    """Return the command line of an example."""
    return ["--rows", str(_ROWS), "--save", str(Path(tempfile.gettempdir()) / "skafm_example.png")]
