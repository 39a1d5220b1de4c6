"""One-hot encoding of tables with categorical and numeric columns."""

from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.validation import check_is_fitted, validate_data

from skafm._estimators.sklearn_compat import Interval, check_feature_names_in, fit_context
from skafm.preprocessing._columns import check_table, find_numeric, read_categories, read_numbers
from skafm.preprocessing._levels import Levels, find_levels, one_hot


class TableEncoder(TransformerMixin, BaseEstimator):
    """Encode the columns of a table, categorical and numeric, as one-hot fields.

    Each column becomes a field: a row has one entry of value 1 in it, in the output column of the value's level.

    *Categorical columns* hold strings, booleans or values of a categorical type. They are encoded by scikit-learn's
    ``OneHotEncoder``: a level for each category of at least ``min_frequency`` rows, and one for all infrequent ones.

    *Numeric columns* hold numbers. Frequent values are levels of their own. In a column whose distinct values have 30
    rows each on average, such as one of ages, these are the values of at least ``min_frequency`` rows; in any other
    column only spikes, such as zero, which at least ``1 / n_bins`` of the rows have. All other values form bins of
    about equal numbers of rows: at most ``n_bins``, and as many as make ``min_frequency`` rows a bin, but at least one.

    Parameters
    ----------
    min_frequency : int, default=5
        Minimum number of rows of a category or a number that is a level of its own; at least 1.
    n_bins : int, default=20
        Maximum number of bins of a numeric column; at least 1.
    sparse_output : bool, default=True
        Whether to return a sparse array in CSR format rather than a dense array.
    dtype : dtype, default=numpy.float64
        Type of the output. Models train in that precision: numpy.float32 is about twice as fast.

    Attributes
    ----------
    categorical_features_ : ndarray of int
        Indices of the categorical columns of X.
    numeric_features_ : ndarray of int
        Indices of the numeric columns of X.
    fields_ : ndarray of shape (n_features_out,)
        Index of the column of X that each output column encodes; may be passed as ``fields`` to FFM.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns of X. Defined only if X has names that are all strings.

    See Also
    --------
    sklearn.preprocessing.OneHotEncoder : Encodes numbers by value, and merges all infrequent ones into one level.
    sklearn.preprocessing.SplineTransformer : Smooth functions of numbers.

    Notes
    -----
    A column whose values are numbers only in writing, such as the number of a user or a postal code, should be made
    categorical first: ``X.astype({"user": "category"})``.

    An unknown category is encoded as the infrequent ones, or has no entry in its field if there were none. An unknown
    number has the level of its neighbors. A missing value, NaN or None, is a level of its own if the column had one in
    ``fit``; if not, it is an unknown category or a number without an entry. An FM predicts a row without an entry in
    a field as the average one.

    Output columns are named after column and level, such as "age_35", "age_80..90" for a bin whose smallest value is 80
    and whose largest is 90, and "age_missing": categorical columns come first, then numeric ones.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.pipeline import make_pipeline
    >>> from skafm import FMRegressor
    >>> from skafm.preprocessing import TableEncoder
    >>> X = pd.DataFrame({"job": ["banker", "engineer"] * 20, "age": [30, 30, 40, None] * 10})
    >>> encoder = TableEncoder()
    >>> encoder.fit_transform(X)[:2].toarray()
    array([[1., 0., 1., 0., 0.],
           [0., 1., 1., 0., 0.]])
    >>> encoder.get_feature_names_out().tolist()
    ['job_banker', 'job_engineer', 'age_30', 'age_40', 'age_missing']
    >>> y = [50, 60, 90, 70] * 10
    >>> model = make_pipeline(TableEncoder(), FMRegressor(random_state=0)).fit(X, y)
    >>> model.predict(pd.DataFrame({"job": ["banker"], "age": [38]})).round(-1)
    array([90.])
    """

    _parameter_constraints = {
        "min_frequency": [Interval(Integral, 1, None, closed="left")],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "sparse_output": ["boolean"],
        "dtype": "no_validation",  # by numpy
    }

    def __init__(self, *, min_frequency=5, n_bins=20, sparse_output=True, dtype=np.float64):
        self.min_frequency = min_frequency
        self.n_bins = n_bins
        self.sparse_output = sparse_output
        self.dtype = dtype

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):  # noqa: ARG002
        """Find the levels of each column.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Table of numbers, strings, booleans and categories, of pandas or polars, or an array. A column of an array
            of objects is numeric if all its values are numbers.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If a column holds dates, times or durations, or strings and other values.
        ValueError
            If X is malformed or has infinite numbers, or if a parameter is invalid.
        """
        X = self._validate(X, reset=True)
        is_numeric = find_numeric(X)
        self.categorical_features_, self.numeric_features_ = np.flatnonzero(~is_numeric), np.flatnonzero(is_numeric)
        self._one_hot_encoder = self._fit_one_hot(read_categories(X, self.categorical_features_))
        options = {"min_frequency": self.min_frequency, "n_bins": self.n_bins}
        numbers = read_numbers(X, self.numeric_features_)
        self._levels = [tuple(find_levels(x, **options)) for x in numbers.T]  # skops trusts tuples
        n_levels = [len(names) for names in self._level_names()]
        self.fields_ = np.repeat(np.concatenate([self.categorical_features_, self.numeric_features_]), n_levels)
        return self

    def transform(self, X):
        """Encode rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Table with the columns of ``fit``.

        Returns
        -------
        csr_array or ndarray of shape (n_samples, n_features_out)
            Encoded rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the encoder is not fitted.
        ValueError
            If X is malformed, has other columns or infinite numbers, or has strings in a numeric column.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        blocks = []
        if self._one_hot_encoder is not None:
            blocks.append(self._one_hot_encoder.transform(read_categories(X, self.categorical_features_)))
        if self._levels:
            numbers = read_numbers(X, self.numeric_features_)
            blocks.append(one_hot([Levels(*each) for each in self._levels], numbers, self.dtype))
        encoded = sparse.csr_array(sparse.hstack(blocks, format="csr"))
        return encoded if self.sparse_output else encoded.toarray()

    def get_feature_names_out(self, input_features=None):
        """Return the names of the output columns.

        Parameters
        ----------
        input_features : array-like of shape (n_features,), default=None
            Names of the columns of X. By default those seen during ``fit``, or x0, x1, ... if X had no names.

        Returns
        -------
        ndarray of shape (n_features_out,)
            Names such as "carrier_AA", "age_35", "age_80..90" and "age_missing".

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the encoder is not fitted.
        ValueError
            If ``input_features`` are not those of ``fit``.
        """
        check_is_fitted(self)
        columns = check_feature_names_in(self, input_features)[self.fields_]
        levels = [name for names in self._level_names() for name in names]
        return np.array([f"{column}_{level}" for column, level in zip(columns, levels, strict=True)], dtype=object)

    def set_output(self, *, transform=None):
        """Set the container of the output.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            "pandas" and "polars" need ``sparse_output=False``. ``None`` changes nothing.

        Returns
        -------
        self : object
            The encoder.
        """
        return super().set_output(transform=transform)

    def _fit_one_hot(self, categories):
        """Return a fitted encoder of the categorical columns, or None if there are none."""
        if not categories.shape[1]:
            return None
        options = {"min_frequency": int(self.min_frequency), "dtype": self.dtype}
        encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", **options)
        return encoder.set_output(transform="default").fit(categories)

    def _level_names(self):
        """Return a list of names for each column, in the order of the output."""
        names = [level_names for _, _, level_names in self._levels]
        if self._one_hot_encoder is None:
            return names
        pairs = zip(self._one_hot_encoder.categories_, self._one_hot_encoder.infrequent_categories_, strict=True)
        return [_category_names(*pair) for pair in pairs] + names

    def _validate(self, X, *, reset):
        """Return a table whose names and number of columns are checked."""
        X = check_table(X)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _category_names(categories, infrequent):
    """Return the names of the levels of a categorical column: the frequent categories, then all infrequent ones."""
    merged = set() if infrequent is None else set(infrequent)
    names = ["missing" if category is None else str(category) for category in categories if category not in merged]
    return names if infrequent is None else [*names, "infrequent"]
