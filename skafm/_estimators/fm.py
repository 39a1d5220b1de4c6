"""Factorization machine estimators."""

from sklearn.utils.extmath import safe_sparse_dot

from skafm._estimators.classification import Classification
from skafm._estimators.docstrings import fill_docstring
from skafm._estimators.explain import ExplainMixin
from skafm._estimators.fields import complete_fields
from skafm._estimators.initialization import RandomInitialization
from skafm._estimators.parameters import CLASSIFICATION, REGRESSION, TRAINING
from skafm._estimators.regression import Regression


class _FM(ExplainMixin, RandomInitialization):
    """Factorization machine for any target."""

    _parameter_attributes = {
        "linear.intercept": "intercept_",
        "linear.weight": "linear_coef_",
        "factors": "factors_",
        "projection": "projection_",
    }
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors"}

    def _build_module(self, data, n_outputs, **factory):
        from skafm.nn import FM

        return FM(data.X.shape[1], self.n_factors, n_outputs, dropout=self.dropout, **factory)

    def _rebuild_module(self, n_outputs, **factory):
        from skafm.nn import FM

        n_features, n_factors = self.factors_.shape
        return FM(n_features, n_factors, n_outputs, **factory)

    def _finalize(self, module, data):
        """Center the embeddings in one-hot fields, so that a missing field counts as the average one."""
        fields, seen = complete_fields(data)
        if fields:
            module._center_fields(fields, seen)

    def _store_missing_fields(self, data, tables):  # noqa: ARG002
        """Add no features: centered, a field that lacks is the average one."""
        self._missing_rows = {}

    def _sum_factors(self, X):
        """Return ``sum_i v_i x_i`` of CSR rows, (n_samples, n_factors): of two rows added the scores have a product."""
        return safe_sparse_dot(X, self.factors_)


@fill_docstring
class FMRegressor(Regression, _FM):
    """Factorization machine for regression.

    Predicts (Rendle, 2010; Eq. 1 of Xiao et al., 2017)

    ``y(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j``

    where the sums run over the non-zero features of a row. The model is designed for one-hot and other sparse data and
    takes any real values; time and memory are proportional to the number of non-zero entries. With several targets,
    each has its own w0, w and vector p, and the embeddings are shared: the last sum becomes
    ``sum_{i<j} p' (v_i * v_j) x_i x_j``, where ``*`` is elementwise.

    Training minimizes the sample-weighted mean over the rows s of
    ``(y(x_s) - y_s)^2 + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, where y is standardized to
    mean 0 and standard deviation 1: no hyperparameter depends on the units of y.

    Parameters
    ----------
    n_factors : int, default=32
        Embedding size k, the length of each v_i; at least 1.
    {loss}
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions ``sum_{i<j} v_if v_jf x_i x_j`` of a row during
        training; at least 0 and below 1. Not applied in prediction.
    {l2_linear}
    {regressor_l2_factors}
    {solver}
    {learning_rate}
    {schedule}
    {clip}
    {rest}

    Attributes
    ----------
    {regressor_linear_}
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V. A product ``<v_i, v_j>`` is in the units of y.
    projection_ : ndarray of shape (n_outputs, n_factors)
        Projection vectors p, in the units of y. Defined only with several targets.
    {training_}

    See Also
    --------
    AFMRegressor : Weights the interactions by attention.
    FMClassifier : For classification.

    References
    ----------
    S. Rendle, "Factorization Machines", ICDM 2010.

    S. Rendle, "Factorization Machines with libFM", ACM TIST 3(3), 2012.

    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FMRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), FMRegressor(random_state=0)).fit(X, y)
    >>> model.predict(X[:4]).round()
    array([0., 1., 1., 0.])
    """

    _parameter_constraints = TRAINING | REGRESSION

    def __init__(
        self,
        n_factors=32,
        *,
        loss="squared_error",
        quantile=0.5,
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
class FMClassifier(Classification, _FM):
    """Factorization machine for classification.

    The raw score (Rendle, 2010; Eq. 1 of Xiao et al., 2017)

    ``raw(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j``

    is the log-odds of the second of two classes; the sums run over the non-zero features of a row. With more classes,
    each has its own w0, w and vector p, and the embeddings are shared: the last sum becomes
    ``sum_{i<j} p' (v_i * v_j) x_i x_j``, where ``*`` is elementwise, and the probabilities are the softmax of the raw
    scores. Time and memory are proportional to the number of non-zero entries.

    Training minimizes the sample-weighted mean over the rows s of
    ``-log P(y_s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``.

    Parameters
    ----------
    n_factors : int, default=64
        Embedding size k, the length of each v_i; at least 1.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions ``sum_{i<j} v_if v_jf x_i x_j`` of a row during
        training; at least 0 and below 1. Not applied in prediction.
    {l2_linear}
    {classifier_l2_factors}
    {solver}
    {learning_rate}
    {schedule}
    {class_weight}
    {rest}

    Attributes
    ----------
    {classifier_linear_}
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    projection_ : ndarray of shape (n_classes, n_factors)
        Projection vectors p. Defined only with more than two classes.
    {training_}

    See Also
    --------
    AFMClassifier : Weights the interactions by attention.
    FMRegressor : For regression.

    References
    ----------
    S. Rendle, "Factorization Machines", ICDM 2010.

    S. Rendle, "Factorization Machines with libFM", ACM TIST 3(3), 2012.

    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FMClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), FMClassifier(random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints = TRAINING | CLASSIFICATION

    def __init__(
        self,
        n_factors=64,
        *,
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
