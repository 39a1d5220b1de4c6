"""Plot of the loss and the validation score of each epoch."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skafm.inspection._optional import import_pyplot


class LossCurveDisplay:
    """Learning curves of a fit: the training loss of each epoch and, with early stopping, the validation score.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions` to create a display.

    Parameters
    ----------
    loss_curve : list of float
        Training loss of each epoch.
    validation_scores : list of float or None, default=None
        Validation score after each epoch.
    best_iter : int, default=None
        Epoch whose parameters the model has, from 1. 0 or None is not marked.

    Attributes
    ----------
    axes_ : ndarray of Axes
        Axes of the training loss and, if there is one, of the validation score.
    figure_ : Figure
        Figure that contains the axes.

    Examples
    --------
    >>> from skafm import FMRegressor
    >>> from skafm.inspection import LossCurveDisplay
    >>> model = FMRegressor(early_stopping=False, random_state=0).fit([[1.0, 1], [1, 0], [0, 1]] * 10, [3, 1, 1] * 10)
    >>> display = LossCurveDisplay.from_estimator(model)
    >>> print(f"the first loss is {display.loss_curve[0]:.1f}")
    the first loss is 0.7
    """

    def __init__(self, loss_curve, validation_scores=None, best_iter=None):
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.best_iter = best_iter

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Plot the learning curves of a fitted model.

        Parameters
        ----------
        estimator : estimator of skafm, or a Pipeline that ends in one
            Fitted model.
        ax : Axes or sequence of two Axes, default=None
            Axes to plot on, one or, with validation scores, two. By default a new figure is created.

        Returns
        -------
        display : LossCurveDisplay
            Object that stores the curves and the axes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If the estimator is not one of skafm.
        """
        model = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        check_is_fitted(model)
        if not hasattr(model, "best_iter_"):
            raise TypeError(
                f"{type(model).__name__} has no attribute best_iter_: expected an estimator of skafm, or a Pipeline "
                "that ends in one."
            )
        return cls(model.loss_curve_, model.validation_scores_, model.best_iter_).plot(ax)

    @classmethod
    def from_predictions(cls, loss_curve, validation_scores=None, best_iter=None, *, ax=None):
        """Plot given learning curves.

        Parameters
        ----------
        loss_curve : list of float
            Training loss of each epoch.
        validation_scores : list of float or None, default=None
            Validation score after each epoch.
        best_iter : int, default=None
            Epoch whose parameters the model has, from 1. 0 or None is not marked.
        ax : Axes or sequence of two Axes, default=None
            Axes to plot on, one or, with validation scores, two. By default a new figure is created.

        Returns
        -------
        display : LossCurveDisplay
            Object that stores the curves and the axes.
        """
        return cls(loss_curve, validation_scores, best_iter).plot(ax)

    def plot(self, ax=None):
        """Plot the learning curves.

        Parameters
        ----------
        ax : Axes or sequence of two Axes, default=None
            Axes to plot on, one or, with validation scores, two. By default a new figure is created.

        Returns
        -------
        display : LossCurveDisplay
            Object that stores the curves and the axes.
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
                f"Expected ax to have {len(curves)} axes, for {' and '.join(curves)}, got {len(self.axes_)}."
            )
        self.figure_ = self.axes_[0].figure
        for axes, (name, values) in zip(self.axes_, curves.items(), strict=True):
            self._plot_curve(axes, name, values)
        self.axes_[-1].set_xlabel("epoch")
        return self

    def _plot_curve(self, axes, name, values):
        """Plot one curve, and a marker at the epoch whose parameters the model has."""
        axes.plot(range(1, len(values) + 1), values, color="#0072b2")
        axes.set_ylabel(name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        if self.best_iter:
            axes.plot(
                self.best_iter, values[self.best_iter - 1], "o", color="#d55e00", label=f"best_iter_ = {self.best_iter}"
            )
            axes.legend(frameon=False)
