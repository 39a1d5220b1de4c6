"""Neural factorization machine estimators."""

from skafm._estimators.classification import Classification
from skafm._estimators.docstrings import fill_docstring
from skafm._estimators.fitted_model import working_memory
from skafm._estimators.initialization import FMInitialization, typical_pairs
from skafm._estimators.parameters import (
    ATTENTION,
    CLASSIFICATION,
    HIDDEN_LAYERS,
    INITIALIZATION,
    POOLING,
    REGRESSION,
    TRAINING,
    check_hidden_layer_sizes,
)
from skafm._estimators.regression import Regression


class _NFM(FMInitialization):
    """Neural factorization machine for any target."""

    _parameter_attributes = {
        "linear.intercept": "intercept_",
        "linear.weight": "linear_coef_",
        "factors": "factors_",
        "pooling.weight": "attention_coef_",
        "pooling.bias": "attention_intercept_",
        "pooling.projection": "attention_projection_",
        "mlp.coefs": "coefs_",
        "mlp.intercepts": "intercepts_",
        "projection": "projection_",
    }
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors", "pooling.weight": "l2_attention"}

    def _build_module(self, data, n_outputs, **factory):
        from skafm.nn import NFM

        attention_size = self.attention_size if self.pooling == "attention" else None
        sizes = check_hidden_layer_sizes(self.hidden_layer_sizes)
        return NFM(
            data.X.shape[1],
            self.n_factors,
            sizes,
            attention_size,
            n_outputs,
            dropout=self.dropout,
            working_memory=working_memory(),
            **factory,
        )

    def _rebuild_module(self, n_outputs, **factory):
        from skafm.nn import NFM

        attention_size = len(self.attention_intercept_) if hasattr(self, "attention_intercept_") else None
        (n_features, n_factors), sizes = self.factors_.shape, [len(intercept) for intercept in self.intercepts_]
        factory["working_memory"] = working_memory()
        return NFM(n_features, n_factors, sizes, attention_size, n_outputs, **factory)

    def _initialize_parameters(self, module, generator, dataset, validation):
        if self.pooling == "attention" and self.init == "random":
            # As in AFM, uniform attention, a mean over the pairs, then begins on the scale of a sum.
            module.mlp.coefs[0].detach().mul_(typical_pairs(dataset))
        super()._initialize_parameters(module, generator, dataset, validation)


@fill_docstring
class NFMRegressor(Regression, _NFM):
    """Neural factorization machine for regression.

    Predicts (He and Chua, 2017; Eq. 3)

    ``y(x) = w0 + sum_i w_i x_i + p' MLP(pooled)``, ``pooled = sum_{i<j} (v_i * v_j) x_i x_j``

    where the sums run over the non-zero features of a row and ``*`` is elementwise: a multilayer perceptron (MLP) with
    ReLU on the pooled interactions of a factorization machine. With ``pooling="attention"`` the pooled vector is that
    of an attentional factorization machine, ``sum_{i<j} a_ij (v_i * v_j) x_i x_j``: the deep version of AFM that Xiao
    et al. (2017) propose as future work. With several targets, each has its own w0, w and p.

    Training minimizes the sample-weighted mean over the rows s of
    ``(y(x_s) - y_s)^2 + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``,
    with attention plus ``l2_attention * ||W||^2``, where y is standardized to mean 0 and standard deviation 1: no
    hyperparameter depends on the units of y.

    Parameters
    ----------
    n_factors : int, default=32
        Embedding size k, the length of each v_i; at least 1.
    {loss}
    hidden_layer_sizes : tuple of int, default=(64,)
        Number of units of each hidden layer, at least one layer. He and Chua find one layer best.
    pooling : {"sum", "attention"}, default="sum"
        How to pool the interactions of a row into one vector. Time and memory are proportional to the number of entries
        for "sum" and to the number of pairs for "attention", about ``256 + attention_size`` bytes for each pair.
    attention_size : int, default=16
        Attention factor t, the number of hidden units of the attention network; at least 1. Used only with
        ``pooling="attention"``.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions and of the hidden units of a row during training; at
        least 0 and below 1. Not applied in prediction.
    {l2_linear}
    {regressor_l2_factors}
    l2_attention : float, default=0.0
        L2 penalty on W of the attention network; at least 0.
    {init}
    {freeze_init}
    {solver}
    learning_rate : float, default=0.02
        Step size of the optimizer; above 0.
    {schedule}
    {clip}
    {rest}

    Attributes
    ----------
    {regressor_linear_}
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    attention_coef_, attention_intercept_, attention_projection_ : ndarray of shape (t, k), (t,), (t,)
        W, b and h of the attention network, as in AFMRegressor. Defined only with ``pooling="attention"``.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weight matrix of each hidden layer.
    intercepts_ : list of ndarray of shape (n_out,)
        Bias of each hidden layer.
    projection_ : ndarray of shape (n_hidden,) or (n_outputs, n_hidden)
        Output weights p, in the units of y.
    {training_}

    See Also
    --------
    NFMClassifier : For classification.
    AFMRegressor : Has attention but no hidden layers above it.

    References
    ----------
    X. He and T.-S. Chua, "Neural Factorization Machines for Sparse Predictive Analytics", SIGIR 2017.

    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import NFMRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), NFMRegressor(random_state=0)).fit(X, y)
    >>> model.predict(X[:4]).round() + 0.0
    array([0., 1., 1., 0.])
    """

    _parameter_constraints = TRAINING | HIDDEN_LAYERS | INITIALIZATION | ATTENTION | POOLING | REGRESSION

    def __init__(
        self,
        n_factors=32,
        *,
        loss="squared_error",
        quantile=0.5,
        hidden_layer_sizes=(64,),
        pooling="sum",
        attention_size=16,
        dropout=0.0,
        l2_linear="auto",
        l2_factors="auto",
        l2_attention=0.0,
        init="random",
        freeze_init=False,
        solver="adagrad",
        learning_rate=0.02,
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
        self.pooling = pooling
        self.attention_size = attention_size
        self.dropout = dropout
        self.l2_linear = l2_linear
        self.l2_factors = l2_factors
        self.l2_attention = l2_attention
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
class NFMClassifier(Classification, _NFM):
    """Neural factorization machine for classification.

    The raw score (He and Chua, 2017; Eq. 3)

    ``raw(x) = w0 + sum_i w_i x_i + p' MLP(pooled)``, ``pooled = sum_{i<j} (v_i * v_j) x_i x_j``

    is the log-odds of the second of two classes; the sums run over the non-zero features of a row and ``*`` is
    elementwise: a multilayer perceptron (MLP) with ReLU on the pooled interactions of a factorization machine. With
    ``pooling="attention"`` the pooled vector is that of an attentional factorization machine,
    ``sum_{i<j} a_ij (v_i * v_j) x_i x_j``: the deep version of AFM that Xiao et al. (2017) propose as future work. With
    more classes, each has its own w0, w and p, and the probabilities are the softmax of the raw scores.

    Training minimizes the sample-weighted mean over the rows s of
    ``-log P(y_s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``,
    with attention plus ``l2_attention * ||W||^2``.

    Parameters
    ----------
    n_factors : int, default=32
        Embedding size k, the length of each v_i; at least 1.
    hidden_layer_sizes : tuple of int, default=(64,)
        Number of units of each hidden layer, at least one layer. He and Chua find one layer best.
    pooling : {"sum", "attention"}, default="sum"
        How to pool the interactions of a row into one vector. Time and memory are proportional to the number of entries
        for "sum" and to the number of pairs for "attention", about ``256 + attention_size`` bytes for each pair.
    attention_size : int, default=16
        Attention factor t, the number of hidden units of the attention network; at least 1. Used only with
        ``pooling="attention"``.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions and of the hidden units of a row during training; at
        least 0 and below 1. Not applied in prediction.
    {l2_linear}
    {classifier_l2_factors}
    l2_attention : float, default=0.0
        L2 penalty on W of the attention network; at least 0.
    {init}
    {freeze_init}
    {solver}
    learning_rate : float, default=0.02
        Step size of the optimizer; above 0.
    {schedule}
    {class_weight}
    {rest}

    Attributes
    ----------
    {classifier_linear_}
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    attention_coef_, attention_intercept_, attention_projection_ : ndarray of shape (t, k), (t,), (t,)
        W, b and h of the attention network, as in AFMRegressor. Defined only with ``pooling="attention"``.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weight matrix of each hidden layer.
    intercepts_ : list of ndarray of shape (n_out,)
        Bias of each hidden layer.
    projection_ : ndarray of shape (n_hidden,) or (n_classes, n_hidden)
        Output weights p.
    {training_}

    See Also
    --------
    NFMRegressor : For regression.
    AFMClassifier : Has attention but no hidden layers above it.

    References
    ----------
    X. He and T.-S. Chua, "Neural Factorization Machines for Sparse Predictive Analytics", SIGIR 2017.

    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import NFMClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), NFMClassifier(random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints = TRAINING | HIDDEN_LAYERS | INITIALIZATION | ATTENTION | POOLING | CLASSIFICATION

    def __init__(
        self,
        n_factors=32,
        *,
        hidden_layer_sizes=(64,),
        pooling="sum",
        attention_size=16,
        dropout=0.0,
        l2_linear="auto",
        l2_factors="auto",
        l2_attention=0.0,
        init="random",
        freeze_init=False,
        solver="adagrad",
        learning_rate=0.02,
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
        self.pooling = pooling
        self.attention_size = attention_size
        self.dropout = dropout
        self.l2_linear = l2_linear
        self.l2_factors = l2_factors
        self.l2_attention = l2_attention
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
