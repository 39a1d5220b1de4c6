"""Attentional factorization machine estimators."""

import numpy as np

from skafm._estimators.classification import Classification
from skafm._estimators.docstrings import fill_docstring
from skafm._estimators.explain import ExplainMixin
from skafm._estimators.fitted_model import working_memory
from skafm._estimators.initialization import FMInitialization, typical_pairs
from skafm._estimators.parameters import ATTENTION, CLASSIFICATION, INITIALIZATION, REGRESSION, TRAINING
from skafm._estimators.regression import Regression

_PRECISION = {"reduced_precision": ["boolean"]}


class _AFM(ExplainMixin, FMInitialization):
    """Attentional factorization machine for any target."""

    _parameter_attributes = {
        "linear.intercept": "intercept_",
        "linear.weight": "linear_coef_",
        "factors": "factors_",
        "attention_weight": "attention_coef_",
        "attention_bias": "attention_intercept_",
        "attention_projection": "attention_projection_",
        "projection": "projection_",
    }
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors", "attention_weight": "l2_attention"}

    def _build_module(self, data, n_outputs, **factory):
        from skafm.nn import AFM

        return AFM(
            data.X.shape[1],
            self.n_factors,
            self.attention_size,
            n_outputs,
            dropout=self.dropout,
            reduced_precision=self.reduced_precision,
            working_memory=working_memory(),
            **factory,
        )

    def _rebuild_module(self, n_outputs, **factory):
        from skafm.nn import AFM

        attention_size, n_factors = self.attention_coef_.shape
        return AFM(len(self.factors_), n_factors, attention_size, n_outputs, working_memory=working_memory(), **factory)

    def _initialize_parameters(self, module, generator, dataset, validation):
        if self.init == "random" or self.freeze_init:
            # DIFF: the paper's initial p is 1, which makes the interactions of random vectors P times too small.
            module.projection.detach().mul_(typical_pairs(dataset))
        super()._initialize_parameters(module, generator, dataset, validation)

    def attention(self, X):
        """Return the attention weights of the pairs of each row.

        These are the a_ij of Eq. 5 of Xiao et al. (2017). :meth:`explain` also returns the features of each pair and
        the pair's contribution to the prediction.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Rows to compute the attention for.

        Returns
        -------
        list of ndarray of shape (n_pairs,)
            Weights of each row, which sum to 1, in the order of the row's pairs of non-zero features: (1, 2), (1, 3),
            ..., (2, 3), ... An array is empty if the row has fewer than two non-zero features. A one-hot field that
            the row lacks, but all training rows had, counts as a further feature, the last.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model is not fitted.
        ValueError
            If X is malformed, or too large for a finite result.
        """
        explanation = self.explain(X)
        ends = np.searchsorted(explanation.rows, np.arange(1, len(explanation)))
        return np.split(explanation.attention, ends)


@fill_docstring
class AFMRegressor(Regression, _AFM):
    """Attentional factorization machine for regression.

    Predicts (Xiao et al., 2017; Eq. 6 and 5)

    ``y(x) = w0 + sum_i w_i x_i + p' sum_{i<j} a_ij (v_i * v_j) x_i x_j``,
    ``a_ij = softmax over the row's pairs of h' ReLU(W (v_i * v_j) x_i x_j + b)``

    where the sums run over the non-zero features of a row and ``*`` is elementwise: a factorization machine whose
    attention network learns how much each interaction of a row matters. Time is proportional to the number of pairs of
    non-zero features. With several targets, each has its own w0, w and p; embeddings and attention are shared.

    Training minimizes the sample-weighted mean over the rows s of
    ``(y(x_s) - y_s)^2 + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, plus ``l2_attention * ||W||^2``,
    where y is standardized to mean 0 and standard deviation 1: no hyperparameter depends on the units of y.

    Parameters
    ----------
    n_factors : int, default=32
        Embedding size k, the length of each v_i; at least 1.
    {loss}
    attention_size : int, default=16
        Attention factor t, the number of hidden units of the attention network; at least 1.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions ``sum_{i<j} a_ij v_if v_jf x_i x_j`` of a row during
        training; at least 0 and below 1. Not applied in prediction, nor to the attention network.
    {l2_linear}
    {regressor_l2_factors}
    l2_attention : float, default=0.0
        L2 penalty on W; at least 0. It is the paper's lambda on another scale: ``lambda / (n * var(y))`` for the lambda
        of its Eq. 8, where the loss is a sum over n rows; ``lambda / (B * var(y))`` for that of the authors' code,
        where the penalty is added to each batch of B rows.
    {init}
    {freeze_init}
    {solver}
    {learning_rate}
    {schedule}
    reduced_precision : bool, default=False
        Whether training computes the matrix products of the attention network in bfloat16. With large n_factors and
        attention_size this is faster on a CPU with bfloat16 instructions (AVX512-BF16, AMX), slower on other CPUs, and
        no faster on an H100. Batches of few pairs, predictions and all other operations have the precision of X.
    {clip}
    {rest}

    Attributes
    ----------
    {regressor_linear_}
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V; they have no unit.
    attention_coef_ : ndarray of shape (attention_size, n_factors)
        Weights W of the attention network.
    attention_intercept_ : ndarray of shape (attention_size,)
        Bias b of the attention network.
    attention_projection_ : ndarray of shape (attention_size,)
        Projection h of the attention network. Its initial value is zero, which gives uniform attention.
    projection_ : ndarray of shape (n_factors,) or (n_outputs, n_factors)
        Projection p, in the units of y. If ``init`` is random or frozen, its initial value is the typical number of
        pairs of a row, so that uniform attention, a mean over the pairs, begins on the scale of a factorization
        machine's sum; otherwise it is 1. With several targets it is drawn at random with this standard deviation.
    {training_}

    See Also
    --------
    FMRegressor : Gives all interactions the same weight; faster.
    AFMClassifier : For classification.

    References
    ----------
    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import AFMRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), AFMRegressor(random_state=0)).fit(X, y)
    >>> model.predict(X[:4]).round()
    array([0., 1., 1., 0.])
    """

    _parameter_constraints = TRAINING | INITIALIZATION | ATTENTION | _PRECISION | REGRESSION

    def __init__(
        self,
        n_factors=32,
        *,
        loss="squared_error",
        quantile=0.5,
        attention_size=16,
        dropout=0.0,
        l2_linear="auto",
        l2_factors="auto",
        l2_attention=0.0,
        init="random",
        freeze_init=False,
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
        reduced_precision=False,
        clip=False,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        self.n_factors = n_factors
        self.loss = loss
        self.quantile = quantile
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
        self.reduced_precision = reduced_precision
        self.clip = clip
        self.verbose = verbose
        self.random_state = random_state
        self.device = device


@fill_docstring
class AFMClassifier(Classification, _AFM):
    """Attentional factorization machine for classification.

    The raw score (Xiao et al., 2017; Eq. 6 and 5)

    ``raw(x) = w0 + sum_i w_i x_i + p' sum_{i<j} a_ij (v_i * v_j) x_i x_j``,
    ``a_ij = softmax over the row's pairs of h' ReLU(W (v_i * v_j) x_i x_j + b)``

    is the log-odds of the second of two classes; the sums run over the non-zero features of a row and ``*`` is
    elementwise. The attention network learns how much each interaction of a row matters. Time is proportional to the
    number of pairs of non-zero features. With more classes, each has its own w0, w and p, embeddings and attention are
    shared, and the probabilities are the softmax of the raw scores.

    Training minimizes the sample-weighted mean over the rows s of
    ``-log P(y_s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, plus ``l2_attention * ||W||^2``.

    Parameters
    ----------
    n_factors : int, default=64
        Embedding size k, the length of each v_i; at least 1.
    attention_size : int, default=16
        Attention factor t, the number of hidden units of the attention network; at least 1.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions ``sum_{i<j} a_ij v_if v_jf x_i x_j`` of a row during
        training; at least 0 and below 1. Not applied in prediction, nor to the attention network.
    {l2_linear}
    {classifier_l2_factors}
    l2_attention : float, default=0.001
        L2 penalty on W; at least 0. It is the paper's lambda on another scale: ``lambda / n`` for the lambda of a loss
        that is a sum over n rows.
    {init}
    {freeze_init}
    {solver}
    {learning_rate}
    {schedule}
    reduced_precision : bool, default=False
        Whether training computes the matrix products of the attention network in bfloat16. With large n_factors and
        attention_size this is faster on a CPU with bfloat16 instructions (AVX512-BF16, AMX), slower on other CPUs, and
        no faster on an H100. Batches of few pairs, predictions and all other operations have the precision of X.
    {class_weight}
    {rest}

    Attributes
    ----------
    {classifier_linear_}
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    attention_coef_ : ndarray of shape (attention_size, n_factors)
        Weights W of the attention network.
    attention_intercept_ : ndarray of shape (attention_size,)
        Bias b of the attention network.
    attention_projection_ : ndarray of shape (attention_size,)
        Projection h of the attention network. Its initial value is zero, which gives uniform attention.
    projection_ : ndarray of shape (n_factors,) or (n_classes, n_factors)
        Projection p. If ``init`` is random or frozen, its initial value is the typical number of pairs of a row, so
        that uniform attention, a mean over the pairs, begins on the scale of a factorization machine's sum; otherwise
        it is 1. With more than two classes it is drawn at random with this standard deviation.
    {training_}

    See Also
    --------
    FMClassifier : Gives all interactions the same weight; faster.
    AFMRegressor : For regression.

    References
    ----------
    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or (XOR) of two columns, which no linear model can represent:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import AFMClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), AFMClassifier(random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints = TRAINING | INITIALIZATION | ATTENTION | _PRECISION | CLASSIFICATION

    def __init__(
        self,
        n_factors=64,
        *,
        attention_size=16,
        dropout=0.0,
        l2_linear="auto",
        l2_factors="auto",
        l2_attention=0.001,
        init="random",
        freeze_init=False,
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
        reduced_precision=False,
        class_weight=None,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        self.n_factors = n_factors
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
        self.reduced_precision = reduced_precision
        self.class_weight = class_weight
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
