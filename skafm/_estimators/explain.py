"""Explanations of predictions, for models whose raw score is a sum over the pairs of a row."""

from numbers import Integral

import numpy as np
from scipy import sparse

from skafm._estimators.fields import encode_fields, infer_fields
from skafm._estimators.fitted_model import FittedModel, working_memory
from skafm._estimators.validation import check_finite
from skafm.inspection._explanation import DefaultNames, Explanation
from skafm.inspection._optional import import_pandas


class ExplainMixin(FittedModel):
    """Mixin for models whose raw score has a term for each pair of features."""

    def explain(self, X, *, feature_names=None):
        """Return the additive terms of the raw score of each row.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Rows to explain. In the terms of a row that lacks a one-hot field which all training rows had, a further
            feature stands for the average of that field; a factorization machine needs none.
        feature_names : array-like of shape (n_features,), default=None
            Names of the features, e.g. an encoder's ``get_feature_names_out()``. By default those seen during ``fit``,
            or x0, x1, ... if X had no names.

        Returns
        -------
        Explanation
            Intercept, linear terms and interactions, and of a DeepFM the term of its perceptron. Their sum is
            ``predict`` of a regressor, before ``clip``, and ``decision_function`` of a classifier.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model is not fitted.
        ValueError
            If X is malformed or too large for a finite result, or if ``feature_names`` has another shape.
        """
        X = self._canonical_rows(X)
        module, compact, features = self._module_for(X)
        parts = zip(*self._iter_pair_terms(module, compact, features), strict=True)
        rows, feature_i, feature_j, attention, interaction = (np.concatenate(arrays) for arrays in parts)
        weight = module.linear.weight.numpy(force=True)[compact.indices]
        linear = (weight.T * X.data).T  # (n_entries,) or (n_entries, n_outputs)
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
            feature_names=self._resolve_feature_names(feature_names, X.shape[1]),
            outputs=outputs,
            missing_fields=self._missing_field_starts(X),
            deep=self._deep_terms(module, compact),
        )

    def _deep_terms(self, module, rows):
        """Return what the raw score of each row has beside linear terms and interactions; None if nothing."""

    def top_interactions(self, X, n=20, *, by="contribution", fields=None, feature_names=None, min_support=1):
        """Return the pairs of features, or of fields, with the strongest interactions over many rows.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Rows to average over. They are processed in parts: memory is proportional to the number of distinct pairs
            that occur, whatever the number of columns.
        n : int, default=20
            Maximum number of pairs to return; at least 1.
        by : {"contribution", "attention"}, default="contribution"
            Statistic to rank the pairs by: mean_abs_contribution or mean_attention.
        fields : array-like of shape (n_features,) or "auto", default=None
            Field of each column, to rank pairs of fields instead of features: the contributions and the attention of a
            row are summed over its pairs of the same two fields. "auto" infers the fields from X, and their names from
            the common prefixes of the feature names.
        feature_names : array-like of shape (n_features,), default=None
            Names of the features, see :meth:`explain`.
        min_support : int, default=1
            Minimum number of rows that have the pair.

        Returns
        -------
        DataFrame
            One line for each pair, the strongest first, with the columns feature_i and feature_j, the names of features
            or fields; mean_abs_contribution and mean_contribution over all rows, where a row without the pair counts as
            0; mean_attention over the rows that have the pair; and support, the number of these rows. Contributions are
            averaged over several outputs.

        Raises
        ------
        ImportError
            If pandas is not installed.
        sklearn.exceptions.NotFittedError
            If the model is not fitted.
        ValueError
            If X is malformed or too large for a finite result, or if another argument is invalid.
        """
        if by not in {"contribution", "attention"}:
            raise ValueError(f"by must be 'contribution' or 'attention', got {by!r}.")
        if not (isinstance(n, Integral) and int(n) > 0):
            raise ValueError(f"n must be a positive integer, got {n!r}.")
        X = self._canonical_rows(X)
        names = np.asarray(self._resolve_feature_names(feature_names, X.shape[1]))
        groups = np.arange(X.shape[1])
        if fields is not None:
            names, groups = _resolve_fields(fields, X[:, : self.n_features_in_], names[: self.n_features_in_])
            groups = np.concatenate([groups, groups[self._missing_field_starts(X)]])
        keys, sums = np.empty(0, np.int64), np.empty((4, 0))
        for part in self._iter_pair_terms(*self._module_for(X)):
            part_keys, part_sums = _aggregate(part, groups, len(names), by_row=fields is not None)
            keys, sums = _sum_by_key(np.concatenate([keys, part_keys]), np.concatenate([sums, part_sums], axis=1))
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
        """Return the rows as CSR with sorted, distinct entries and no zeros, and with their missing fields."""
        X = self._validate_rows(X)
        X = sparse.csr_array(X, copy=sparse.issparse(X))
        X.sum_duplicates()
        X.eliminate_zeros()
        return self._with_missing_fields(X)

    def _iter_pair_terms(self, module, rows, features):
        """Yield the fields of ``PairTerms`` as arrays, for one part of the rows after another."""
        from skafm._training import conversion

        device = conversion.resolve_device(self.device)
        for part in conversion.iter_pair_terms(module, rows, device, working_memory()):
            row, i, j, *terms = part
            check_finite(rows, *terms)
            yield part if features is None else (row, features[i], features[j], *terms)

    def _missing_field_starts(self, X):
        """Return the first feature of each field that has a feature for the rows that lack it: (F,), or (0,)."""
        return self._missing_bounds[::2] if X.shape[1] > self.n_features_in_ else np.empty(0, np.int64)

    def _resolve_feature_names(self, feature_names, n_features):
        """Return the names (n_features,) of the features: as given, as seen during ``fit``, or x0, x1, ...

        ``n_features`` is that of the model, or with the features for missing fields.
        """
        if feature_names is None:
            feature_names = getattr(self, "feature_names_in_", None)
        names = DefaultNames(self.n_features_in_) if feature_names is None else np.asarray(feature_names, dtype=object)
        if names.shape != (self.n_features_in_,):
            raise ValueError(f"feature_names must have shape ({self.n_features_in_},), but has shape {names.shape}.")
        if n_features == self.n_features_in_:
            return names
        fields = [names[np.arange(*bounds)] for bounds in self._missing_bounds.reshape(-1, 2)]
        missing = [f"{_common_prefix(field, number)} (missing)" for number, field in enumerate(fields)]
        return np.concatenate([np.asarray(names), np.array(missing, object)])


def _resolve_fields(fields, X, names):
    """Return the names (n_fields,) of the fields, and the index (n_features,) of each column's field."""
    if isinstance(fields, str) and fields == "auto":
        codes = infer_fields(X)
        seen = np.unique(X.indices)  # a column without entries may be assigned to the preceding field
        columns = [names[seen[codes[seen] == code]] for code in range(codes[-1] + 1)]
        return np.array([_common_prefix(field, code) for code, field in enumerate(columns)], dtype=object), codes
    distinct, codes = encode_fields(fields, X.shape[1])
    return distinct.astype(object), codes


def _common_prefix(names, code):
    """Return what the names of a field's columns have in common before an underscore, as encoders name columns."""
    if len(names) == 0:
        return f"field {code}"
    first, last = min(names), max(names)
    if first == last:
        return first
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    prefix = first[:same].rpartition("_")[0]
    return prefix or f"field {code}"


def _aggregate(part, groups, n_groups, *, by_row):
    """Return the keys (D,) of the distinct pairs of groups in a part of the rows, and their sums (4, D).

    The sums are those of rows, attention, contribution and absolute contribution, averaged over several outputs. A row
    has a pair of features only once; it may have a pair of fields several times, which ``by_row`` sums first.
    """
    rows, feature_i, feature_j, attention, interaction = part  # (P,), and interaction (P,) or (P, C)
    i, j = groups[feature_i], groups[feature_j]
    keys = np.minimum(i, j).astype(np.int64) * n_groups + np.maximum(i, j)
    contribution = (interaction.T * attention).T.astype(np.float64)
    contribution = contribution.reshape(len(keys), *interaction.shape[1:] or (1,))  # (P, C)
    if by_row:
        pairs, pair_codes = np.unique(keys, return_inverse=True)
        cells, cell_codes = np.unique(rows * len(pairs) + pair_codes, return_inverse=True)  # a cell is a row and a pair
        keys = pairs[cells % max(len(pairs), 1)]  # (n_cells,)
        attention = np.bincount(cell_codes, attention, len(cells))  # (n_cells,)
        outputs = [np.bincount(cell_codes, output, len(cells)) for output in contribution.T]
        contribution = np.stack(outputs, axis=1)  # (n_cells, C)
    n_outputs = contribution.shape[1]
    signed, absolute = contribution.sum(1) / n_outputs, np.abs(contribution).sum(1) / n_outputs
    return _sum_by_key(keys, np.stack([np.ones(len(keys)), attention, signed, absolute]))


def _sum_by_key(keys, values):
    """Return the distinct keys (D,) of keys (P,), and the sums (4, D) of the values (4, P) of each."""
    distinct, codes = np.unique(keys, return_inverse=True)
    return distinct, np.stack([np.bincount(codes, value, len(distinct)) for value in values])
