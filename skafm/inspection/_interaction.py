"""Heat map of the strongest interactions over many rows."""

import sys

import numpy as np

from skafm.inspection._explain import top_interactions
from skafm.inspection._optional import import_pyplot

_LABELS = {
    "mean_abs_contribution": "mean |contribution|\n(raw score)",
    "mean_attention": "mean attention\n(share of a row)",
}
_MAX_ANNOTATED = 12  # rows of a heat map whose cells have room for numbers


class InteractionDisplay:
    """Heat map of the interactions of fields or features: mean absolute contribution and mean attention.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions` to create a display.

    Parameters
    ----------
    interactions : DataFrame
        Interactions as returned by ``top_interactions``, with the columns feature_i, feature_j, mean_abs_contribution
        and mean_attention.

    Attributes
    ----------
    axes_ : ndarray of Axes
        Axes of the mean absolute contribution and, for a model with attention, of the mean attention.
    figure_ : Figure
        Figure that contains the axes.

    See Also
    --------
    WaterfallDisplay : Plot of one prediction.

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
    ['x0_a', 'x0_b', 'x0_b', 'x0_a']
    """

    def __init__(self, interactions):
        self.interactions = interactions

    @classmethod
    def from_estimator(cls, estimator, X, *, fields="auto", feature_names=None, n=20, ax=None):
        """Plot the interactions of a fitted model, averaged over rows.

        Parameters
        ----------
        estimator : FM, AFM, HOFM or FFM estimator, or a Pipeline that ends in one
            Fitted model.
        X : {sparse matrix or array, array-like, DataFrame} of shape (n_samples, n_features)
            Input of the estimator or pipeline, the rows to average over.
        fields : array-like of shape (n_features,), "auto" or None, default="auto"
            Field of each column of the model, to plot the interactions of fields. "auto" finds the fields as in
            :func:`top_interactions`; None plots the interactions of features.
        feature_names : array-like of shape (n_features,), default=None
            Names of the columns of the model; by default those of the pipeline, or those seen during ``fit``.
        n : int, default=20
            Maximum number of fields or features to plot, those with the strongest interactions; at least 2. All their
            interactions are plotted.
        ax : Axes or sequence of Axes, default=None
            Axes to plot on, one or, for a model with attention, two. By default a new figure is created.

        Returns
        -------
        display : InteractionDisplay
            Object that stores the interactions and the axes.

        Raises
        ------
        ImportError
            If matplotlib or pandas is not installed.
        TypeError
            If the estimator has no method ``explain``.
        """
        interactions = top_interactions(estimator, X, sys.maxsize, fields=fields, feature_names=feature_names)
        return cls(_select_strongest(interactions, n)).plot(ax)

    @classmethod
    def from_predictions(cls, interactions, *, ax=None):
        """Plot given interactions.

        Parameters
        ----------
        interactions : DataFrame
            Interactions as returned by ``top_interactions``.
        ax : Axes or sequence of Axes, default=None
            Axes to plot on, one or, for a model with attention, two. By default a new figure is created.

        Returns
        -------
        display : InteractionDisplay
            Object that stores the interactions and the axes.
        """
        return cls(interactions).plot(ax)

    def plot(self, ax=None):
        """Plot the heat maps.

        Parameters
        ----------
        ax : Axes or sequence of Axes, default=None
            Axes to plot on, one or, for a model with attention, two. By default a new figure is created.

        Returns
        -------
        display : InteractionDisplay
            Object that stores the interactions and the axes.
        """
        pyplot = import_pyplot()
        if not len(self.interactions):
            raise ValueError("There are no interactions to plot: pass rows with at least two non-zero features.")
        columns = self._columns_to_plot()
        names = _names_by_strength(self.interactions)
        if ax is None:
            side, margin = 1.5 + 0.35 * len(names), 0.08 * max(len(str(name)) for name in names)
            size = (len(columns) * (side + margin + 1), side + margin)
            _, ax = pyplot.subplots(1, len(columns), figsize=size, layout="constrained")
        self.axes_ = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
        if len(self.axes_) > len(columns):
            raise ValueError(f"Expected ax to have at most {len(columns)} axes, got {len(self.axes_)}.")
        self.figure_ = self.axes_[0].figure
        for axes, column in zip(self.axes_, columns, strict=False):
            _plot_heat_map(axes, self.interactions, names, column)
        return self

    def _columns_to_plot(self):
        """Return the columns to plot: without attention, the attention of each pair of features is 1."""
        has_attention = (self.interactions["mean_attention"] < 1).any()
        return list(_LABELS) if has_attention else ["mean_abs_contribution"]


def _names_by_strength(interactions):
    """Return the distinct names, those in the strongest interactions first."""
    names = interactions[["feature_i", "feature_j"]].to_numpy().ravel()
    return list(dict.fromkeys(names.tolist()))


def _select_strongest(interactions, n):
    """Return all interactions of the n names with the strongest interactions."""
    if n < 2:  # noqa: PLR2004 a pair
        raise ValueError(f"n must be at least 2, got {n}.")
    names = _names_by_strength(interactions)[:n]
    selected = interactions[["feature_i", "feature_j"]].isin(names).all(axis=1)
    return interactions[selected].reset_index(drop=True)


def _plot_heat_map(axes, interactions, names, column):
    """Plot one column as the lower triangle of a matrix; cells without an interaction are blank."""
    position = {name: index for index, name in enumerate(names)}
    i, j = (interactions[feature].map(position).to_numpy() for feature in ("feature_i", "feature_j"))
    cells = np.full((len(names), len(names)), np.nan)
    cells[np.maximum(i, j), np.minimum(i, j)] = interactions[column]
    offset = int((i != j).all())  # 1 if the diagonal is blank, and with it the first row and the last column
    cells = cells[offset:, : len(names) - offset]
    image = axes.imshow(cells, cmap="cividis", vmin=0)
    axes.figure.colorbar(image, ax=axes, label=_LABELS[column], shrink=0.8)
    labels = [str(name) for name in names]
    axes.set_xticks(range(cells.shape[1]), labels[: cells.shape[1]], rotation=90, parse_math=False)
    axes.set_yticks(range(len(cells)), labels[offset:], parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) <= _MAX_ANNOTATED:
        _annotate_cells(axes, cells)


def _annotate_cells(axes, cells):
    """Annotate each cell with its value, in black on bright cells and in white on dark ones."""
    for row, column in np.argwhere(~np.isnan(cells)):
        bright = cells[row, column] > np.nanmax(cells) / 2
        text = f"{cells[row, column]:.2g}"
        axes.text(column, row, text, ha="center", va="center", fontsize="x-small", color="black" if bright else "white")
