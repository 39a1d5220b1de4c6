"""The L2 penalties of a training, and what "auto" makes of them.

With "auto" the penalty of feature i in each row in which it is not zero is ``base + c P r_i / n_i``, where n_i is the
number of such training rows and r_i the root mean square of its values in them. For V c is rounded to a power of 4, and
at most 1. The second term is a prior: over all rows it amounts to ``c P r_i``, so that more data outweighs it.

Where batch normalization makes the scale of V indifferent, "auto" is ``C n r_i / n_i`` for w and V, with n rows: over
all rows it is ``C`` times the squared norm of the tables, beside the mean loss, however many the rows are.
"""

import math

_BASE = {
    "classification": {"linear.weight": 0.0, "factors": 0.003},
    "regression": {"linear.weight": 0.0, "factors": 0.01},
    "ranking": {"linear.weight": 0.0, "factors": 0.003},
}
"""By task and parameter."""
_PRIOR = {
    "classification": {"linear.weight": 0.5, "factors": 2.0},
    "regression": {"linear.weight": 5.0, "factors": 4.0},
    "ranking": {"linear.weight": 0.5, "factors": 2.0},
}
"""P, by task and parameter. Of a regressor's loss the unit is about that of the best constant, whatever the loss."""
_SCALES = (16.0, 4.0, 1.0, 1 / 4, 1 / 16)
"""What is tried for c; the best is between two of them."""
_MAX_WEIGHTS = 2**22
"""The linear model is not fitted if it has more weights: L-BFGS takes some 200 bytes for each."""


def penalties(estimator, dataset, *, stream):
    """Return the penalties by name of the module's parameter: numbers or, of "auto", tensors (n_features,)."""
    from skafm._training.feature_statistics import feature_statistics

    values = {name: getattr(estimator, parameter) for name, parameter in estimator._penalties.items()}
    auto = [name for name, value in values.items() if value == "auto"]
    base, prior = _BASE[estimator._task], _PRIOR[estimator._task]
    values |= {name: base[name] for name in auto}
    if not auto or stream:  # the rows of a stream to come are not known
        return values
    weight, scale = feature_statistics(dataset)
    share = (scale / weight).nan_to_num(0.0)  # (n_features,)
    if estimator._table_penalty:
        n = dataset.group.all_reduce_sum(len(dataset.rows)) * dataset.mean_weight
        return values | dict.fromkeys(auto, estimator._table_penalty * n * share)
    c = getattr(estimator, "l2_scale_", 1.0)
    # Where main effects are weak, interactions may be strong: their prior does not become stronger, too.
    scales = {"linear.weight": c / estimator._n_averaged(dataset.target), "factors": min(_nearest_scale(c), 1.0)}
    return values | {name: base[name] + prior[name] * scales[name] * share for name in auto}


def choose_linear(estimator, module, dataset, validation):
    """Set the linear part to the linear model if its penalty is "auto", and return c."""
    from skafm._training import linear_start

    prior = _linear_prior(estimator, module, dataset)
    if prior is None:
        return 1.0
    return linear_start.choose_linear(module, dataset, validation, estimator._make_loss(dataset.target), prior, _SCALES)


def fit_linear(estimator, module, dataset):
    """Fit the linear part anew on more rows."""
    from skafm._training import linear_start

    prior = _linear_prior(estimator, module, dataset)
    if prior is not None:
        loss = estimator._make_loss(dataset.target)
        linear_start.fit_linear(module, dataset, loss, estimator.l2_scale_ * prior)


def _linear_prior(estimator, module, dataset):
    """Return ``P r_i`` (n_features,) of the linear model, or None if there is to be none."""
    from skafm._training.feature_statistics import feature_statistics

    if getattr(estimator, "l2_linear", None) != "auto" or not estimator._fits_linear_first:
        return None
    if estimator._table_penalty:  # weights would take long to shrink to what it leaves of them
        return None
    scale = feature_statistics(dataset).scale
    few = int(scale.count_nonzero()) * module.linear.intercept.numel() <= _MAX_WEIGHTS
    prior = _PRIOR[estimator._task]["linear.weight"] / (estimator._n_averaged(dataset.target) * dataset.mean_weight)
    return prior * scale if few else None


def _nearest_scale(c):
    """Return the scale nearest to c, which is the best for w: V, whose optimum is flat, gains nothing from more."""
    return min(_SCALES, key=lambda scale: abs(math.log(scale / c)))
