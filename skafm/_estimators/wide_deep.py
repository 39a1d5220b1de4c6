"""Wide & Deep estimators."""

from skafm._estimators.classification import Classification
from skafm._estimators.docstrings import fill_docstring
from skafm._estimators.fields import FieldsMixin
from skafm._estimators.initialization import FMInitialization
from skafm._estimators.parameters import (
    CLASSIFICATION,
    FIELDS,
    HIDDEN_LAYERS,
    INITIALIZATION,
    REGRESSION,
    TRAINING,
    check_hidden_layer_sizes,
)
from skafm._estimators.regression import Regression


class _WideDeep(FieldsMixin, FMInitialization):
    """Wide & Deep for any target."""

    _parameter_attributes = {
        "linear.intercept": "intercept_",
        "linear.weight": "linear_coef_",
        "factors": "factors_",
        "fields": "fields_",
        "deep.mlp.coefs": "coefs_",
        "deep.mlp.intercepts": "intercepts_",
        "projection": "projection_",
    }
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors"}

    def _build_module(self, data, n_outputs, **factory):
        from skafm.nn import WideDeep

        fields, sizes = self._find_fields(data), check_hidden_layer_sizes(self.hidden_layer_sizes)
        return WideDeep(fields, self.n_factors, sizes, n_outputs, dropout=self.dropout, **factory)

    def _rebuild_module(self, n_outputs, **factory):
        from skafm.nn import WideDeep

        fields, sizes = self.fields_, [len(intercept) for intercept in self.intercepts_]
        return WideDeep(fields, self.factors_.shape[1], sizes, n_outputs, **factory)


@fill_docstring
class WideDeepRegressor(Regression, _WideDeep):
    """Wide & Deep for regression.

    Predicts (Cheng et al., 2016)

    ``y(x) = w0 + sum_i w_i x_i + p' MLP([sum_{i in f} v_i x_i for each field f])``

    where the sums run over the non-zero features of a row. The wide part is a linear model; the deep part is a
    multilayer perceptron (MLP) with ReLU on the concatenated embeddings of the fields, which models interactions
    implicitly. With several targets, each has its own w0, w and p.

    Training minimizes the sample-weighted mean over the rows s of
    ``(y(x_s) - y_s)^2 + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, where y is standardized to
    mean 0 and standard deviation 1: no hyperparameter depends on the units of y.

    Parameters
    ----------
    n_factors : int, default=16
        Embedding size k of each feature; at least 1.
    {loss}
    hidden_layer_sizes : tuple of int, default=(1024, 512, 256)
        Number of units of each hidden layer, at least one layer. The default is that of Xiao et al. (2017).
    {fields}
    dropout : float, default=0.0
        Probability of dropping each hidden unit of a row during training; at least 0 and below 1. Not applied in
        prediction.
    {l2_linear}
    {regressor_l2_factors}
    {init}
    {freeze_init}
    {solver}
    learning_rate : float, default=0.01
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
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weight matrix of each hidden layer.
    intercepts_ : list of ndarray of shape (n_out,)
        Bias of each hidden layer.
    projection_ : ndarray of shape (n_hidden,) or (n_outputs, n_hidden)
        Output weights p, in the units of y.
    {training_}

    See Also
    --------
    WideDeepClassifier : For classification.
    DeepCrossRegressor : Has residual units, and no linear part.

    References
    ----------
    H.-T. Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS 2016.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import WideDeepRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), WideDeepRegressor(random_state=0)).fit(X, y)
    >>> model.predict(X[:4]).round() + 0.0
    array([0., 1., 1., 0.])
    """

    _parameter_constraints = TRAINING | FIELDS | HIDDEN_LAYERS | INITIALIZATION | REGRESSION

    def __init__(
        self,
        n_factors=16,
        *,
        loss="squared_error",
        quantile=0.5,
        hidden_layer_sizes=(1024, 512, 256),
        fields="auto",
        dropout=0.0,
        l2_linear="auto",
        l2_factors="auto",
        init="random",
        freeze_init=False,
        solver="adagrad",
        learning_rate=0.01,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.fields = fields
        self.dropout = dropout
        self.l2_linear = l2_linear
        self.l2_factors = l2_factors
        self.init = init
        self.freeze_init = freeze_init
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
class WideDeepClassifier(Classification, _WideDeep):
    """Wide & Deep for classification.

    The raw score (Cheng et al., 2016)

    ``raw(x) = w0 + sum_i w_i x_i + p' MLP([sum_{i in f} v_i x_i for each field f])``

    is the log-odds of the second of two classes; the sums run over the non-zero features of a row. The wide part is a
    linear model; the deep part is a multilayer perceptron (MLP) with ReLU on the concatenated embeddings of the fields,
    which models interactions implicitly. With more classes, each has its own w0, w and p, and the probabilities are the
    softmax of the raw scores.

    Training minimizes the sample-weighted mean over the rows s of
    ``-log P(y_s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``.

    Parameters
    ----------
    n_factors : int, default=16
        Embedding size k of each feature; at least 1.
    hidden_layer_sizes : tuple of int, default=(1024, 512, 256)
        Number of units of each hidden layer, at least one layer. The default is that of Xiao et al. (2017).
    {fields}
    dropout : float, default=0.0
        Probability of dropping each hidden unit of a row during training; at least 0 and below 1. Not applied in
        prediction.
    {l2_linear}
    {classifier_l2_factors}
    {init}
    {freeze_init}
    {solver}
    learning_rate : float, default=0.01
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
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weight matrix of each hidden layer.
    intercepts_ : list of ndarray of shape (n_out,)
        Bias of each hidden layer.
    projection_ : ndarray of shape (n_hidden,) or (n_classes, n_hidden)
        Output weights p.
    {training_}

    See Also
    --------
    WideDeepRegressor : For regression.
    DeepCrossClassifier : Has residual units, and no linear part.

    References
    ----------
    H.-T. Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS 2016.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import WideDeepClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), WideDeepClassifier(random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints = TRAINING | FIELDS | HIDDEN_LAYERS | INITIALIZATION | CLASSIFICATION

    def __init__(
        self,
        n_factors=16,
        *,
        hidden_layer_sizes=(1024, 512, 256),
        fields="auto",
        dropout=0.0,
        l2_linear="auto",
        l2_factors="auto",
        init="random",
        freeze_init=False,
        solver="adagrad",
        learning_rate=0.01,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.fields = fields
        self.dropout = dropout
        self.l2_linear = l2_linear
        self.l2_factors = l2_factors
        self.init = init
        self.freeze_init = freeze_init
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
