"""Explanations that average over draws, and say how sure each term is."""

import numpy as np

from skafm._estimators.explain import ExplainMixin
from skafm._estimators.feature_subset import compact_columns
from skafm._estimators.fitted_model import working_memory
from skafm._estimators.posterior import center_fields, draws_from_attributes
from skafm._estimators.validation import check_finite
from skafm.inspection._explanation import Explanation


class ExplainDrawsMixin(ExplainMixin):
    """Mixin for models that are sums over the pairs of a row in each draw."""

    def explain(self, X, *, feature_names=None):
        """Return the additive terms of the raw score of each row, averaged over the draws.

        In each draw one-hot fields that all training rows had are centered, so that a term is the difference that a
        feature makes to the average one of its field; without that draws would differ in terms that add up to the same.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Rows to explain. In a row that lacks such a field a further feature stands for an unknown level of it.
        feature_names : array-like of shape (n_features,), default=None
            Names of the features, e.g. an encoder's ``get_feature_names_out()``. By default those seen during ``fit``,
            or x0, x1, ... if X had no names.

        Returns
        -------
        Explanation
            Intercept, linear terms and interactions, with standard deviations over the draws. Their sum is ``predict``
            of a regressor, and ``decision_function`` of a classifier.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model is not fitted.
        ValueError
            If X is malformed or too large for a finite result, or if ``feature_names`` has another shape.
        """
        X = self._canonical_rows(X)
        features, compact = compact_columns(X)
        centered = self._centered_draws(features)
        parts = [*self._iter_pair_draws(compact, centered.factors)]
        rows, i, j, mean, std = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        linear = centered.weights[compact.indices] * compact.data[:, None, None]  # (N, C, S)
        several = len(centered.intercepts) > 1
        output = (slice(None), slice(None) if several else 0)
        return Explanation(
            n_rows=X.shape[0],
            intercept=centered.intercepts.mean(axis=1)[output[1]],
            linear_rows=np.repeat(np.arange(X.shape[0]), np.diff(X.indptr)),
            linear_features=X.indices,
            linear=linear.mean(axis=2)[output],
            linear_std=linear.std(axis=2)[output],
            rows=rows,
            feature_i=features[i],
            feature_j=features[j],
            attention=np.ones(len(rows), mean.dtype),
            interaction=mean[output],
            interaction_std=std[output],
            feature_names=self._resolve_feature_names(feature_names, X.shape[1]),
            outputs=self.classes_ if several else None,
            missing_fields=self._missing_field_starts(X),
        )

    def _centered_draws(self, features):
        """Return the centered draws of some features."""
        return center_fields(draws_from_attributes(self), features, self._missing_bounds)

    def _iter_pair_draws(self, rows, factors):
        """Yield the terms of pairs as ``iter_pair_draws`` does, at least one part."""
        from skafm._sampling.scores import iter_pair_draws
        from skafm._training import conversion

        empty = np.empty((0, factors.shape[1]), factors.dtype)
        yield (*np.empty((3, 0), np.int64), empty, empty)
        for part in iter_pair_draws(rows, factors, conversion.resolve_device(self.device), working_memory()):
            check_finite(rows, *part[3:])
            yield part

    def _iter_pair_terms(self, module, rows, features):  # noqa: ARG002 the draws are centered, the module is not
        """Yield the fields of ``PairTerms``, averaged over the draws."""
        used, compact = compact_columns(rows)
        used = used if features is None else features[used]
        for row, i, j, mean, _ in self._iter_pair_draws(compact, self._centered_draws(used).factors):
            yield row, used[i], used[j], np.ones(len(row)), mean if mean.shape[1] > 1 else mean[:, 0]
