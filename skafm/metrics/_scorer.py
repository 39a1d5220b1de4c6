"""Scorers of rankings for scikit-learn's model selection."""

from collections.abc import Callable
from typing import Any

from sklearn.metrics import make_scorer


def make_ranking_scorer(metric: Callable[..., float], **options: Any) -> Any:
    """Return a scorer that is given the queries by scikit-learn's metadata routing.

    It ranks by ``decision_function`` or, of estimators without one, by ``predict``.

    Parameters
    ----------
    metric : callable
        One of this module, or another function of ``y_true``, ``y_score`` and ``qid``, greater being better.
    **options
        Passed to the metric, such as ``k``.

    Returns
    -------
    callable
        Scorer for ``scoring`` of :func:`sklearn.model_selection.cross_val_score` and others, which asks for ``qid``.
        Queries must not be split: use :class:`sklearn.model_selection.GroupKFold` with the queries as groups.

    Raises
    ------
    RuntimeError
        If metadata routing is not enabled.

    Examples
    --------
    >>> import numpy as np
    >>> import sklearn
    >>> from sklearn.model_selection import GroupKFold, cross_val_score
    >>> from skafm import FMClassifier
    >>> from skafm.metrics import make_ranking_scorer, ndcg_at_k
    >>> rows = np.random.default_rng(0).integers(0, 4, size=(400, 2))
    >>> X, y, qid = np.hstack([np.eye(4)[column] for column in rows.T]), rows[:, 0] == rows[:, 1], np.arange(400) // 8
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     scorer = make_ranking_scorer(ndcg_at_k, k=5)
    ...     params = {"groups": qid, "qid": qid}
    ...     model = FMClassifier(random_state=0)
    ...     scores = cross_val_score(model, X, y, scoring=scorer, cv=GroupKFold(4), params=params)
    >>> scores.round(1)
    array([1., 1., 1., 1.])
    """
    scorer = make_scorer(metric, response_method=("decision_function", "predict"), **options)
    return scorer.set_score_request(qid=True)
