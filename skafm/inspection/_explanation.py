"""The additive terms of predictions, as arrays and as tables."""

from copy import copy

import numpy as np
from sklearn import get_config

from skafm.inspection._html import explanation_html_repr
from skafm.inspection._optional import import_pandas


class DefaultNames:
    """The names x0, x1, ..., made when asked for: a million of them take longer than the explanation of a row."""

    def __init__(self, n_features):
        self.shape = (n_features,)

    def __len__(self):
        """Return the number of features."""
        return self.shape[0]

    def __getitem__(self, features):
        """Return the names of some features, an array of their numbers."""
        return np.array([f"x{i}" for i in features], dtype=object)

    def __array__(self, dtype=None, copy=None):
        """Return all names."""
        return self[range(len(self))].astype(dtype or object)


class Explanation:
    """Additive terms of the raw score of each row: intercept, linear terms, interactions and a perceptron's term.

    The terms of a row sum to ``predict`` of a regressor, before ``clip``, or to ``decision_function`` of a classifier.
    ``len`` returns the number of rows; indexing with an integer or a slice selects rows.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    intercept : ndarray of shape () or (n_outputs,)
        Intercept w0.
    linear_rows, linear_features : ndarray of shape (n_entries,)
        Row and feature of each non-zero entry, ordered by row.
    linear : ndarray of shape (n_entries,) or (n_entries, n_outputs)
        Linear term ``w_i x_i`` of each non-zero entry.
    rows, feature_i, feature_j : ndarray of shape (n_pairs,)
        Row and the two features (column indices) of each pair, ordered by row.
    attention : ndarray of shape (n_pairs,)
        Attention weight a_ij of each pair; 1 in a model without attention.
    interaction : ndarray of shape (n_pairs,) or (n_pairs, n_outputs)
        Interaction of each pair, before it is multiplied by the attention.
    feature_names : ndarray of shape (n_features,)
        Names of the features in tables and plots.
    outputs : ndarray of shape (n_outputs,) or None
        Classes, or indices of the targets, if there are several raw scores; otherwise None.
    missing_fields : ndarray of shape (n_fields,)
        The last ``n_fields`` features stand for fields that a row lacks: the first feature of each of these fields.
    deep : ndarray of shape (n_rows,) or (n_rows, n_outputs), or None
        Term of the perceptron of a model that has one beside the pairs; otherwise None. It has no parts.
    linear_std, interaction_std : ndarray, shaped as ``linear`` and ``interaction``, or None
        Standard deviations over the draws of a Bayesian model; otherwise None.

    See Also
    --------
    skafm.inspection.WaterfallDisplay : Plot of the terms of one row.

    Examples
    --------
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FMRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> encoder = OneHotEncoder().fit(X)
    >>> model = FMRegressor(random_state=0).fit(encoder.transform(X), y)
    >>> explanation = model.explain(encoder.transform(X[:2]), feature_names=encoder.get_feature_names_out())
    >>> len(explanation), explanation.sum().round().tolist()
    (2, [0.0, 1.0])
    >>> explanation[0].top(1)[["feature_i", "feature_j"]].to_numpy().tolist()
    [['x0_a', 'x1_c']]
    """

    def __init__(
        self,
        *,
        n_rows,
        intercept,
        linear_rows,
        linear_features,
        linear,
        rows,
        feature_i,
        feature_j,
        attention,
        interaction,
        feature_names,
        outputs=None,
        missing_fields=(),
        deep=None,
        linear_std=None,
        interaction_std=None,
    ):
        self.n_rows = n_rows
        self.intercept = intercept
        self.linear_rows = linear_rows
        self.linear_features = linear_features
        self.linear = linear
        self.rows = rows
        self.feature_i = feature_i
        self.feature_j = feature_j
        self.attention = attention
        self.interaction = interaction
        self._names = feature_names
        self.outputs = outputs
        self.missing_fields = missing_fields
        self.deep = deep
        self.linear_std = linear_std
        self.interaction_std = interaction_std

    @property
    def feature_names(self):
        """Names of the features in tables and plots: ndarray of shape (n_features,)."""
        return np.asarray(self._names)

    @property
    def contribution(self):
        """Term of each pair, attention times interaction: (n_pairs,) or (n_pairs, n_outputs)."""
        return self.interaction * self.attention.reshape(-1, *[1] * (self.interaction.ndim - 1))

    def sum(self):
        """Return the raw score of each row, the sum of its terms.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_outputs)
        """
        total = np.zeros((self.n_rows, *np.shape(self.intercept))) + self.intercept
        np.add.at(total, self.linear_rows, self.linear)
        np.add.at(total, self.rows, self.contribution)
        return total if self.deep is None else total + self.deep

    def __len__(self):
        """Return the number of rows."""
        return self.n_rows

    def __getitem__(self, rows):
        """Return the explanation of one row, or of a slice of the rows."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.n_rows)
            if step != 1:
                raise ValueError(f"Slices of an Explanation must have a step of 1, got {step}.")
        else:
            start = range(self.n_rows)[rows]
            stop = start + 1
        stop = max(start, stop)
        entries = slice(*np.searchsorted(self.linear_rows, [start, stop]))
        pairs = slice(*np.searchsorted(self.rows, [start, stop]))
        return Explanation(
            n_rows=stop - start,
            intercept=self.intercept,
            linear_rows=self.linear_rows[entries] - start,
            linear_features=self.linear_features[entries],
            linear=self.linear[entries],
            rows=self.rows[pairs] - start,
            feature_i=self.feature_i[pairs],
            feature_j=self.feature_j[pairs],
            attention=self.attention[pairs],
            interaction=self.interaction[pairs],
            feature_names=self._names,
            outputs=self.outputs,
            missing_fields=self.missing_fields,
            deep=None if self.deep is None else self.deep[start:stop],
            linear_std=None if self.linear_std is None else self.linear_std[entries],
            interaction_std=None if self.interaction_std is None else self.interaction_std[pairs],
        )

    def to_frame(self):
        """Return a table with one line for each term of each row, and of each output if there are several.

        Returns
        -------
        DataFrame
            Table with the columns row, term ("intercept", "linear", "interaction" or "deep"), feature_i, feature_j,
            attention, interaction and contribution; with several outputs also the column output, after row. Of a
            Bayesian model also std, the standard deviation of a contribution; that of the intercept is nan.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_pandas()
        if self.outputs is None:
            return self._frame(pandas, ())
        frames = [self._frame(pandas, (output,)).assign(output=name) for output, name in enumerate(self.outputs)]
        frame = pandas.concat(frames).sort_values("row", kind="stable", ignore_index=True)
        frame.insert(1, "output", frame.pop("output"))
        return frame

    def _frame(self, pandas, output):
        """Return the table of one output: ``output`` is its index in a tuple, or () if there is only one."""
        of_output = (slice(None), *output)
        names, rows = self._names, np.arange(self.n_rows)
        deep = np.empty((0, *np.shape(self.intercept))) if self.deep is None else self.deep
        sizes = (self.n_rows, len(self.linear), len(self.rows), len(deep))
        missing = np.full(sizes[0] + sizes[1], np.nan)  # of intercepts and linear terms
        of_deep = np.full(len(deep), np.nan)
        columns = {
            "row": (rows, self.linear_rows, self.rows, rows[: len(deep)]),
            "term": [np.repeat(np.array(["intercept", "linear", "interaction", "deep"], dtype=object), sizes)],
            "feature_i": (
                np.full(self.n_rows, np.nan, object),
                names[self.linear_features],
                names[self.feature_i],
                of_deep.astype(object),
            ),
            "feature_j": (missing.astype(object), names[self.feature_j], of_deep.astype(object)),
            "attention": (missing, self.attention, of_deep),
            "interaction": (missing, self.interaction[of_output], of_deep),
            "contribution": (
                np.full(self.n_rows, self.intercept[output]),
                self.linear[of_output],
                self.contribution[of_output],
                deep[of_output],
            ),
        }
        if self.linear_std is not None:
            missing_std = np.full(self.n_rows, np.nan)
            columns["std"] = (missing_std, self.linear_std[of_output], self.interaction_std[of_output])
        frame = pandas.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})
        return frame.sort_values("row", kind="stable", ignore_index=True)

    def top(self, n=10):
        """Return the n largest terms of each row and output by absolute contribution, in descending order.

        Parameters
        ----------
        n : int, default=10
            Maximum number of terms for each row and output.

        Returns
        -------
        DataFrame
            The lines of these terms in :meth:`to_frame`; intercepts are left out.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        frame = self.to_frame()
        frame = frame[frame["term"] != "intercept"]
        groups = [name for name in ("row", "output") if name in frame]
        frame = frame.iloc[np.argsort(-frame["contribution"].abs(), kind="stable")]
        return frame.sort_values(groups, kind="stable").groupby(groups, sort=False).head(n).reset_index(drop=True)

    def by_field(self, fields):
        """Return the attention and contributions summed over the terms of the same fields.

        Parameters
        ----------
        fields : array-like of shape (n_features,)
            Name of the field of each feature.

        Returns
        -------
        DataFrame
            Table with the columns row, term, field_i, field_j, attention and contribution; with several outputs also
            the column output, after row. The order of the two fields of a pair does not matter.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If ``fields`` has another shape.
        """
        import_pandas()
        fields, n_features = np.asarray(fields), len(self._names) - len(self.missing_fields)
        if fields.shape != (n_features,):
            raise ValueError(
                f"fields must have the field of each of the {n_features} features, but has shape {fields.shape}."
            )
        fields = np.concatenate([fields, fields[np.asarray(self.missing_fields, int)]])
        rank = np.unique(fields if fields.dtype.kind != "O" else fields.astype(str), return_inverse=True)[1]
        i, j = self.feature_i, self.feature_j
        ordered = rank[i] <= rank[j]  # (n_pairs,)
        pairs = {"feature_i": np.where(ordered, i, j), "feature_j": np.where(ordered, j, i)}
        named = copy(self)
        vars(named).update(pairs, _names=fields.astype(object))
        named = named.to_frame().rename(columns={"feature_i": "field_i", "feature_j": "field_j"})
        keys = [name for name in ("row", "output", "term", "field_i", "field_j") if name in named]
        groups = named.groupby(keys, sort=False, dropna=False)
        return groups[["attention", "contribution"]].sum(min_count=1).reset_index()

    def _repr_html_(self):
        """Return an HTML table of the largest terms of the first rows; None with ``display="text"``."""
        return explanation_html_repr(self) if get_config()["display"] == "diagram" else None
