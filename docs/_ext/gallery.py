"""What the site tells sphinx-gallery: the order of the examples, and their command lines."""

import tempfile
from pathlib import Path

_ORDER = (
    "plot_xor.py",
    "plot_flight_delays.py",
    "plot_clicks.py",
    "plot_recommendations.py",
    "plot_counts_and_quantiles.py",
    "plot_explain_delays.py",
    "plot_late_flights.py",
    "plot_implicit_feedback.py",
    "plot_uncertainty.py",
    "plot_grid_search.py",
    "plot_learning_curves.py",
    "plot_stream.py",
    "plot_digits.py",
)
_ROWS = 60_000  # of 327,346 flights: the site is built in minutes


class Order:
    """Sorts examples, the simplest first, new ones last."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, name):
        """Return the place of an example."""
        return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def arguments(gallery_conf, script_vars):  # noqa: ARG001 sphinx-gallery passes them
    """Return the command line of an example."""
    return ["--rows", str(_ROWS), "--save", str(Path(tempfile.gettempdir()) / "skafm_example.png")]
