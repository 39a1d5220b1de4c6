"""Field-weighted factorization machine estimators."""

from skafm._estimators.classification import Classification
from skafm._estimators.docstrings import fill_docstring
from skafm._estimators.explain import ExplainMixin
from skafm._estimators.fields import FieldsMixin
from skafm._estimators.initialization import RandomInitialization
from skafm._estimators.parameters import CLASSIFICATION, FIELDS, REGRESSION, TRAINING
from skafm._estimators.regression import Regression


class _FwFM(ExplainMixin, FieldsMixin, RandomInitialization):
    """Field-weighted factorization machine for any target."""

    _parameter_attributes = {
        "linear.intercept": "intercept_",
        "linear.weight": "linear_coef_",
        "factors": "factors_",
        "fields": "fields_",
        "field_weights": "field_weights_",
        "projection": "projection_",
    }
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors"}

    def _build_module(self, data, n_outputs, **factory):
        from skafm.nn import FwFM

        fields = self._find_fields(data)
        return FwFM(fields, self.n_factors, n_outputs, dropout=self.dropout, **factory)

    def _rebuild_module(self, n_outputs, **factory):
        from skafm.nn import FwFM

        return FwFM(self.fields_, self.factors_.shape[1], n_outputs, **factory)


@fill_docstring
class FwFMRegressor(Regression, _FwFM):
    """Field-weighted factorization machine for regression.

    Predicts (Pan et al., 2018; Eq. 7)

    ``y(x) = w0 + sum_i w_i x_i + sum_{i<j} r_{f(i) f(j)} <v_i, v_j> x_i x_j``

    where the sums run over the non-zero features of a row and f(i) is the field of feature i: a factorization machine
    in which each pair of fields has a weight, one number. With several targets, each has its own w0, w and vector p,
    and embeddings and field weights are shared.

    Training minimizes the sample-weighted mean over the rows s of
    ``(y(x_s) - y_s)^2 + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, where y is standardized to
    mean 0 and standard deviation 1: no hyperparameter depends on the units of y.

    Parameters
    ----------
    n_factors : int, default=32
        Embedding size k, the length of each v_i; at least 1.
    {loss}
    {fields}
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions of a row during training; at least 0 and below 1. Not
        applied in prediction.
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
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    {fields_}
    field_weights_ : ndarray of shape (n_fields, n_fields)
        Weights of the pairs of fields: ``r_fg`` is the mean of ``field_weights_[f, g]`` and ``field_weights_[g, f]``.
        Their initial value is 1, which gives a factorization machine.
    projection_ : ndarray of shape (n_outputs, n_factors)
        Projection vectors p. Defined only with several targets.
    {training_}

    See Also
    --------
    FwFMClassifier : For classification.
    FFMRegressor : Has an embedding of each feature for each field instead.

    References
    ----------
    J. Pan et al., "Field-weighted Factorization Machines for Click-Through Rate Prediction in Display Advertising", WWW
    2018.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FwFMRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), FwFMRegressor(random_state=0)).fit(X, y)
    >>> model.predict(X[:4]).round() + 0.0
    array([0., 1., 1., 0.])
    """

    _parameter_constraints = TRAINING | FIELDS | REGRESSION

    def __init__(
        self,
        n_factors=32,
        *,
        loss="squared_error",
        quantile=0.5,
        fields="auto",
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
        self.fields = fields
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
class FwFMClassifier(Classification, _FwFM):
    """Field-weighted factorization machine for classification.

    The raw score (Pan et al., 2018; Eq. 7)

    ``raw(x) = w0 + sum_i w_i x_i + sum_{i<j} r_{f(i) f(j)} <v_i, v_j> x_i x_j``

    is the log-odds of the second of two classes; the sums run over the non-zero features of a row and f(i) is the field
    of feature i: a factorization machine in which each pair of fields has a weight, one number. With more classes, each
    has its own w0, w and vector p, embeddings and field weights are shared, and the probabilities are the softmax of
    the raw scores.

    Training minimizes the sample-weighted mean over the rows s of
    ``-log P(y_s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``.

    Parameters
    ----------
    n_factors : int, default=64
        Embedding size k, the length of each v_i; at least 1.
    {fields}
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions of a row during training; at least 0 and below 1. Not
        applied in prediction.
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
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    {fields_}
    field_weights_ : ndarray of shape (n_fields, n_fields)
        Weights of the pairs of fields: ``r_fg`` is the mean of ``field_weights_[f, g]`` and ``field_weights_[g, f]``.
        Their initial value is 1, which gives a factorization machine.
    projection_ : ndarray of shape (n_classes, n_factors)
        Projection vectors p. Defined only with more than two classes.
    {training_}

    See Also
    --------
    FwFMRegressor : For regression.
    FFMClassifier : Has an embedding of each feature for each field instead.

    References
    ----------
    J. Pan et al., "Field-weighted Factorization Machines for Click-Through Rate Prediction in Display Advertising", WWW
    2018.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FwFMClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), FwFMClassifier(learning_rate=0.1, random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints = TRAINING | FIELDS | CLASSIFICATION

    def __init__(
        self,
        n_factors=64,
        *,
        fields="auto",
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
        self.fields = fields
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
