"""What grades of relevance are to the raw score: a mixin that is combined with a model."""

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length

from skafm._estimators.base import FactorizationMachine
from skafm._estimators.callbacks import FitTask
from skafm._estimators.queries import (
    check_given,
    check_relevance,
    has_two_grades,
    number_queries,
    queries_are_features,
)
from skafm._estimators.ranking_metrics import METRICS
from skafm._estimators.sklearn_compat import fit_context, with_callbacks

_MIN_QUERIES = 20
"""From this number on, ``early_stopping="auto"`` uses a validation set."""
_MAX_FLOAT32 = 2**24
"""Up to this one float32 has all integers."""


class Ranking(FactorizationMachine):
    """A loss of the order of the rows of each query.

    A checked target has three columns: relevance, the number of the query, and the row's weight.
    """

    _task = "ranking"
    _fits_linear_first = False
    _target_checks = {"y_numeric": True, "multi_output": True}

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        qid=None,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
        qid_val=None,
    ):
        """Fit the model.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Training data, finite; a CSR matrix is used without a copy. float32 is computed in float32, everything else
            in float64.
        y : array-like of shape (n_samples,)
            Relevance of each row to its query, at least 0. Queries whose rows all have the same are left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; only their ratios matter. A pair of rows has the product of their weights. ``None``
            gives all samples the same weight.
        qid : array-like of shape (n_samples,)
            Query of each row, a number or a string; only rows of the same query are compared. They may be anywhere in
            X. In cross-validation and pipelines it is routed by ``set_fit_request(qid=True)``.
        X_val : {sparse matrix or array, array-like} of shape (n_val, n_features), default=None
            Validation set for early stopping, used instead of a part of the queries; needs ``y_val`` and ``qid_val``.
        y_val : array-like of shape (n_val,), default=None
            Relevance of the rows of the validation set.
        sample_weight_val : array-like of shape (n_val,), default=None
            Sample weights of the validation set, which the loss takes into account and the metrics do not.
        qid_val : array-like of shape (n_val,), default=None
            Query of each row of the validation set.

        Returns
        -------
        self : object
            The fitted estimator. If interrupted by Ctrl-C after the first epoch, the model so far, with a warning.

        Raises
        ------
        ValueError
            If the input is malformed, if no query has rows of two grades, or if the loss is no longer finite.
        KeyboardInterrupt
            If interrupted before the first epoch ends. After this or any other error the estimator is unchanged.
        """
        if qid_val is not None and X_val is None:
            raise ValueError("qid_val needs X_val and y_val: pass them too, or do not pass it.")
        task = FitTask(self, X, y, self.max_iter, sample_weight=sample_weight, qid=qid)
        val = None if y_val is None else (y_val, qid_val)
        return self._fit(task, (X, (y, qid), sample_weight), (X_val, val, sample_weight_val))

    def predict(self, X):
        """Return the score of each row: of two rows of a query the one with the greater score ranks higher.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.

        Returns
        -------
        ndarray of shape (n_samples,)
            Raw scores. With ``loss="pairwise"`` a difference is the log-odds that one row is more relevant than the
            other. Scores of different queries cannot be compared.
        """
        return self._predict_raw(X)

    def score(self, X, y, sample_weight=None, *, qid=None):
        """Return the mean of ``metric`` at ``k`` over the queries.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.
        y : array-like of shape (n_samples,)
            Relevance of each row to its query, at least 0.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. Rows of weight zero are left out; the metrics have no other weights.
        qid : array-like of shape (n_samples,)
            Query of each row. In cross-validation it is routed by ``set_score_request(qid=True)``.

        Returns
        -------
        float
            Between 0 and 1, as the function of that name in :mod:`skafm.metrics`: by default the normalized discounted
            cumulative gain (NDCG).

        Raises
        ------
        ValueError
            If the input is malformed, or if no query has a row of relevance above 0.
        """
        check_given(qid)
        table = [y, self.predict(X), qid]
        if sample_weight is not None:
            check_consistent_length(*table, sample_weight)
            table = [np.asarray(each)[np.asarray(sample_weight) > 0] for each in table]
        return METRICS[self.metric](*table, k=self.k)

    def _pack_target(self, relevance, query):
        """Return what ``_fit`` takes as targets."""
        return relevance, query

    def _corrects_sampling(self):
        """Return whether the loss has weights that correct for how often rows were drawn."""
        return self.loss == "softmax"

    def _prediction_bounds(self):
        """Return None: a score has no bounds."""

    def _validate_samples(self, X, y, sample_weight, group, *, reset, training):
        relevance, qid = y
        if relevance is not None:
            y = np.column_stack([check_relevance(relevance), number_queries(qid, relevance)])
        return super()._validate_samples(
            X, None if relevance is None else y, sample_weight, group, reset=reset, training=training
        )

    def _check_target(self, y, weight, group, *, training):  # noqa: ARG002
        """Return checked targets, and weights of 0 where a row has none of another grade to be compared with."""
        relevance, query = y.T
        if relevance.min() < 0:
            raise ValueError(f"y must be at least 0, the relevance of a row, but its least value is {relevance.min()}.")
        weight = np.where(has_two_grades(relevance, query, weight > 0), weight, 0.0)
        if not weight.any():
            raise ValueError(
                f"No query has rows of two grades: y has values from {relevance.min():g} to {relevance.max():g}, in "
                f"n_samples={len(query)} rows of {len(np.unique(query))} queries. Pass as qid what the rows that "
                "compete with one another have in common, such as the user or the search, or use a regressor or a "
                "classifier."
            )
        return np.column_stack([relevance, query, weight]), weight

    def _has_few(self, data):
        n_queries, are_features = len(np.unique(data.y[:, 1])), queries_are_features(data)
        counts, flags = zip(*data.group.all_gather((n_queries, are_features)), strict=True)
        return super()._has_few(data) or (sum(counts) < _MIN_QUERIES and not all(flags))

    def _split(self, data, **size):
        """Return two parts of the samples, as indices: whole queries or, if these are features, rows of them."""
        relevance, query, _ = data.y.T
        if not queries_are_features(data):
            held_out = np.isin(query, train_test_split(np.unique(query), **size)[1])
        else:
            held_out = np.isin(np.arange(len(query)), train_test_split(np.arange(len(query)), **size)[1])
            held_out &= has_two_grades(relevance, query, held_out)
        if not held_out.any():
            raise ValueError("no query has two grades among the held-out rows. Increase it, or pass X_val.")
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def _to_dataset(self, data, device, *, normalize=True):
        import torch

        query = np.unique(data.y[:, 1], return_inverse=True)[1]  # (n_samples,)
        if data.X.dtype == np.float32 and data.y[:, 1].max() > _MAX_FLOAT32:
            raise ValueError(f"More than {_MAX_FLOAT32:,} queries need X in float64, got float32.")
        dataset = super()._to_dataset(data, device, normalize=normalize)
        return dataset._replace(query=torch.as_tensor(query, device=device))

    def _make_loss(self, like):  # noqa: ARG002 it has no unit
        from skafm._training.ranking_losses import make_ranking_loss

        return make_ranking_loss(self.loss, **{"k": self.k} if self.loss == "lambdarank" else {})

    def _freeze(self, module):
        from skafm._training.conversion import intercept_of

        super()._freeze(module)
        intercept_of(module)[1].requires_grad_(False)  # all rows have it, so that no order depends on it

    def _validation_scorer(self):
        if self.scoring != "metric":
            return self.scoring
        return lambda model, X, y, qid: model.score(X, y, qid=qid)

    def _scorer_metadata(self, data):
        return super()._scorer_metadata(data) | {"qid": data.y[:, 1]}

    def _measure_loss(self, data):
        """Measure nothing."""

    def _fit_target_scale(self, data):  # noqa: ARG002 scores have no unit
        return np.zeros(()), np.ones(())

    def _update_target_scale(self, data):  # noqa: ARG002
        return True, 0.0

    def _encode_target(self, y):
        return y

    def _decode_target(self, y):
        return y[:, 0]

    def _stratify(self, y):  # noqa: ARG002
        return None

    def _count_outputs(self, y):  # noqa: ARG002
        return None

    def _initial_intercept(self, data):  # noqa: ARG002
        return np.zeros(())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = tags.target_tags.positive_only = True
        return tags
