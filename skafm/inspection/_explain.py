"""Explanations of whole pipelines: rows of a table in, names of the encoded columns out."""

from skafm.inspection._columns import find_columns
from skafm.inspection._pipeline import split_pipeline


def explain(estimator, X, *, feature_names=None):
    """Return the additive terms of the raw score of each row, for a model or a whole pipeline.

    Parameters
    ----------
    estimator : FM, AFM, HOFM or FFM estimator, or a Pipeline that ends in one
        Fitted model. Of a fitted search, such as GridSearchCV, the best estimator is explained.
    X : {sparse matrix or array, array-like, DataFrame} of shape (n_samples, n_columns)
        Rows to explain, the input of the estimator or pipeline.
    feature_names : array-like of shape (n_features,), default=None
        Names of the features, the columns of the model's input. By default those of the pipeline's
        ``get_feature_names_out``, or those seen during ``fit``.

    Returns
    -------
    Explanation
        Intercept, linear terms and interactions. Their sum is ``predict`` of a regressor, before ``clip``, and
        ``decision_function`` of a classifier.

    Raises
    ------
    TypeError
        If the estimator has no method ``explain``.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    ValueError
        If X is malformed or too large for a finite result, or if ``feature_names`` has another shape.

    See Also
    --------
    WaterfallDisplay : Plot of one prediction.
    top_interactions : The strongest interactions over many rows.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import AFMRegressor
    >>> from skafm.inspection import explain
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), AFMRegressor(random_state=0)).fit(X, y)
    >>> explanation = explain(model, X[:2])
    >>> explanation.sum().round().tolist()
    [0.0, 1.0]
    >>> explanation[0].top(1)[["feature_i", "feature_j"]].to_numpy().tolist()
    [['x0_a', 'x1_c']]
    """
    model, rows, names = split_pipeline(estimator, X, feature_names)
    return model.explain(rows, feature_names=names)


def top_interactions(estimator, X, n=20, *, by="contribution", fields=None, feature_names=None, min_support=1):
    """Return the strongest interactions of a model or a whole pipeline over many rows.

    Parameters
    ----------
    estimator : FM, AFM, HOFM or FFM estimator, or a Pipeline that ends in one
        Fitted model. Of a fitted search, such as GridSearchCV, the best estimator is explained.
    X : {sparse matrix or array, array-like, DataFrame} of shape (n_samples, n_columns)
        Rows to average over, the input of the estimator or pipeline.
    n : int, default=20
        Maximum number of pairs to return; at least 1.
    by : {"contribution", "attention"}, default="contribution"
        Statistic to rank the pairs by: mean_abs_contribution or mean_attention.
    fields : array-like of shape (n_features,) or "auto", default=None
        Field of each feature, to rank pairs of fields instead of features. With "auto" the fields of a pipeline of
        OneHotEncoder, ColumnTransformer and transformers that keep the columns, such as scalers, are the columns of X;
        otherwise they are inferred from the rows.
    feature_names : array-like of shape (n_features,), default=None
        Names of the features, see :func:`explain`.
    min_support : int, default=1
        Minimum number of rows that have the pair.

    Returns
    -------
    DataFrame
        One line for each pair, the strongest first, with the columns feature_i, feature_j, mean_abs_contribution,
        mean_contribution, mean_attention and support, as of the model's method ``top_interactions``.

    Raises
    ------
    ImportError
        If pandas is not installed.
    TypeError
        If the estimator has no method ``explain``.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    ValueError
        If X is malformed or too large for a finite result, or if another argument is invalid.

    See Also
    --------
    InteractionDisplay : Heat map of these interactions.
    explain : The terms of each row.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import AFMRegressor
    >>> from skafm.inspection import top_interactions
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), AFMRegressor(random_state=0)).fit(X, y)
    >>> top_interactions(model, X, n=1)[["feature_i", "feature_j", "support"]]
      feature_i feature_j  support
    0      x0_a      x1_c       25
    >>> top_interactions(model, X, fields="auto")[["feature_i", "feature_j", "support"]]
      feature_i feature_j  support
    0        x0        x1      100
    """
    model, rows, names = split_pipeline(estimator, X, feature_names)
    if isinstance(fields, str) and fields == "auto":
        columns = find_columns(estimator)
        fields = "auto" if columns is None else columns
    options = {"by": by, "fields": fields, "feature_names": names, "min_support": min_support}
    return model.top_interactions(rows, n, **options)
