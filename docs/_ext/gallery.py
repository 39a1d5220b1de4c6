"""What the site tells sphinx-gallery: the order of the examples, their command lines, their plots."""

import tempfile
import warnings
from pathlib import Path

from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.text import Text
from sphinx_gallery.scrapers import matplotlib_scraper

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
_ROWS = 30_000  # of 327,346 flights: the site is built in minutes
_SHOWN = 613  # pixels: how wide a page of 1,280 pixels shows a plot
_LETTERING = 9  # pixels
_COLORS = {"FM": "#0072b2", "AFM": "#d55e00"}  # in all plots
_filters = []


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


def strict(gallery_conf, fname, when):  # noqa: ARG001 sphinx-gallery passes it
    """Turn warnings into errors while an example runs."""
    if not str(fname).endswith(".py"):  # a folder is entered
        return
    if when == "before":
        _filters.append(warnings.filters[:])
        warnings.filterwarnings("error")
        warnings.filterwarnings("ignore", ".* is non-interactive, and thus cannot be shown", UserWarning)
    else:
        warnings.filters[:] = _filters.pop()


def plots(block, block_vars, gallery_conf):
    """Save the plots of a block of an example; each must be legible and have its labels."""
    for figure in map(pyplot.figure, pyplot.get_fignums()):
        _check_lettering(figure)
        for axes in figure.axes:
            _check_labels(axes)
            _check_colors(axes)
    return matplotlib_scraper(block, block_vars, gallery_conf)


def _check_lettering(figure):
    smallest = min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text() and text.get_visible())
    pixels = smallest / 72 * min(figure.dpi, _SHOWN / figure.get_figwidth())
    if pixels < _LETTERING:
        raise ValueError(f"Lettering is {pixels:.1f} pixels high, of at least {_LETTERING}: make the figure narrower.")


def _check_labels(axes):
    # An axis may be labeled by the one that it shares its scale with.
    x = any(_says_what(each.xaxis) for each in axes.get_shared_x_axes().get_siblings(axes))
    y = any(_says_what(each.yaxis) for each in axes.get_shared_y_axes().get_siblings(axes))
    if not (x and y) and axes.get_label() != "<colorbar>":
        raise ValueError(f"An axis has no label: {axes}.")


def _says_what(axis):
    """Return whether an axis has a label, or names at its ticks."""
    return axis.get_label_text() or any(tick.get_text()[:1].isalpha() for tick in axis.get_ticklabels())


def _check_colors(axes):
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        color = handle.get_color() if hasattr(handle, "get_color") else handle[0].get_facecolor()
        if label in _COLORS and to_hex(color) != _COLORS[label]:
            raise ValueError(f"{label} should have the color {_COLORS[label]}, not {to_hex(color)}.")
