"""Scores on the validation set, for early stopping."""

import copy
import inspect
from numbers import Real

import numpy as np

from skafm._training.collectives import SINGLE_PROCESS


def negative_loss(dataset):
    """Return the function that scores a trainer by its loss on a data set, greater being better."""
    return lambda trainer: -trainer.evaluate(dataset)


def validation_score(estimator, data, dataset):
    """Return the function that scores a trainer by the estimator's ``scoring``, greater being better.

    Parameters
    ----------
    estimator : FactorizationMachine
    data : Samples
        The validation set.
    dataset : Dataset
        The same on the device.
    """
    scoring = estimator.scoring
    if scoring == "loss":
        return negative_loss(dataset)
    if dataset.catalog is not None:
        return _catalog_score(estimator, dataset)
    if data.group is not SINGLE_PROCESS:
        raise ValueError(
            f"Only scoring='loss' is supported in distributed training, got {scoring!r}, which would score the samples "
            "of one rank."
        )
    scorer, metadata = estimator._validation_scorer(), estimator._scorer_metadata(data).items()
    metadata = {name: value for name, value in metadata if value is not None and _takes(scorer, name)}
    y = estimator._decode_target(data.y)

    def score(trainer):
        fitted = copy.copy(estimator)
        fitted.__dict__.pop("feature_names_in_", None)  # the validated rows have no names
        fitted.__dict__.update(estimator._fitted_attributes(trainer))
        try:
            value = scorer(fitted, data.X, y, **metadata)
        except ValueError as error:
            raise ValueError(
                f"scoring={scoring!r} failed on the validation set of {len(y)} samples: {error} If a class has too few "
                "samples to be in it, pass X_val and y_val, or use scoring='loss'."
            ) from error
        if not (isinstance(value, Real) and np.isfinite(float(value))):
            raise ValueError(
                f"scoring={scoring!r} must return a finite number, but returned {value!r} on the validation set: use "
                "another scorer, or 'loss'."
            )
        return float(value)

    return score


def _catalog_score(estimator, dataset):
    """Return the function that scores a trainer by the ranks of the rows' items in the catalog."""
    from skafm._training.ranking_losses import rank_gain

    if estimator.scoring != "metric":
        raise ValueError(f"scoring must be 'metric' or 'loss' if all items compete, got {estimator.scoring!r}.")
    gain = rank_gain(estimator.metric, estimator.k)
    return lambda trainer: trainer.mean(dataset, gain)


def _takes(scorer, name):
    """Return whether a scorer, or the metric that it is made of, takes an argument of this name."""
    parameters = inspect.signature(getattr(scorer, "_score_func", scorer)).parameters
    return name in parameters or any(each.kind == each.VAR_KEYWORD for each in parameters.values())
