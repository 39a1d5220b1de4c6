"""A heat map of the interactions that matter over many rows."""

import sys

import numpy as np

from skafm.inspection._optional import import_pyplot
from skafm.inspection._pipeline import take_apart

_LABELS = {
    "mean_abs_contribution": "mean |contribution|\n(raw score)",
    "mean_attention": "mean attention\n(share of a row)",
}
_MOST_WRITTEN = 12  # rows of a heat map whose cells have room for their numbers


class InteractionDisplay:
    """Heat map of the interactions of fields, or of features: mean absolute contribution, and mean attention.

    Make one with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    interactions : DataFrame
        With the columns feature_i, feature_j, mean_abs_contribution and mean_attention, as ``top_interactions`` returns
        them.

    Attributes
    ----------
    axes_ : ndarray of Axes
        One, and of a model with attention another.
    figure_ : Figure

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import AFMRegressor
    >>> from skafm.inspection import InteractionDisplay
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), AFMRegressor(random_state=0)).fit(X, y)
    >>> display = InteractionDisplay.from_estimator(model, X, fields=None)
    >>> display.interactions["feature_i"].tolist()
    ['x0_a', 'x0_a', 'x0_b', 'x0_b']
    """

    def __init__(self, interactions):
        self.interactions = interactions

    @classmethod
    def from_estimator(cls, estimator, X, *, fields="auto", feature_names=None, n=20, ax=None):
        """Draw the interactions of a fitted model over rows.

        Parameters
        ----------
        estimator : FM, AFM or FFM, or Pipeline that ends in one
        X : {sparse matrix or array, array-like, DataFrame} of shape (n_samples, n_features)
            Its input.
        fields : array-like of shape (n_features,), "auto" or None, default="auto"
            The field of each of the model's columns; "auto" finds them in the rows. None draws features.
        feature_names : array-like of shape (n_features,), default=None
            Of the model's columns. A pipeline knows its own.
        n : int, default=20
            How many fields or features, those in the strongest interactions, to draw, with all pairs of them.
        ax : Axes or sequence of Axes, default=None
            To draw on: one, or of a model with attention two.

        Returns
        -------
        display : InteractionDisplay
        """
        model, rows, names = take_apart(estimator, X, feature_names)
        interactions = model.top_interactions(rows, sys.maxsize, fields=fields, feature_names=names)
        return cls(_among_strongest(interactions, n)).plot(ax)

    @classmethod
    def from_predictions(cls, interactions, *, ax=None):
        """Draw interactions at hand.

        Parameters
        ----------
        interactions : DataFrame
            As ``top_interactions`` returns.
        ax : Axes or sequence of Axes, default=None
            To draw on: one, or with attention two.

        Returns
        -------
        display : InteractionDisplay
        """
        return cls(interactions).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : Axes or sequence of Axes, default=None

        Returns
        -------
        display : InteractionDisplay
        """
        pyplot = import_pyplot()
        if not len(self.interactions):
            raise ValueError("There are no interactions to draw: give rows that have two features or more.")
        columns = self._columns()
        names = _order(self.interactions)
        if ax is None:
            side, margin = 1.5 + 0.35 * len(names), 0.08 * max(len(str(name)) for name in names)
            size = (len(columns) * (side + margin + 1), side + margin)
            _, ax = pyplot.subplots(1, len(columns), figsize=size, layout="constrained")
        self.axes_ = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
        if len(self.axes_) > len(columns):
            raise ValueError(f"There are {len(columns)} pictures to draw, but {len(self.axes_)} axes.")
        self.figure_ = self.axes_[0].figure
        for axes, column in zip(self.axes_, columns, strict=False):
            _draw_map(axes, self.interactions, names, column)
        return self

    def _columns(self):
        """Return what is drawn: attention where it is shared out, not 1 for each pair as of a model without."""
        shared = (self.interactions["mean_attention"] < 1).any()
        return list(_LABELS) if shared else ["mean_abs_contribution"]


def _order(interactions):
    """Return the names that occur, those in the strongest interactions first."""
    names = interactions[["feature_i", "feature_j"]].to_numpy().ravel()
    return list(dict.fromkeys(names.tolist()))


def _among_strongest(interactions, n):
    """Return the interactions among n names, those in the strongest."""
    if n < 2:  # noqa: PLR2004 a pair
        raise ValueError(f"n must be at least 2, the names of a pair, got {n}.")
    names = _order(interactions)[:n]
    among = interactions[["feature_i", "feature_j"]].isin(names).all(axis=1)
    return interactions[among].reset_index(drop=True)


def _draw_map(axes, interactions, names, column):
    """Draw one column as a triangle of cells, those without a pair left blank."""
    place = {name: number for number, name in enumerate(names)}
    i, j = (interactions[each].map(place).to_numpy() for each in ("feature_i", "feature_j"))
    cells = np.full((len(names), len(names)), np.nan)
    cells[np.maximum(i, j), np.minimum(i, j)] = interactions[column]
    apart = int((i != j).all())  # the first line and the last column are empty then
    cells = cells[apart:, : len(names) - apart]
    image = axes.imshow(cells, cmap="cividis", vmin=0)
    axes.figure.colorbar(image, ax=axes, label=_LABELS[column], shrink=0.8)
    labels = [str(name) for name in names]
    axes.set_xticks(range(cells.shape[1]), labels[: cells.shape[1]], rotation=90, parse_math=False)
    axes.set_yticks(range(len(cells)), labels[apart:], parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) <= _MOST_WRITTEN:
        _write_numbers(axes, cells)


def _write_numbers(axes, cells):
    """Write each cell's number, dark on bright and bright on dark."""
    for row, column in np.argwhere(~np.isnan(cells)):
        bright = cells[row, column] > np.nanmax(cells) / 2
        text = f"{cells[row, column]:.2g}"
        axes.text(column, row, text, ha="center", va="center", fontsize="x-small", color="black" if bright else "white")
