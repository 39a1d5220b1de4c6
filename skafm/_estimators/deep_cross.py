"""DeepCross estimators."""

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


class _DeepCross(FieldsMixin, FMInitialization):
    """DeepCross for any target."""

    _parameter_attributes = {
        "intercept": "intercept_",
        "factors": "factors_",
        "fields": "fields_",
        "units.coefs_in": "coefs_in_",
        "units.norm.scales": "norm_scales_",
        "units.norm.shifts": "norm_shifts_",
        "units.norm.n_batches": "norm_batches_",
        "units.norm.means": "norm_means_",
        "units.norm.variances": "norm_variances_",
        "units.coefs_out": "coefs_out_",
        "units.intercepts": "intercepts_",
        "projection": "projection_",
    }
    _penalties = {"factors": "l2_factors"}

    def _build_module(self, data, n_outputs, **factory):
        from skafm.nn import DeepCross

        fields, sizes = self._find_fields(data), check_hidden_layer_sizes(self.hidden_layer_sizes)
        return DeepCross(fields, self.n_factors, sizes, n_outputs, dropout=self.dropout, **factory)

    def _rebuild_module(self, n_outputs, **factory):
        from skafm.nn import DeepCross

        fields, sizes = self.fields_, [len(scale) for scale in self.norm_scales_]
        return DeepCross(fields, self.factors_.shape[1], sizes, n_outputs, **factory)


@fill_docstring
class DeepCrossRegressor(Regression, _DeepCross):
    """DeepCross for regression.

    Predicts (Shan et al., 2016)

    ``y(x) = w0 + p' units([sum_{i in f} v_i x_i for each field f])``, where each residual unit computes
    ``z <- ReLU(z + ReLU(norm(z W)) U + b)``

    on the concatenated embeddings of the fields; there is no linear part. ``norm`` is batch normalization: training
    uses the mean and variance of the batch, prediction running averages of both. The sums run over the non-zero
    features of a row. With several targets, each has its own w0 and p.

    Training minimizes the sample-weighted mean over the rows s of
    ``(y(x_s) - y_s)^2 + sum_{i in s} (l2_factors * ||v_i||^2)``, where y is standardized to mean 0 and standard
    deviation 1: no hyperparameter depends on the units of y.

    Parameters
    ----------
    n_factors : int, default=16
        Embedding size k of each feature; at least 1.
    {loss}
    hidden_layer_sizes : tuple of int, default=(512, 512, 256, 128, 64)
        Hidden size of each residual unit, at least one unit. The default is that of Shan et al. (2016).
    {fields}
    dropout : float, default=0.0
        Probability of dropping each hidden unit of a row during training; at least 0 and below 1. Not applied in
        prediction.
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
    intercept_ : float or ndarray of shape (n_outputs,)
        Intercept w0, in the units of y.
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    {fields_}
    coefs_in_, coefs_out_ : list of ndarray of shape (n_fields * n_factors, n_hidden), (n_hidden, n_fields * n_factors)
        Weight matrices W and U of each residual unit.
    intercepts_ : list of ndarray of shape (n_fields * n_factors,)
        Bias b of each residual unit.
    norm_scales_, norm_shifts_, norm_means_, norm_variances_ : list of ndarray of shape (n_hidden,)
        Batch normalization of each residual unit, ``scale (z - mean) / sqrt(variance + 1e-5) + shift``.
    norm_batches_ : float
        Number of batches in the running means and variances.
    projection_ : ndarray of shape (n_fields * n_factors,) or (n_outputs, n_fields * n_factors)
        Output weights p, in the units of y.
    {training_}

    See Also
    --------
    DeepCrossClassifier : For classification.
    WideDeepRegressor : Has a multilayer perceptron and a linear part.

    References
    ----------
    Y. Shan et al., "Deep Crossing: Web-Scale Modeling without Manually Crafted Combinatorial Features", KDD 2016.

    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import DeepCrossRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), DeepCrossRegressor(random_state=0)).fit(X, y)
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
        hidden_layer_sizes=(512, 512, 256, 128, 64),
        fields="auto",
        dropout=0.0,
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
class DeepCrossClassifier(Classification, _DeepCross):
    """DeepCross for classification.

    The raw score (Shan et al., 2016)

    ``raw(x) = w0 + p' units([sum_{i in f} v_i x_i for each field f])``, where each residual unit computes
    ``z <- ReLU(z + ReLU(norm(z W)) U + b)``

    on the concatenated embeddings of the fields, is the log-odds of the second of two classes; there is no linear part.
    ``norm`` is batch normalization: training uses the mean and variance of the batch, prediction running averages of
    both. The sums run over the non-zero features of a row. With more classes, each has its own w0 and p, and the
    probabilities are the softmax of the raw scores.

    Training minimizes the sample-weighted mean over the rows s of
    ``-log P(y_s) + sum_{i in s} (l2_factors * ||v_i||^2)``.

    Parameters
    ----------
    n_factors : int, default=16
        Embedding size k of each feature; at least 1.
    hidden_layer_sizes : tuple of int, default=(512, 512, 256, 128, 64)
        Hidden size of each residual unit, at least one unit. The default is that of Shan et al. (2016).
    {fields}
    dropout : float, default=0.0
        Probability of dropping each hidden unit of a row during training; at least 0 and below 1. Not applied in
        prediction.
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
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    intercept_ : float or ndarray of shape (n_classes,)
        Intercept w0. Its initial value is the log-odds of the class frequencies.
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    {fields_}
    coefs_in_, coefs_out_ : list of ndarray of shape (n_fields * n_factors, n_hidden), (n_hidden, n_fields * n_factors)
        Weight matrices W and U of each residual unit.
    intercepts_ : list of ndarray of shape (n_fields * n_factors,)
        Bias b of each residual unit.
    norm_scales_, norm_shifts_, norm_means_, norm_variances_ : list of ndarray of shape (n_hidden,)
        Batch normalization of each residual unit, ``scale (z - mean) / sqrt(variance + 1e-5) + shift``.
    norm_batches_ : float
        Number of batches in the running means and variances.
    projection_ : ndarray of shape (n_fields * n_factors,) or (n_classes, n_fields * n_factors)
        Output weights p.
    {training_}

    See Also
    --------
    DeepCrossRegressor : For regression.
    WideDeepClassifier : Has a multilayer perceptron and a linear part.

    References
    ----------
    Y. Shan et al., "Deep Crossing: Web-Scale Modeling without Manually Crafted Combinatorial Features", KDD 2016.

    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import DeepCrossClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), DeepCrossClassifier(random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints = TRAINING | FIELDS | HIDDEN_LAYERS | INITIALIZATION | CLASSIFICATION

    def __init__(
        self,
        n_factors=16,
        *,
        hidden_layer_sizes=(512, 512, 256, 128, 64),
        fields="auto",
        dropout=0.0,
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
