"""Higher-order factorization machine estimators."""

from numbers import Integral

from skafm._estimators.classification import Classification
from skafm._estimators.docstrings import fill_docstring
from skafm._estimators.explain import ExplainMixin
from skafm._estimators.initialization import RandomInitialization
from skafm._estimators.parameters import CLASSIFICATION, REGRESSION, TRAINING
from skafm._estimators.regression import Regression
from skafm._estimators.sklearn_compat import Interval

_ORDER = {"order": [Interval(Integral, 2, None, closed="left")]}


class _HOFM(ExplainMixin, RandomInitialization):
    """Higher-order factorization machine for any target.

    ``explain`` divides the term of three or more features equally among their pairs.
    """

    _parameter_attributes = {
        "linear.intercept": "intercept_",
        "linear.weight": "linear_coef_",
        "factors": "factors_",
        "projection": "projection_",
    }
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors"}

    def _build_module(self, data, n_outputs, **factory):
        from skafm.nn import HOFM

        return HOFM(data.X.shape[1], self.n_factors, self.order, n_outputs, dropout=self.dropout, **factory)

    def _rebuild_module(self, n_outputs, **factory):
        from skafm.nn import HOFM

        n_features, n_orders, n_factors = self.factors_.shape
        return HOFM(n_features, n_factors, n_orders + 1, n_outputs, **factory)


@fill_docstring
class HOFMRegressor(Regression, _HOFM):
    """Higher-order factorization machine for regression.

    Predicts (Blondel et al., 2016; Eq. 2)

    ``y(x) = w0 + sum_i w_i x_i + sum_{m=2}^order sum_{i<...<j} <v^m_i, ..., v^m_j> x_i ... x_j``

    where ``<v, ..., u>`` is the sum over the factors of ``v_f ... u_f``: a factorization machine with interactions of
    up to ``order`` non-zero features of a row, and separate embeddings for each order m. Time and memory are
    proportional to the number of non-zero entries, for any order. With several targets, each has its own w0, w and
    vector p, which weights the factors of all orders; the embeddings are shared.

    Training minimizes the sample-weighted mean over the rows s of
    ``(y(x_s) - y_s)^2 + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, where y is standardized to
    mean 0 and standard deviation 1: no hyperparameter depends on the units of y.

    Parameters
    ----------
    n_factors : int, default=32
        Embedding size k for each order; at least 1.
    {loss}
    order : int, default=3
        Maximum number of features in an interaction; at least 2, which is the factorization machine. From 5 on, the
        power sums cancel in float32: pass X in float64.
    dropout : float, default=0.0
        Probability of dropping each of a row's pooled interactions, k for each order, during training; at least 0 and
        below 1. Not applied in prediction.
    {l2_linear}
    {regressor_l2_factors}
    {solver}
    learning_rate : float, default=0.05
        Step size of the optimizer; above 0.
    {schedule}
    {clip}
    {rest}

    Attributes
    ----------
    {regressor_linear_}
    factors_ : ndarray of shape (n_features, order - 1, n_factors)
        Embeddings V; ``factors_[:, m - 2]`` are those of order m.
    projection_ : ndarray of shape (n_outputs, (order - 1) * n_factors)
        Projection vectors p. Defined only with several targets.
    {training_}

    See Also
    --------
    HOFMClassifier : For classification.
    FMRegressor : Has only interactions of two features.

    References
    ----------
    M. Blondel et al., "Higher-Order Factorization Machines", NIPS 2016.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import HOFMRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), HOFMRegressor(random_state=0)).fit(X, y)
    >>> model.predict(X[:4]).round() + 0.0
    array([0., 1., 1., 0.])
    """

    _parameter_constraints = TRAINING | _ORDER | REGRESSION

    def __init__(
        self,
        n_factors=32,
        *,
        loss="squared_error",
        quantile=0.5,
        order=3,
        dropout=0.0,
        l2_linear="auto",
        l2_factors="auto",
        solver="adagrad",
        learning_rate=0.05,
        batch_size="auto",
        max_iter=100,
        tol=1e-3,
        n_iter_no_change=5,
        early_stopping="auto",
        validation_fraction=0.1,
        scoring="loss",
        warm_start=False,
        shuffle=True,
        clip=False,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        self.n_factors = n_factors
        self.loss = loss
        self.quantile = quantile
        self.order = order
        self.dropout = dropout
        self.l2_linear = l2_linear
        self.l2_factors = l2_factors
        self.solver = solver
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.scoring = scoring
        self.warm_start = warm_start
        self.shuffle = shuffle
        self.clip = clip
        self.verbose = verbose
        self.random_state = random_state
        self.device = device


@fill_docstring
class HOFMClassifier(Classification, _HOFM):
    """Higher-order factorization machine for classification.

    The raw score (Blondel et al., 2016; Eq. 2)

    ``raw(x) = w0 + sum_i w_i x_i + sum_{m=2}^order sum_{i<...<j} <v^m_i, ..., v^m_j> x_i ... x_j``

    is the log-odds of the second of two classes; ``<v, ..., u>`` is the sum over the factors of ``v_f ... u_f``: a
    factorization machine with interactions of up to ``order`` non-zero features of a row, and separate embeddings for
    each order m. Time and memory are proportional to the number of non-zero entries, for any order. With more classes,
    each has its own w0, w and vector p, which weights the factors of all orders; the embeddings are shared, and the
    probabilities are the softmax of the raw scores.

    Training minimizes the sample-weighted mean over the rows s of
    ``-log P(y_s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``.

    Parameters
    ----------
    n_factors : int, default=32
        Embedding size k for each order; at least 1.
    order : int, default=3
        Maximum number of features in an interaction; at least 2, which is the factorization machine. From 5 on, the
        power sums cancel in float32: pass X in float64.
    dropout : float, default=0.0
        Probability of dropping each of a row's pooled interactions, k for each order, during training; at least 0 and
        below 1. Not applied in prediction.
    {l2_linear}
    {classifier_l2_factors}
    {solver}
    learning_rate : float, default=0.05
        Step size of the optimizer; above 0.
    {schedule}
    {class_weight}
    {rest}

    Attributes
    ----------
    {classifier_linear_}
    factors_ : ndarray of shape (n_features, order - 1, n_factors)
        Embeddings V; ``factors_[:, m - 2]`` are those of order m.
    projection_ : ndarray of shape (n_classes, (order - 1) * n_factors)
        Projection vectors p. Defined only with more than two classes.
    {training_}

    See Also
    --------
    HOFMRegressor : For regression.
    FMClassifier : Has only interactions of two features.

    References
    ----------
    M. Blondel et al., "Higher-Order Factorization Machines", NIPS 2016.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import HOFMClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), HOFMClassifier(random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints = TRAINING | _ORDER | CLASSIFICATION

    def __init__(
        self,
        n_factors=32,
        *,
        order=3,
        dropout=0.0,
        l2_linear="auto",
        l2_factors="auto",
        solver="adagrad",
        learning_rate=0.05,
        batch_size="auto",
        max_iter=100,
        tol=1e-3,
        n_iter_no_change=5,
        early_stopping="auto",
        validation_fraction=0.1,
        scoring="loss",
        warm_start=False,
        shuffle=True,
        class_weight=None,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        self.n_factors = n_factors
        self.order = order
        self.dropout = dropout
        self.l2_linear = l2_linear
        self.l2_factors = l2_factors
        self.solver = solver
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.scoring = scoring
        self.warm_start = warm_start
        self.shuffle = shuffle
        self.class_weight = class_weight
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
