"""Epoch after epoch: score, report, stop, keep the best. No model, no data and no torch here."""

import time
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning


class Stop(NamedTuple):
    """When to stop."""

    max_iter: int
    """The most epochs."""
    tol: float
    n_iter_no_change: int
    """Stop when the best of so many epochs is not better than the best before them by more than ``tol``."""


class History(NamedTuple):
    """How a training went."""

    losses: list
    """Of each epoch."""
    scores: list
    """Of the rows held back, after each epoch; empty if there were none."""

    @property
    def best(self):
        """Number of the epoch whose parameters the model has, from 1; 0 if none was finished."""
        return 1 + int(np.argmax(self.scores)) if self.scores else len(self.losses)


def run(training, examples, monitor, stop, *, verbose, task=None, fitted=None):
    """Train until nothing gets better, and leave the training at its best epoch.

    Parameters
    ----------
    training : Training
    examples : Examples
    monitor : callable or None
        Scores the training on rows held back, the greater the better.
    stop : Stop
    verbose : bool
    task : FitTask, optional
        Told of each epoch, and may stop. A training without one is a part of another, which Ctrl-C ends with it.
    fitted : callable, optional
        Returns the fitted attributes that callbacks may ask for.

    Returns
    -------
    History

    Raises
    ------
    KeyboardInterrupt
        If the first epoch was interrupted; later ones end the training with a warning.
    """
    history, kept, over = History([], []), None, False
    losses, scores = history
    epochs = training.epochs(examples)
    try:
        while len(losses) < stop.max_iter and not over:
            started, epoch = time.perf_counter(), None if task is None else task.begin_epoch()
            losses.append(next(epochs))
            if monitor is not None:
                scores.append(monitor(training))
                if history.best == len(losses):
                    kept = training.keep()
            if verbose:
                _print_epoch(history, stop.max_iter, time.perf_counter() - started)
            over = stalled([-score for score in scores] or losses, stop.tol, stop.n_iter_no_change)
            over |= task is not None and task.end_epoch(epoch, fitted)
            over = any(training.exchange.gather(over))
    except KeyboardInterrupt:
        if task is None or not losses:
            raise
        over, done = True, f"The fit was interrupted: this is the model of {len(losses)} epochs"
        warnings.warn(f"{done} and of what was done of the next.", stacklevel=6)
    if kept is not None:
        training.bring_back(kept)
    if not over:
        what = f"The {'validation score' if scores else 'loss'} still improved by more than tol={stop.tol}"
        message = f"{what} when max_iter={stop.max_iter} epochs had ended: raise max_iter or tol."
        warnings.warn(message, ConvergenceWarning, stacklevel=6)
    return history


def stalled(losses, tol, n):
    """Return whether the best of the last n losses is not below the best before them by more than ``tol``."""
    return len(losses) > n and min(losses[-n:]) > min(losses[:-n]) - tol


def _print_epoch(history, max_iter, seconds):
    score = f", validation score {history.scores[-1]:.6f}" if history.scores else ""
    what = f"Epoch {len(history.losses)}/{max_iter}: loss {history.losses[-1]:.6f}{score}, {seconds:.2f} s"
    print(what)  # noqa: T201 asked for
