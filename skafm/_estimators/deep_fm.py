"""DeepFM estimators, and with attention the parallel AFM."""

from skafm._estimators.classification import Classification
from skafm._estimators.docstrings import fill_docstring
from skafm._estimators.explain import ExplainMixin
from skafm._estimators.fields import FieldsMixin
from skafm._estimators.fitted_model import working_memory
from skafm._estimators.initialization import RandomInitialization, typical_pairs
from skafm._estimators.parameters import (
    ATTENTION,
    CLASSIFICATION,
    FIELDS,
    HIDDEN_LAYERS,
    POOLING,
    REGRESSION,
    TRAINING,
    check_hidden_layer_sizes,
)
from skafm._estimators.regression import Regression

_BATCH_NORM = {"batch_norm": ["boolean"]}
_TABLE_PENALTY = 0.025
"""C of "auto" penalties with batch normalization, half of the board's 0.05, whose penalty has a factor of one half."""


class _DeepFM(ExplainMixin, FieldsMixin, RandomInitialization):
    """DeepFM for any target."""

    _parameter_attributes = {
        "linear.intercept": "intercept_",
        "linear.weight": "linear_coef_",
        "factors": "factors_",
        "fields": "fields_",
        "pooling.weight": "attention_coef_",
        "pooling.bias": "attention_intercept_",
        "pooling.projection": "attention_projection_",
        "deep.mlp.coefs": "coefs_",
        "deep.mlp.intercepts": "intercepts_",
        "deep.mlp.norm.scales": "norm_scales_",
        "deep.mlp.norm.shifts": "norm_shifts_",
        "deep.mlp.norm.n_batches": "norm_batches_",
        "deep.mlp.norm.means": "norm_means_",
        "deep.mlp.norm.variances": "norm_variances_",
        "projection": "projection_",
    }
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors", "pooling.weight": "l2_attention"}
    _lowers_rate = True

    @property
    def _table_penalty(self):
        return _TABLE_PENALTY if self.batch_norm else 0.0

    def _build_module(self, data, n_outputs, **factory):
        from skafm.nn import DeepFM

        return DeepFM(
            self._find_fields(data),
            self.n_factors,
            check_hidden_layer_sizes(self.hidden_layer_sizes),
            self.attention_size if self.pooling == "attention" else None,
            n_outputs,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
            working_memory=working_memory(),
            **factory,
        )

    def _rebuild_module(self, n_outputs, **factory):
        from skafm.nn import DeepFM

        attention_size = len(self.attention_intercept_) if hasattr(self, "attention_intercept_") else None
        sizes, batch_norm = [len(intercept) for intercept in self.intercepts_], hasattr(self, "norm_scales_")
        factory |= {"batch_norm": batch_norm, "working_memory": working_memory()}
        return DeepFM(self.fields_, self.factors_.shape[1], sizes, attention_size, n_outputs, **factory)

    def _initialize_parameters(self, module, generator, dataset, validation):
        if self.pooling == "attention":
            # As in AFM, uniform attention, a mean over the pairs, then begins on the scale of a sum.
            module.projection.detach()[..., : self.n_factors].mul_(typical_pairs(dataset))
        super()._initialize_parameters(module, generator, dataset, validation)

    def _deep_terms(self, module, rows):
        from skafm._training import conversion

        device = conversion.resolve_device(self.device)
        return conversion.deep_terms(module, rows, device, working_memory())


@fill_docstring
class DeepFMRegressor(Regression, _DeepFM):
    """DeepFM for regression.

    Predicts (Guo et al., 2017)

    ``y(x) = w0 + sum_i w_i x_i + p' pooled + q' MLP([sum_{i in f} v_i x_i for each field f])``,
    ``pooled = sum_{i<j} (v_i * v_j) x_i x_j``

    where the sums run over the non-zero features of a row and ``*`` is elementwise: a factorization machine, and beside
    it a multilayer perceptron (MLP) with ReLU on the concatenated embeddings of the fields, which are those of the
    interactions. With ``pooling="attention"`` the pooled vector is that of an attentional factorization machine,
    ``sum_{i<j} a_ij (v_i * v_j) x_i x_j`` (Xiao et al., 2017): a parallel AFM. With several targets, each has its own
    w0, w, p and q.

    Training minimizes the sample-weighted mean over the rows s of
    ``(y(x_s) - y_s)^2 + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``,
    with attention plus ``l2_attention * ||W||^2``, where y is standardized to mean 0 and standard deviation 1: no
    hyperparameter depends on the units of y.

    Parameters
    ----------
    n_factors : int, default=16
        Embedding size k, the length of each v_i; at least 1.
    {loss}
    hidden_layer_sizes : tuple of int, default=(400, 400)
        Number of units of each hidden layer, at least one layer.
    pooling : {"sum", "attention"}, default="sum"
        How to pool the interactions of a row into one vector. Time and memory are proportional to the number of entries
        for "sum" and to the number of pairs for "attention", about ``256 + attention_size`` bytes for each pair.
    attention_size : int, default=16
        Attention factor t, the number of hidden units of the attention network; at least 1. Used only with
        ``pooling="attention"``.
    batch_norm : bool, default=True
        Whether hidden layers have batch normalization: training normalizes their inputs by the mean and variance of the
        batch, weighted by the sample weights, prediction by running averages of both. Batches are then not divided,
        whatever scikit-learn's ``working_memory``, and several processes cannot train one model.
    {fields}
    dropout : float, default=0.0
        Probability of dropping each hidden unit of a row during training; at least 0 and below 1. Not applied in
        prediction. On many rows 0.2 is better.
    {deep_l2}
    l2_attention : float, default=0.0
        L2 penalty on W of the attention network; at least 0.
    {solver}
    learning_rate : float, default=0.001
        Step size of the optimizer; above 0.
    {deep_schedule}
    {clip}
    {rest}

    Attributes
    ----------
    {regressor_linear_}
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    {fields_}
    attention_coef_, attention_intercept_, attention_projection_ : ndarray of shape (t, k), (t,), (t,)
        W, b and h of the attention network, as in AFMRegressor. Defined only with ``pooling="attention"``.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weight matrix of each hidden layer.
    intercepts_ : list of ndarray of shape (n_out,)
        Bias of each hidden layer; with ``batch_norm`` 0, as the norm's shift is one.
    norm_scales_, norm_shifts_ : list of ndarray of shape (n_out,)
        Scale and shift of the batch normalization of each hidden layer. Defined, as the next three, only with
        ``batch_norm=True``.
    norm_means_, norm_variances_ : list of ndarray of shape (n_out,)
        Running mean and variance of the inputs of each hidden layer.
    norm_batches_ : float
        Number of batches that the running averages have seen.
    projection_ : ndarray of shape (n_factors + n_hidden,) or (n_outputs, n_factors + n_hidden)
        Output weights, in the units of y: p, of the pooled interactions, then q, of the last hidden layer.
    {training_}

    See Also
    --------
    DeepFMClassifier : For classification.
    WideDeepRegressor : Has no term for interactions.
    NFMRegressor : Has the perceptron on the pooled interactions.

    Notes
    -----
    The perceptron sees the sum of the embeddings of each field: it does not know which of several features of a field
    go together. Where there are no fields, as in texts, give all columns the same one.

    :meth:`explain` returns linear terms and interactions exactly, and the perceptron as one further term of each row.

    References
    ----------
    H. Guo et al., "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction", IJCAI 2017.

    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import DeepFMRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), DeepFMRegressor(random_state=0)).fit(X, y)
    >>> model.predict(X[:4]).round() + 0.0
    array([0., 1., 1., 0.])
    """

    _parameter_constraints = TRAINING | FIELDS | HIDDEN_LAYERS | ATTENTION | POOLING | _BATCH_NORM | REGRESSION

    def __init__(
        self,
        n_factors=16,
        *,
        loss="squared_error",
        quantile=0.5,
        hidden_layer_sizes=(400, 400),
        pooling="sum",
        attention_size=16,
        batch_norm=True,
        fields="auto",
        dropout=0.0,
        l2_linear="auto",
        l2_factors="auto",
        l2_attention=0.0,
        solver="adam",
        learning_rate=0.001,
        batch_size="auto",
        max_iter=100,
        tol=1e-3,
        n_iter_no_change=2,
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
        self.pooling = pooling
        self.attention_size = attention_size
        self.batch_norm = batch_norm
        self.fields = fields
        self.dropout = dropout
        self.l2_linear = l2_linear
        self.l2_factors = l2_factors
        self.l2_attention = l2_attention
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
class DeepFMClassifier(Classification, _DeepFM):
    """DeepFM for classification.

    The raw score (Guo et al., 2017)

    ``raw(x) = w0 + sum_i w_i x_i + p' pooled + q' MLP([sum_{i in f} v_i x_i for each field f])``,
    ``pooled = sum_{i<j} (v_i * v_j) x_i x_j``

    is the log-odds of the second of two classes; the sums run over the non-zero features of a row and ``*`` is
    elementwise: a factorization machine, and beside it a multilayer perceptron (MLP) with ReLU on the concatenated
    embeddings of the fields, which are those of the interactions. With ``pooling="attention"`` the pooled vector is
    that of an attentional factorization machine, ``sum_{i<j} a_ij (v_i * v_j) x_i x_j`` (Xiao et al., 2017): a parallel
    AFM. With more classes, each has its own w0, w, p and q, and the probabilities are the softmax of the raw scores.

    Training minimizes the sample-weighted mean over the rows s of
    ``-log P(y_s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, with attention plus
    ``l2_attention * ||W||^2``.

    Parameters
    ----------
    n_factors : int, default=16
        Embedding size k, the length of each v_i; at least 1.
    hidden_layer_sizes : tuple of int, default=(400, 400)
        Number of units of each hidden layer, at least one layer.
    pooling : {"sum", "attention"}, default="sum"
        How to pool the interactions of a row into one vector. Time and memory are proportional to the number of entries
        for "sum" and to the number of pairs for "attention", about ``256 + attention_size`` bytes for each pair.
    attention_size : int, default=16
        Attention factor t, the number of hidden units of the attention network; at least 1. Used only with
        ``pooling="attention"``.
    batch_norm : bool, default=True
        Whether hidden layers have batch normalization: training normalizes their inputs by the mean and variance of the
        batch, weighted by the sample weights, prediction by running averages of both. Batches are then not divided,
        whatever scikit-learn's ``working_memory``, and several processes cannot train one model.
    {fields}
    dropout : float, default=0.0
        Probability of dropping each hidden unit of a row during training; at least 0 and below 1. Not applied in
        prediction. On many rows 0.2 is better.
    {deep_l2}
    l2_attention : float, default=0.001
        L2 penalty on W of the attention network; at least 0.
    {solver}
    learning_rate : float, default=0.001
        Step size of the optimizer; above 0.
    {deep_schedule}
    {class_weight}
    {rest}

    Attributes
    ----------
    {classifier_linear_}
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    {fields_}
    attention_coef_, attention_intercept_, attention_projection_ : ndarray of shape (t, k), (t,), (t,)
        W, b and h of the attention network, as in AFMClassifier. Defined only with ``pooling="attention"``.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weight matrix of each hidden layer.
    intercepts_ : list of ndarray of shape (n_out,)
        Bias of each hidden layer; with ``batch_norm`` 0, as the norm's shift is one.
    norm_scales_, norm_shifts_ : list of ndarray of shape (n_out,)
        Scale and shift of the batch normalization of each hidden layer. Defined, as the next three, only with
        ``batch_norm=True``.
    norm_means_, norm_variances_ : list of ndarray of shape (n_out,)
        Running mean and variance of the inputs of each hidden layer.
    norm_batches_ : float
        Number of batches that the running averages have seen.
    projection_ : ndarray of shape (n_factors + n_hidden,) or (n_classes, n_factors + n_hidden)
        Output weights: p, of the pooled interactions, then q, of the last hidden layer.
    {training_}

    See Also
    --------
    DeepFMRegressor : For regression.
    WideDeepClassifier : Has no term for interactions.
    NFMClassifier : Has the perceptron on the pooled interactions.

    Notes
    -----
    The perceptron sees the sum of the embeddings of each field: it does not know which of several features of a field
    go together. Where there are no fields, as in texts, give all columns the same one.

    :meth:`explain` returns linear terms and interactions exactly, and the perceptron as one further term of each row.

    References
    ----------
    H. Guo et al., "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction", IJCAI 2017.

    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import DeepFMClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), DeepFMClassifier(random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints = TRAINING | FIELDS | HIDDEN_LAYERS | ATTENTION | POOLING | _BATCH_NORM | CLASSIFICATION

    def __init__(
        self,
        n_factors=16,
        *,
        hidden_layer_sizes=(400, 400),
        pooling="sum",
        attention_size=16,
        batch_norm=True,
        fields="auto",
        dropout=0.0,
        l2_linear="auto",
        l2_factors="auto",
        l2_attention=0.001,
        solver="adam",
        learning_rate=0.001,
        batch_size="auto",
        max_iter=100,
        tol=1e-3,
        n_iter_no_change=2,
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
        self.pooling = pooling
        self.attention_size = attention_size
        self.batch_norm = batch_norm
        self.fields = fields
        self.dropout = dropout
        self.l2_linear = l2_linear
        self.l2_factors = l2_factors
        self.l2_attention = l2_attention
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
