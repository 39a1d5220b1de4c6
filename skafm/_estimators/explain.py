"""Explanations of predictions: for models whose raw score is a sum over the pairs of a row."""

from numbers import Integral

import numpy as np
from scipy import sparse

from skafm._estimators.base import FactorizationMachine, working_memory
from skafm._estimators.fields import encode_fields, infer_fields
from skafm._estimators.validation import check_finite
from skafm.inspection._explanation import Explanation
from skafm.inspection._optional import import_pandas


class ExplainMixin(FactorizationMachine):
    """Returns the terms that pairs of features add to the raw score."""

    def explain(self, X, *, feature_names=None):
        """Return the additive terms of the raw score of each row.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
        feature_names : array-like of shape (n_features,), default=None
            Names to show, such as an encoder's ``get_feature_names_out()``. Default are those seen in ``fit``, or x0,
            x1, ... if X had no names.

        Returns
        -------
        Explanation
            Intercept, linear terms and interactions. Their sum is ``predict`` of a regressor, before ``clip``, and
            ``decision_function`` of a classifier.
        """
        X = self._canonical_rows(X)
        parts = zip(*self._iter_pair_terms(X), strict=True)
        rows, feature_i, feature_j, attention, interaction = (np.concatenate(each) for each in parts)
        linear = self._linear_terms(X)
        entry_rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        outputs = None if linear.ndim == 1 else getattr(self, "classes_", np.arange(linear.shape[1]))
        return Explanation(
            n_rows=X.shape[0],
            intercept=np.asarray(self.intercept_),
            linear_rows=entry_rows,
            linear_features=X.indices,
            linear=linear,
            rows=rows,
            feature_i=feature_i,
            feature_j=feature_j,
            attention=attention,
            interaction=interaction,
            feature_names=self._names(feature_names),
            outputs=outputs,
        )

    def top_interactions(self, X, n=20, *, by="contribution", fields=None, feature_names=None, min_support=1):
        """Return the pairs of features that matter most over many rows.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            The rows, processed in parts. Memory grows with the number of distinct pairs in them, not of columns.
        n : int, default=20
            Maximum number of pairs to return.
        by : {"contribution", "attention"}, default="contribution"
            The statistic to rank them by.
        fields : array-like of shape (n_features,) or "auto", default=None
            The field of each column, to rank pairs of fields instead: a row's contributions and attention are summed
            over the pairs of the same two fields. "auto" infers the fields from the rows, and their names from the
            common prefixes of an encoder's feature names.
        feature_names : array-like of shape (n_features,), default=None
            See :meth:`explain`.
        min_support : int, default=1
            Minimum number of rows that have the pair.

        Returns
        -------
        DataFrame
            With the columns feature_i and feature_j, names of features or fields; mean_abs_contribution and
            mean_contribution, over all rows, a row without the pair counting as 0; mean_attention, over the rows that
            have the pair; support, the number of these. Contributions are averaged over several outputs.
        """
        if by not in {"contribution", "attention"}:
            raise ValueError(f"by must be 'contribution' or 'attention', got {by!r}.")
        if not (isinstance(n, Integral) and int(n) > 0):
            raise ValueError(f"n must be a positive integer, got {n!r}.")
        X, names = self._canonical_rows(X), self._names(feature_names)
        groups = np.arange(X.shape[1])
        if fields is not None:
            names, groups = _name_fields(fields, X, names)
        keys, sums = np.empty(0, np.int64), np.empty((4, 0))
        for part in self._iter_pair_terms(X):
            more = _aggregate(part, groups, len(names), by_row=fields is not None)
            keys, sums = _sum_by_key(np.concatenate([keys, more[0]]), np.concatenate([sums, more[1]], axis=1))
        support, attention, contribution, absolute = sums
        table = {
            "feature_i": names[keys // len(names)],
            "feature_j": names[keys % len(names)],
            "mean_abs_contribution": absolute / X.shape[0],
            "mean_contribution": contribution / X.shape[0],
            "mean_attention": attention / support,
            "support": support.astype(int),
        }
        frame = import_pandas().DataFrame(table)
        column = {"contribution": "mean_abs_contribution", "attention": "mean_attention"}[by]
        frame = frame[frame["support"] >= min_support].sort_values(column, ascending=False, kind="stable")
        return frame.head(n).reset_index(drop=True)

    def _canonical_rows(self, X):
        """Return the rows as CSR with sorted, distinct entries and no zeros."""
        X = self._validate_rows(X)
        X = sparse.csr_array(X, copy=sparse.issparse(X))
        X.sum_duplicates()
        X.eliminate_zeros()
        return X

    def _iter_pair_terms(self, X):
        """Yield rows, features i and j, attention and interaction of the pairs, one part of the rows after another."""
        from skafm._training import conversion

        module, device = self._fitted_module()
        for part in conversion.iter_pair_terms(module, X, device, working_memory()):
            check_finite(X, *part[3:])
            yield part

    def _linear_terms(self, X):
        """Return ``w_i x_i`` of each entry, (n_entries,) or (n_entries, n_outputs)."""
        weight = np.asarray(self.coef_).T[X.indices]
        return (weight.T * X.data).T

    def _names(self, feature_names):
        """Return the names of the features, as given, as seen in ``fit``, or x0, x1, ..."""
        if feature_names is None:
            feature_names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)])
        names = np.asarray(feature_names, dtype=object)
        if names.shape != (self.n_features_in_,):
            raise ValueError(f"feature_names must have shape ({self.n_features_in_},), but has shape {names.shape}.")
        return names


def _name_fields(fields, X, names):
    """Return the names of the fields, and the index of each column's field."""
    if isinstance(fields, str) and fields == "auto":
        numbers = infer_fields(X)
        seen = np.unique(X.indices)  # a column without entries may be in the run before its own
        runs = [names[seen[numbers[seen] == number]] for number in range(numbers[-1] + 1)]
        return np.array([_common_prefix(run, number) for number, run in enumerate(runs)], dtype=object), numbers
    found, numbers = encode_fields(fields, X.shape[1])
    return found.astype(object), numbers


def _common_prefix(names, number):
    """Return the common prefix before an underscore of a field's column names, as an encoder writes them."""
    if len(names) == 0:
        return f"field {number}"
    first, last = min(names), max(names)
    if first == last:
        return first
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    stem = first[:same].rpartition("_")[0]
    return stem or f"field {number}"


def _aggregate(part, groups, n_groups, *, by_row):
    """Return the keys (D,) of the distinct pairs of groups in a part of the rows, and their sums (4, D).

    The sums are of rows, attention, contribution and its absolute value, averaged over several outputs. A row has a
    pair of features only once; it may have a pair of fields several times, which ``by_row`` sums first.
    """
    rows, feature_i, feature_j, attention, interaction = part
    i, j = groups[feature_i], groups[feature_j]
    keys = np.minimum(i, j).astype(np.int64) * n_groups + np.maximum(i, j)
    contribution = (interaction.T * attention).T.astype(np.float64).reshape(len(keys), *interaction.shape[1:] or (1,))
    if by_row:
        pairs, inverse = np.unique(keys, return_inverse=True)
        cells, cell = np.unique(rows * len(pairs) + inverse, return_inverse=True)
        keys = pairs[cells % max(len(pairs), 1)]
        attention = np.bincount(cell, attention, len(cells))
        columns = [np.bincount(cell, column, len(cells)) for column in contribution.T]
        contribution = np.stack(columns, axis=1)
    n_outputs = contribution.shape[1]
    each = np.ones(len(keys)), attention, contribution.sum(1) / n_outputs, np.abs(contribution).sum(1) / n_outputs
    return _sum_by_key(keys, np.stack(each))


def _sum_by_key(keys, sums):
    """Return the distinct keys (D,) of keys (P,), and the totals (4, D) of their sums (4, P)."""
    found, inverse = np.unique(keys, return_inverse=True)
    return found, np.stack([np.bincount(inverse, each, len(found)) for each in sums])
