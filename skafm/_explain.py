"""Which interactions made a prediction: for models whose raw score is a sum over the pairs of a row."""

from numbers import Integral

import numpy as np
from scipy import sparse

from skafm._base import FactorizationMachine, working_memory
from skafm._fields import infer_fields, number_fields
from skafm._validation import check_finite
from skafm.inspection._explanation import Explanation
from skafm.inspection._optional import import_pandas


class PairExplained(FactorizationMachine):
    """Hands out the parts that pairs of features add to the raw score."""

    def explain(self, X, *, feature_names=None):
        """Return the additive parts of the raw score of each row.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
        feature_names : array-like of shape (n_features,), default=None
            Names to show, such as an encoder's ``get_feature_names_out()``. ``None`` takes those seen in ``fit``, or
            x0, x1, ... where there were none.

        Returns
        -------
        Explanation
            Intercept, linear terms and interactions, in the units of ``predict`` or, of a classifier, of
            ``decision_function``, and each row's sum is that; ``clip`` aside.
        """
        X = self._distinct_entries(X)
        parts = zip(*self._pairs_of(X), strict=True)
        rows, left, right, attention, interaction = (np.concatenate(each) for each in parts)
        linear = self._linear_of(X)
        entry_rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        outputs = None if linear.ndim == 1 else getattr(self, "classes_", np.arange(linear.shape[1]))
        return Explanation(
            X.shape[0],
            np.asarray(self.intercept_),
            entry_rows,
            X.indices,
            linear,
            rows,
            left,
            right,
            attention,
            interaction,
            self._names(feature_names),
            outputs,
        )

    def top_interactions(self, X, n=20, *, by="contribution", fields=None, feature_names=None, min_support=1):
        """Return the pairs of features that matter most over many rows.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            The rows, worked a part at a time. What is kept grows with the pairs that occur in them, not with the
            columns.
        n : int, default=20
            The most pairs to return.
        by : {"contribution", "attention"}, default="contribution"
            What to rank them by.
        fields : array-like of shape (n_features,) or "auto", default=None
            The name of each column's field, for the pairs of fields instead: a row's contributions and attention are
            summed over the pairs of the same two fields. "auto" finds the fields in the rows, and in the names of an
            encoder what to call them.
        feature_names : array-like of shape (n_features,), default=None
            See :meth:`explain`.
        min_support : int, default=1
            Leave out pairs that fewer rows have.

        Returns
        -------
        DataFrame
            With the columns feature_i and feature_j, names of features or fields; mean_abs_contribution, over all rows,
            those without the pair adding nothing; mean_contribution, with its sign; mean_attention, over the rows that
            have the pair; support, how many have it. With several outputs the contributions are averaged over them.
        """
        if by not in {"contribution", "attention"}:
            raise ValueError(f"by must be 'contribution' or 'attention', got {by!r}.")
        if not (isinstance(n, Integral) and int(n) > 0):
            raise ValueError(f"n must be a positive integer, got {n!r}.")
        X, names = self._distinct_entries(X), self._names(feature_names)
        groups = np.arange(X.shape[1])
        if fields is not None:
            names, groups = _name_fields(fields, X, names)
        keys, sums = np.empty(0, np.int64), np.empty((4, 0))
        for part in self._pairs_of(X):
            more = _sum_pairs(part, groups, len(names), by_row=fields is not None)
            keys, sums = _add(np.concatenate([keys, more[0]]), np.concatenate([sums, more[1]], axis=1))
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

    def _distinct_entries(self, X):
        """Return the rows as CSR with sorted, distinct entries and no zeros."""
        X = self._check_rows(X)
        X = sparse.csr_array(X, copy=sparse.issparse(X))
        X.sum_duplicates()
        X.eliminate_zeros()
        return X

    def _pairs_of(self, X):
        """Yield rows, features, attention and interaction of the pairs of a part of the rows after another."""
        from skafm import _engine

        module, device = self._ready()
        for part in _engine.pairs_of(module, X, device, working_memory()):
            check_finite(X, *part[3:])
            yield part

    def _linear_of(self, X):
        """Return ``w_i x_i`` of each entry, (n_entries,) or (n_entries, n_outputs)."""
        weight = np.asarray(self.coef_).T[X.indices]
        return (weight.T * X.data).T

    def _names(self, feature_names):
        """Return the names of the features, as given, as seen in ``fit``, or x0, x1, ..."""
        if feature_names is None:
            feature_names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)])
        names = np.asarray(feature_names, dtype=object)
        if names.shape != (self.n_features_in_,):
            raise ValueError(f"feature_names must be {self.n_features_in_} names, but has shape {names.shape}.")
        return names


def _name_fields(fields, X, names):
    """Return the names of the fields, and the number of each column's field."""
    if isinstance(fields, str) and fields == "auto":
        numbers = infer_fields(X)
        seen = np.unique(X.indices)  # a column that no row has may stand in the run before its own
        runs = [names[seen[numbers[seen] == number]] for number in range(numbers[-1] + 1)]
        return np.array([_common(run, number) for number, run in enumerate(runs)], dtype=object), numbers
    found, numbers = number_fields(fields, X.shape[1])
    return found.astype(object), numbers


def _common(names, number):
    """Return what the names of a field's columns have in common before an underscore, as an encoder writes them."""
    if len(names) == 0:
        return f"field {number}"
    first, last = min(names), max(names)
    if first == last:
        return first
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    stem = first[:same].rpartition("_")[0]
    return stem or f"field {number}"


def _sum_pairs(part, groups, n_groups, *, by_row):
    """Return the pairs (D,) of groups in a part of the rows, and their sums (4, D).

    The sums are rows, attention, contribution and its absolute value, with several outputs the mean over them. A pair
    of features is in a row but once; one of fields may be there several times, which ``by_row`` first adds up.
    """
    rows, left, right, attention, interaction = part
    i, j = groups[left], groups[right]
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
    return _add(keys, np.stack(each))


def _add(keys, sums):
    """Add the sums (4, P) of equal keys (P,)."""
    found, inverse = np.unique(keys, return_inverse=True)
    return found, np.stack([np.bincount(inverse, each, len(found)) for each in sums])
