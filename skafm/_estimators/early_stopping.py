"""The epochs of a fit: score, report, stop, and keep the best. No model, no data and no torch here."""

import time
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skafm._estimators.advice import warn


class StoppingCriterion(NamedTuple):
    """When to stop."""

    max_iter: int
    """Most epochs."""
    tol: float
    n_iter_no_change: int
    """Stop if the best of this many epochs is not better than the best before them by more than ``tol``."""
    lowers_rate: bool = False
    """Whether training continues from the best epoch with a tenth of the learning rate, once, before it stops so."""


class History(NamedTuple):
    """Losses and scores of a training."""

    losses: list
    """Of each epoch."""
    scores: list
    """On the validation set, after each epoch; empty if there is none."""
    candidates: list
    """The scores again, but -inf of an epoch that is better than the initial parameters by chance, perhaps."""
    initial_score: float = -np.inf
    """On the validation set, of the parameters that the model has if no epoch is better."""

    @property
    def best(self):
        """Number of the epoch whose parameters the model has, from 1; 0 if it has those before the first one."""
        return int(np.argmax([self.initial_score, *self.candidates])) if self.scores else len(self.losses)


def run_epochs(trainer, dataset, score, stop, *, initial=None, required_gain=None, verbose, task=None, fitted=None):
    """Train until there is no improvement, and leave the trainer at its best epoch.

    Parameters
    ----------
    trainer : Trainer
    dataset : Dataset
    score : callable or None
        Scores the trainer on the validation set, greater being better.
    stop : StoppingCriterion
    initial : tuple of float and dict, optional
        Score and snapshot of the trainer that is kept if no epoch is better.
    required_gain : callable, optional
        Returns how much better a score has to be than the initial one now; by default any gain will do.
    verbose : bool
    task : FitTask, optional
        Is notified of each epoch, and may stop. Without one, Ctrl-C is not handled.
    fitted : callable, optional
        Returns the fitted attributes for callbacks.

    Returns
    -------
    History

    Raises
    ------
    KeyboardInterrupt
        If the first epoch was interrupted; in later ones Ctrl-C ends the training with a warning.
    """
    initial_score, snapshot = (-np.inf, None) if initial is None else initial
    history, done = History([], [], [], initial_score), False
    losses, scores, candidates, _ = history
    epochs, patience = trainer.epochs(dataset), _Patience(stop, dataset.group)
    try:
        while len(losses) < stop.max_iter and not done:
            started, epoch = time.perf_counter(), None if task is None else task.begin_epoch()
            losses.append(next(epochs))
            if score is not None:
                scores.append(score(trainer))
                candidates.append(scores[-1])
                if required_gain and history.best == len(losses) and scores[-1] - initial_score <= required_gain():
                    candidates[-1] = -np.inf
                if history.best == len(losses):
                    snapshot = trainer.snapshot(snapshot)
            if verbose:
                _print_epoch(history, stop.max_iter, time.perf_counter() - started)
            done = patience.is_over([-each for each in scores] or losses, trainer, snapshot)
            done |= task is not None and task.end_epoch(epoch, fitted)
            done = any(dataset.group.all_gather(done))
    except KeyboardInterrupt:
        if task is None or not losses:
            raise
        done, what = True, f"Training was interrupted: returning the model after {len(losses)} completed epochs"
        warn(f"{what} and a part of the next one.", UserWarning)
    if snapshot is not None:
        trainer.restore(snapshot)
    if not done:
        what = f"{'validation score' if scores else 'loss'} still improved by more than tol={stop.tol}"
        message = f"Maximum iterations (max_iter={stop.max_iter}) reached and the {what}: increase max_iter or tol."
        warn(message, ConvergenceWarning)
    return history


class _Patience:
    """How long a training continues without improvement.

    Parameters
    ----------
    stop : StoppingCriterion
    group : ProcessGroup
    """

    def __init__(self, stop, group):
        self.stop, self.group = stop, group
        self.first, self.may_lower = 0, stop.lowers_rate

    def is_over(self, losses, trainer, snapshot):
        """Return whether training should stop; the first time it lowers the learning rate instead, if it may."""
        over = no_improvement(losses, self.stop.tol, self.stop.n_iter_no_change, self.first)
        if not self.may_lower or not any(self.group.all_gather(over)):
            return over
        self.first, self.may_lower = len(losses), False
        trainer.lower_learning_rate(snapshot)
        return False


def no_improvement(losses, tol, n, first=0):
    """Return whether the best of the last n losses is not below the best before them by more than ``tol``.

    Loss number ``first`` is the first that may be among the last n.
    """
    return len(losses) > n and len(losses) - first >= n and min(losses[-n:]) >= min(losses[:-n]) - tol


def _print_epoch(history, max_iter, seconds):
    score = f", validation score {history.scores[-1]:.6f}" if history.scores else ""
    line = f"Epoch {len(history.losses)}/{max_iter}: loss {history.losses[-1]:.6f}{score}, {seconds:.2f} s"
    print(line)  # noqa: T201 asked for by verbose
