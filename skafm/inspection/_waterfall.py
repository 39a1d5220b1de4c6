"""One prediction, from the intercept through its strongest terms."""

import numpy as np

from skafm.inspection._optional import import_pyplot
from skafm.inspection._pipeline import take_apart

MORE, LESS = "#0072b2", "#d55e00"
"""Blue and vermillion, which colour-blind readers tell apart (Okabe and Ito, 2008)."""


class WaterfallDisplay:
    """Waterfall of one prediction: the intercept, the strongest terms, all others, and the raw score they lead to.

    Make one with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    labels : list of str
        Of the terms, from the top.
    contributions : ndarray of shape (n_terms,)
        What each adds to the raw score.
    intercept : float
        w0.

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure

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

    def __init__(self, labels, contributions, intercept):
        self.labels = labels
        self.contributions = contributions
        self.intercept = intercept

    @classmethod
    def from_estimator(cls, estimator, X, *, feature_names=None, n=10, output=None, ax=None):
        """Draw the prediction of a fitted model for a row.

        Parameters
        ----------
        estimator : FM, AFM or FFM, or Pipeline that ends in one
        X : {sparse matrix or array, array-like, DataFrame} of shape (1, n_features)
            One row of its input.
        feature_names : array-like of shape (n_features,), default=None
            Of the model's columns. A pipeline knows its own.
        n : int, default=10
            How many terms, the strongest, to draw by themselves.
        output : label or int, default=None
            The class or target, where there are several.
        ax : Axes, default=None

        Returns
        -------
        display : WaterfallDisplay
        """
        model, row, names = take_apart(estimator, X, feature_names)
        explanation = model.explain(row, feature_names=names)
        if len(explanation) != 1:
            raise ValueError(f"A waterfall is of one row, but X has {len(explanation)}: give X[:1] or another.")
        return cls.from_predictions(explanation, n=n, output=output, ax=ax)

    @classmethod
    def from_predictions(cls, explanation, row=0, *, n=10, output=None, ax=None):
        """Draw a row of an explanation.

        Parameters
        ----------
        explanation : Explanation
        row : int, default=0
        n : int, default=10
            How many terms, the strongest, to draw by themselves.
        output : label or int, default=None
            The class or target, where there are several.
        ax : Axes, default=None

        Returns
        -------
        display : WaterfallDisplay
        """
        if n < 0:
            raise ValueError(f"n must be 0 or more terms, got {n}.")
        explanation = explanation[row]
        frame, intercept = _of_output(explanation, output)
        terms = frame[frame["term"] != "intercept"]
        terms = terms.iloc[np.argsort(-terms["contribution"].abs(), kind="stable")]
        attentive = bool((explanation.attention != 1).any())
        labels = [_label(term, attentive) for term in terms.head(n).itertuples()]
        contributions = terms["contribution"].to_numpy()
        if len(terms) > n:
            labels.append(f"{len(terms) - n} other terms")
            contributions = np.append(contributions[:n], contributions[n:].sum())
        return cls(labels, contributions, float(intercept)).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : Axes, default=None

        Returns
        -------
        display : WaterfallDisplay
        """
        pyplot = import_pyplot()
        ends = self.intercept + np.cumsum([0.0, *self.contributions])
        labels = ["intercept", *self.labels, "raw score"]
        if ax is None:
            width = 4 + 0.08 * max(map(len, labels))
            _, ax = pyplot.subplots(figsize=(width, 1 + 0.3 * len(labels)), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        places = range(1, len(labels) - 1)
        colours = [MORE if value > 0 else LESS for value in self.contributions]
        bars = ax.barh(places, self.contributions, left=ends[:-1], color=colours)
        ax.bar_label(bars, [f"{value:+.3g}" for value in self.contributions], padding=3, fontsize="small")
        tops = np.arange(len(ends)) - 0.4
        ax.vlines(ends, tops, tops + 1.8, "grey", linewidth=0.8)  # from where a term ends to where the next begins
        for place, value in ((0, ends[0]), (len(labels) - 1, ends[-1])):
            ax.plot(value, place, "k|", markersize=14, markeredgewidth=2)
            ax.annotate(f"{value:.4g}", (value, place), (8, 0), textcoords="offset points", va="center", weight="bold")
        ax.set_yticks(range(len(labels)), labels, parse_math=False)
        ax.invert_yaxis()
        ax.use_sticky_edges = False
        ax.margins(x=0.2)  # room for the numbers beside the bars
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlabel("raw score")
        return self


def _of_output(explanation, output):
    """Return the table and the intercept of an output, or of the only one."""
    frame, intercept = explanation.to_frame(), explanation.intercept
    if explanation.outputs is None:
        if output is not None:
            raise ValueError(f"output is for a model of several, but this has one: leave it out, got {output!r}.")
        return frame, intercept
    outputs = explanation.outputs.tolist()
    if output not in outputs:
        raise ValueError(f"output must be one of {outputs}, got {output!r}: say which to draw.")
    return frame[frame["output"] == output], intercept[outputs.index(output)]


def _label(term, attentive):
    """Return the features of a term, and its attention if the model has any."""
    if term.term == "linear":
        return str(term.feature_i)
    attention = f"  (attention {term.attention:.2f})" if attentive else ""
    return f"{term.feature_i} × {term.feature_j}{attention}"  # noqa: RUF001 a times sign
