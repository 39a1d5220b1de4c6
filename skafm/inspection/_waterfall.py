"""Waterfall plot of one prediction."""

import numpy as np

from skafm.inspection._explain import explain
from skafm.inspection._optional import import_pyplot

_POSITIVE, _NEGATIVE = "#0072b2", "#d55e00"
"""Colors of positive and negative terms: blue and vermillion, a color-blind safe pair (Okabe and Ito, 2008)."""


class WaterfallDisplay:
    """Waterfall plot of one prediction: the intercept, the largest terms, the sum of all others, and the raw score.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions` to create a display.

    Parameters
    ----------
    labels : list of str
        Labels of the terms, from top to bottom.
    contributions : ndarray of shape (n_terms,)
        Contribution of each term to the raw score.
    intercept : float
        Intercept w0.
    std : ndarray of shape (n_terms,), default=None
        Standard deviation of each contribution over the draws of a Bayesian model, drawn as error bars; nan for the sum
        of the other terms.

    Attributes
    ----------
    ax_ : Axes
        Axes with the plot.
    figure_ : Figure
        Figure that contains the axes.

    See Also
    --------
    InteractionDisplay : Heat map of the interactions over many rows.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import AFMRegressor
    >>> from skafm.inspection import WaterfallDisplay
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), AFMRegressor(random_state=0)).fit(X, y)
    >>> display = WaterfallDisplay.from_estimator(model, X[:1], n=1)
    >>> display.labels[1]
    '2 other terms'
    """

    def __init__(self, labels, contributions, intercept, std=None):
        self.labels = labels
        self.contributions = contributions
        self.intercept = intercept
        self.std = std

    @classmethod
    def from_estimator(cls, estimator, X, *, feature_names=None, n=10, output=None, ax=None):
        """Plot the prediction of a fitted model for one row.

        Parameters
        ----------
        estimator : FM, AFM, HOFM or FFM estimator, or a Pipeline that ends in one
            Fitted model.
        X : {sparse matrix or array, array-like, DataFrame} of shape (1, n_features)
            Input of the estimator or pipeline, a single row.
        feature_names : array-like of shape (n_features,), default=None
            Names of the columns of the model; by default those of the pipeline, or those seen during ``fit``.
        n : int, default=10
            Maximum number of terms to plot separately, the largest; at least 0. All others are summed.
        output : label or int, default=None
            Class or target to plot. Required with several raw scores, otherwise None.
        ax : Axes, default=None
            Axes to plot on. By default a new figure is created.

        Returns
        -------
        display : WaterfallDisplay
            Object that stores the terms and the axes.

        Raises
        ------
        ImportError
            If matplotlib or pandas is not installed.
        TypeError
            If the estimator has no method ``explain``.
        ValueError
            If X has not exactly one row, or if ``n`` or ``output`` is invalid.
        """
        explanation = explain(estimator, X, feature_names=feature_names)
        if len(explanation) != 1:
            raise ValueError(f"Expected exactly one sample, got {len(explanation)}: pass a single row, e.g. X[:1].")
        return cls.from_predictions(explanation, n=n, output=output, ax=ax)

    @classmethod
    def from_predictions(cls, explanation, row=0, *, n=10, output=None, ax=None):
        """Plot one row of an explanation.

        Parameters
        ----------
        explanation : Explanation
            Explanation as returned by ``explain``.
        row : int, default=0
            Index of the row to plot.
        n : int, default=10
            Maximum number of terms to plot separately, the largest; at least 0. All others are summed.
        output : label or int, default=None
            Class or target to plot. Required with several raw scores, otherwise None.
        ax : Axes, default=None
            Axes to plot on. By default a new figure is created.

        Returns
        -------
        display : WaterfallDisplay
            Object that stores the terms and the axes.
        """
        if n < 0:
            raise ValueError(f"n must be at least 0, got {n}.")
        explanation = explanation[row]
        frame, intercept = _select_output(explanation, output)
        terms = frame[frame["term"] != "intercept"]
        terms = terms.iloc[np.argsort(-terms["contribution"].abs(), kind="stable")]
        has_attention = bool((explanation.attention != 1).any())
        labels = [_term_label(term, has_attention) for term in terms.head(n).itertuples()]
        contributions = terms["contribution"].to_numpy()
        std = terms["std"].to_numpy() if "std" in terms else None
        if len(terms) > n:
            labels.append(f"{len(terms) - n} other terms")
            contributions = np.append(contributions[:n], contributions[n:].sum())
            std = None if std is None else np.append(std[:n], np.nan)
        return cls(labels, contributions, float(intercept), std).plot(ax)

    def plot(self, ax=None):
        """Plot the waterfall.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to plot on. By default a new figure is created.

        Returns
        -------
        display : WaterfallDisplay
            Object that stores the terms and the axes.
        """
        pyplot = import_pyplot()
        ends = self.intercept + np.cumsum([0.0, *self.contributions])
        labels = ["intercept", *self.labels, "raw score"]
        if ax is None:
            width = 4 + 0.08 * max(map(len, labels))
            _, ax = pyplot.subplots(figsize=(width, 1 + 0.3 * len(labels)), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        positions = range(1, len(labels) - 1)
        colors = [_POSITIVE if value > 0 else _NEGATIVE for value in self.contributions]
        bars = ax.barh(positions, self.contributions, left=ends[:-1], color=colors)
        if self.std is not None:
            ax.errorbar(ends[1:], positions, xerr=self.std, fmt="none", ecolor="black", capsize=2)
        ax.bar_label(bars, [f"{value:+.3g}" for value in self.contributions], padding=3, fontsize="small")
        tops = np.arange(len(ends)) - 0.4
        ax.vlines(ends, tops, tops + 1.8, "grey", linewidth=0.8)  # connect the end of each bar with the next bar
        for y, value in ((0, ends[0]), (len(labels) - 1, ends[-1])):
            ax.plot(value, y, "k|", markersize=14, markeredgewidth=2)
            ax.annotate(f"{value:.4g}", (value, y), (8, 0), textcoords="offset points", va="center", weight="bold")
        ax.set_yticks(range(len(labels)), labels, parse_math=False)
        ax.invert_yaxis()
        ax.use_sticky_edges = False
        ax.margins(x=0.2)  # room for the numbers next to the bars
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlabel("raw score")
        return self


def _select_output(explanation, output):
    """Return the table and the intercept of one output."""
    frame, intercept = explanation.to_frame(), explanation.intercept
    if explanation.outputs is None:
        if output is not None:
            raise ValueError(f"output must be None for a model with a single output, got {output!r}.")
        return frame, intercept
    outputs = explanation.outputs.tolist()
    if output not in outputs:
        raise ValueError(f"output must be one of {outputs}, got {output!r}.")
    return frame[frame["output"] == output], intercept[outputs.index(output)]


def _term_label(term, has_attention):
    """Return the label of a term: its features, and its attention if the model has any."""
    if term.term != "interaction":
        return "deep part" if term.term == "deep" else str(term.feature_i)
    attention = f"  (attention {term.attention:.2f})" if has_attention else ""
    return f"{term.feature_i} × {term.feature_j}{attention}"  # noqa: RUF001 a times sign
