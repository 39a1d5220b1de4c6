"""How a training went."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skafm.inspection._optional import import_pyplot


class LossCurveDisplay:
    """Loss of each epoch, and above it, with early stopping, the score of the rows held back.

    Make one with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    loss_curve : list of float
        Loss of each epoch.
    validation_scores : list of float or None, default=None
        Score of the rows held back after each epoch.
    best_iter : int, default=None
        The epoch whose parameters the model has, from 1.

    Attributes
    ----------
    axes_ : ndarray of Axes
        Of the loss, and of the score if there is one.
    figure_ : Figure

    Examples
    --------
    >>> from skafm import FMRegressor
    >>> from skafm.inspection import LossCurveDisplay
    >>> model = FMRegressor(early_stopping=False, random_state=0).fit([[1.0, 1], [1, 0], [0, 1]] * 10, [3, 1, 1] * 10)
    >>> display = LossCurveDisplay.from_estimator(model)
    >>> len(display.loss_curve) == model.n_iter_
    True
    """

    def __init__(self, loss_curve, validation_scores=None, best_iter=None):
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.best_iter = best_iter

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the training of a fitted model.

        Parameters
        ----------
        estimator : estimator, or Pipeline that ends in one
        ax : Axes or sequence of two Axes, default=None

        Returns
        -------
        display : LossCurveDisplay
        """
        model = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        check_is_fitted(model)
        if not hasattr(model, "best_iter_"):
            raise TypeError(f"{type(model).__name__} keeps no losses: expected a model of skafm, or a pipeline of one.")
        return cls(model.loss_curve_, model.validation_scores_, model.best_iter_).plot(ax)

    @classmethod
    def from_predictions(cls, loss_curve, validation_scores=None, best_iter=None, *, ax=None):
        """Draw losses at hand.

        Parameters
        ----------
        loss_curve : list of float
        validation_scores : list of float or None, default=None
        best_iter : int, default=None
        ax : Axes or sequence of two Axes, default=None

        Returns
        -------
        display : LossCurveDisplay
        """
        return cls(loss_curve, validation_scores, best_iter).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : Axes or sequence of two Axes, default=None

        Returns
        -------
        display : LossCurveDisplay
        """
        pyplot = import_pyplot()
        curves = {"training loss": self.loss_curve}
        if self.validation_scores is not None:
            curves["validation score"] = self.validation_scores
        if ax is None:
            size = {"figsize": (6, 1 + 2 * len(curves)), "layout": "constrained"}
            _, ax = pyplot.subplots(len(curves), 1, sharex=True, **size)
        self.axes_ = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
        if len(self.axes_) != len(curves):
            raise ValueError(
                f"There are {len(curves)} curves to draw, {', '.join(curves)}, but {len(self.axes_)} axes."
            )
        self.figure_ = self.axes_[0].figure
        for axes, (name, values) in zip(self.axes_, curves.items(), strict=True):
            self._draw(axes, name, values)
        self.axes_[-1].set_xlabel("epoch")
        return self

    def _draw(self, axes, name, values):
        """Draw one curve, and a mark at the epoch that was kept."""
        axes.plot(range(1, len(values) + 1), values, color="#0072b2")
        axes.set_ylabel(name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        if self.best_iter:
            axes.plot(
                self.best_iter, values[self.best_iter - 1], "o", color="#d55e00", label=f"epoch {self.best_iter}, kept"
            )
            axes.legend(frameon=False)
