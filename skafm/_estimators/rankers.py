"""Factorization machines that rank the rows of a query."""

from skafm._estimators.afm import _AFM, _PRECISION
from skafm._estimators.docstrings import fill_docstring
from skafm._estimators.fm import _FM
from skafm._estimators.parameters import ATTENTION, INITIALIZATION, RANKING, TRAINING
from skafm._estimators.ranking import Ranking


@fill_docstring
class FMRanker(Ranking, _FM):
    """Factorization machine for ranking.

    Scores a row, such as a film for a user or a document for a search, by (Rendle, 2010; Eq. 1 of Xiao et al., 2017)

    ``raw(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j``

    where the sums run over the non-zero features of a row. Only the order of the rows of a query is learned: what all
    of them have in common matters in interactions alone. Time and memory are proportional to the number of non-zero
    entries.

    Training minimizes the sample-weighted mean over the rows s of
    ``L(query of s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``.

    Parameters
    ----------
    n_factors : int, default=32
        Embedding size k, the length of each v_i; at least 1.
    {ranking_loss}
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions ``sum_{i<j} v_if v_jf x_i x_j`` of a row during
        training; at least 0 and below 1. Not applied in prediction.
    {ranker_l2}
    {solver}
    {learning_rate}
    {ranker_schedule}
    {rest}

    Attributes
    ----------
    {ranker_linear_}
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    {training_}

    See Also
    --------
    AFMRanker : Weights the interactions by attention.
    FMRegressor : Predicts the relevance itself.
    skafm.metrics.ndcg_at_k : How good a ranking is.

    References
    ----------
    {ranker_references}

    Examples
    --------
    Each user, a query, likes the films of one genre:

    >>> import numpy as np
    >>> from skafm import FMRanker
    >>> rng = np.random.default_rng(0)
    >>> user, genre = rng.integers(0, 20, 2000), rng.integers(0, 4, 2000)
    >>> X, y = np.hstack([np.eye(20)[user], np.eye(4)[genre]]), (user % 4 == genre).astype(int)
    >>> model = FMRanker(random_state=0).fit(X[:1500], y[:1500], qid=user[:1500])
    >>> round(model.score(X[1500:], y[1500:], qid=user[1500:]), 2)
    1.0
    """

    _parameter_constraints = TRAINING | RANKING

    def __init__(
        self,
        n_factors=32,
        *,
        loss="pairwise",
        metric="ndcg",
        k=None,
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
        scoring="metric",
        warm_start=False,
        shuffle=True,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        self.n_factors = n_factors
        self.loss = loss
        self.metric = metric
        self.k = k
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
        self.verbose = verbose
        self.random_state = random_state
        self.device = device


@fill_docstring
class AFMRanker(Ranking, _AFM):
    """Attentional factorization machine for ranking.

    Scores a row, such as a film for a user or a document for a search, by (Xiao et al., 2017; Eq. 6 and 5)

    ``raw(x) = w0 + sum_i w_i x_i + p' sum_{i<j} a_ij (v_i * v_j) x_i x_j``,
    ``a_ij = softmax over the row's pairs of h' ReLU(W (v_i * v_j) x_i x_j + b)``

    where the sums run over the non-zero features of a row and ``*`` is elementwise. Only the order of the rows of a
    query is learned. Time is proportional to the number of pairs of non-zero features.

    Training minimizes the sample-weighted mean over the rows s of
    ``L(query of s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, plus ``l2_attention * ||W||^2``.

    Parameters
    ----------
    n_factors : int, default=32
        Embedding size k, the length of each v_i; at least 1.
    {ranking_loss}
    attention_size : int, default=16
        Attention factor t, the number of hidden units of the attention network; at least 1.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions ``sum_{i<j} a_ij v_if v_jf x_i x_j`` of a row during
        training; at least 0 and below 1. Not applied in prediction, nor to the attention network.
    {ranker_l2}
    l2_attention : float, default=0.001
        L2 penalty on W; at least 0.
    init : {"random", "fm"} or a fitted factorization machine, default="random"
        Initialization of the embeddings and of w. "random" draws the embeddings from a normal distribution. "fm" first
        trains a factorization machine on the same rows with the same parameters, with early stopping by the loss. A
        fitted FMRanker, with the same number of features and of factors, gives its own parameters; in a grid search,
        wrap it in ``sklearn.frozen.FrozenEstimator``, since ``clone`` returns an unfitted estimator.
    {freeze_init}
    {solver}
    {learning_rate}
    {ranker_schedule}
    reduced_precision : bool, default=False
        Whether training computes the matrix products of the attention network in bfloat16, see :class:`AFMRegressor`.
    {rest}

    Attributes
    ----------
    {ranker_linear_}
    factors_ : ndarray of shape (n_features, n_factors)
        Embeddings V.
    attention_coef_ : ndarray of shape (attention_size, n_factors)
        Weights W of the attention network.
    attention_intercept_ : ndarray of shape (attention_size,)
        Bias b of the attention network.
    attention_projection_ : ndarray of shape (attention_size,)
        Projection h of the attention network. Its initial value is zero, which gives uniform attention.
    projection_ : ndarray of shape (n_factors,)
        Projection p. If ``init`` is random or frozen, its initial value is the typical number of pairs of a row, so
        that uniform attention begins on the scale of a factorization machine's sum; otherwise it is 1.
    {training_}

    See Also
    --------
    FMRanker : Gives all interactions the same weight; faster.
    AFMClassifier : Predicts the probability of relevance.

    References
    ----------
    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    {ranker_references}

    Examples
    --------
    Each user, a query, likes the films of one genre:

    >>> import numpy as np
    >>> from skafm import AFMRanker
    >>> rng = np.random.default_rng(0)
    >>> user, genre = rng.integers(0, 20, 2000), rng.integers(0, 4, 2000)
    >>> X, y = np.hstack([np.eye(20)[user], np.eye(4)[genre]]), (user % 4 == genre).astype(int)
    >>> model = AFMRanker(random_state=0).fit(X[:1500], y[:1500], qid=user[:1500])
    >>> round(model.score(X[1500:], y[1500:], qid=user[1500:]), 2)
    1.0
    """

    _parameter_constraints = TRAINING | INITIALIZATION | ATTENTION | _PRECISION | RANKING

    def __init__(
        self,
        n_factors=32,
        *,
        loss="pairwise",
        metric="ndcg",
        k=None,
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
        scoring="metric",
        warm_start=False,
        shuffle=True,
        reduced_precision=False,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        self.n_factors = n_factors
        self.loss = loss
        self.metric = metric
        self.k = k
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
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
