"""Attentional factorization machine estimators."""

from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skafm._base import PARAMETERS, FactorizationMachine, Regression, working_memory
from skafm.nn import AFM, FM

FM_ATTRIBUTES = {"linear.intercept": "intercept_", "linear.weight": "coef_", "factors": "factors_"}
"""Parameters that a module has in common with that of a fitted factorization machine -> the latter's attributes."""


class AFMRegressor(Regression, FactorizationMachine):
    """Attentional factorization machine for regression.

    Predicts (Xiao et al., 2017; Eq. 6 and 5)

    ``y(x) = w0 + sum_i w_i x_i + p' sum_{i<j} a_ij (v_i * v_j) x_i x_j``,
    ``a_ij = softmax over the row's pairs of h' ReLU(W (v_i * v_j) x_i x_j + b)``

    where the sums go over the non-zero features of a row and ``*`` is elementwise: a factorization machine that learns
    which of a row's interactions matter. It costs time in proportion to the pairs of non-zero features.

    Training makes small the mean over the rows s, each counting as its ``sample_weight``, of
    ``(y(x_s) - y_s)^2 + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, plus ``l2_attention * ||W||^2``,
    in units in which y has mean 0 and standard deviation 1: no parameter needs to be changed for the units of y.

    Parameters
    ----------
    n_factors : int, default=16
        Embedding size k, the length of each v_i; at least 1.
    attention_size : int, default=16
        Attention factor t, the number of hidden units of the attention network; at least 1.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions ``sum_{i<j} a_ij v_if v_jf x_i x_j`` of a row while
        training; from 0 to below 1. There is none when predicting, and none on the attention network.
    l2_linear : float, default=0.0
        Penalty on w; a feature is penalised once for each row that has it.
    l2_factors : float, default=0.003
        Penalty on V; a feature is penalised once for each row that has it.
    l2_attention : float, default=0.0
        Penalty on W, the paper's lambda: ``lambda / (n * var(y))`` for the lambda of its Eq. 8, a sum over n rows;
        ``lambda / (B * var(y))`` for that of its authors' code, which adds it to each batch of B rows.
    init : {"random", "fm"} or a fitted FMRegressor, default="random"
        Start of w0, w and V: random; a factorization machine trained first on the same rows with the same parameters,
        as in the paper; or one at hand, with as many features and factors. ``clone`` and so a grid search would unfit
        it: wrap it in ``sklearn.frozen.FrozenEstimator`` there.
    solver : {"adagrad", "adam", "sgd"}, default="adagrad"
        Adagrad is the choice of Xiao et al.; plain SGD that of libFM. All touch only the features of a batch.
    learning_rate : float, default=0.05
        Step size, above 0.
    batch_size : int or "auto", default="auto"
        The most rows in a batch. "auto" is 1/128 of the rows, but no fewer than 200 and no more than 1024.
    max_iter : int, default=100
        The most epochs.
    tol : float, default=1e-3
        Training stops when the loss of the best of ``n_iter_no_change`` epochs is not below the best before them by
        more than ``tol``. The loss of predicting the mean is 1, whatever the units of y.
    n_iter_no_change : int, default=5
        See ``tol``.
    shuffle : bool, default=True
        Whether each epoch takes the rows in a new order.
    reduced_precision : bool, default=False
        Whether training multiplies the attention network's matrices in bfloat16. For large n_factors and attention_size
        that is faster on CUDA, and on a CPU that has instructions for it (AVX512-BF16, AMX); elsewhere it is slower.
        Everything else, and every prediction, has the precision of X.
    verbose : int or bool, default=False
        Whether to print the loss of each epoch.
    random_state : int, RandomState instance or None, default=None
        Source of the random start, the order of the rows and dropout. The same int gives the same bits on the same
        machine and device. torch's and NumPy's global generators are neither used nor changed.
    device : {"cpu", "cuda", "auto"}, str or torch.device, default="cpu"
        Where to compute. "auto" is CUDA where torch finds it.

    Attributes
    ----------
    intercept_ : float
        w0, in the units of y.
    coef_ : ndarray of shape (n_features,)
        w, in the units of y.
    factors_ : ndarray of shape (n_features, n_factors)
        V, without a unit.
    attention_coef_ : ndarray of shape (attention_size, n_factors)
        W.
    attention_intercept_ : ndarray of shape (attention_size,)
        b.
    attention_projection_ : ndarray of shape (attention_size,)
        h. Zero would be uniform attention, from which training starts.
    projection_ : ndarray of shape (n_factors,)
        p, in the units of y. From a random ``init`` training starts at the typical number of pairs of a row, so that
        uniform attention, a mean over the pairs, starts as the sum of a factorization machine; otherwise at 1.
    n_iter_ : int
        Epochs trained.
    loss_curve_ : list of float
        Mean over each epoch of what training makes small (see above), in the units of a standardised y.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had names that are all strings.

    See Also
    --------
    FMRegressor : Gives every interaction the same weight, in less time.

    References
    ----------
    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or of two columns, which no linear model can see:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import AFMRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), AFMRegressor(random_state=0)).fit(X, y)
    >>> model.predict(X[:4]).round()
    array([0., 1., 1., 0.])
    """

    _attributes = {
        **FM_ATTRIBUTES,
        "attention_weight": "attention_coef_",
        "attention_bias": "attention_intercept_",
        "attention_projection": "attention_projection_",
        "projection": "projection_",
    }
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors", "attention_weight": "l2_attention"}

    _parameter_constraints = {
        **PARAMETERS,
        "attention_size": [Interval(Integral, 1, None, closed="left")],
        "l2_attention": [Interval(Real, 0, None, closed="left")],
        "reduced_precision": ["boolean"],
        "init": [StrOptions({"random", "fm"}), HasMethods(["fit", "predict"])],
    }

    def __init__(
        self,
        n_factors=16,
        *,
        attention_size=16,
        dropout=0.0,
        l2_linear=0.0,
        l2_factors=0.003,
        l2_attention=0.0,
        init="random",
        solver="adagrad",
        learning_rate=0.05,
        batch_size="auto",
        max_iter=100,
        tol=1e-3,
        n_iter_no_change=5,
        shuffle=True,
        reduced_precision=False,
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
        self.solver = solver
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.shuffle = shuffle
        self.reduced_precision = reduced_precision
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    def _build(self, n_features, **factory):
        matmul_dtype = torch.bfloat16 if self.reduced_precision else None
        sizes = (n_features, self.n_factors, self.attention_size)
        memory = working_memory()
        return AFM(*sizes, dropout=self.dropout, matmul_dtype=matmul_dtype, working_memory=memory, **factory)

    def _rebuild(self, **factory):
        sizes = (*self.factors_.shape, *self.attention_intercept_.shape)
        return AFM(*sizes, working_memory=working_memory(), **factory)

    def _start(self, module, examples, generator, shift, scale):
        if self.init == "random":
            # DIFF: the paper starts from p = 1, which makes the interactions of random vectors P times too small.
            module.projection.detach().fill_(_typical_pairs(examples))
            return
        device, dtype = module.factors.device, module.factors.dtype
        fm = FM(*module.factors.shape, dropout=self.dropout, generator=generator, device=device, dtype=dtype)
        if self.init == "fm":
            self._fit_module(fm, examples, generator)
        else:
            fm.load_state_dict(self._fm_state(module))
            fm.rescale_(-shift / scale, 1 / scale)  # from the units of y to those of training
        module.linear.load_state_dict(fm.linear.state_dict())
        module.factors.detach().copy_(fm.factors)

    def _fm_state(self, module):
        """Return the parameters of ``init``, a fitted factorization machine."""
        check_is_fitted(self.init)
        expected, came = tuple(module.factors.shape), getattr(getattr(self.init, "factors_", None), "shape", None)
        if came != expected:
            raise ValueError(
                f"init must be a factorization machine with factors_ of shape (n_features, n_factors) = {expected}, "
                f"but {self.init} has {came}: fit it on the same columns and with the same n_factors."
            )
        return {name: torch.as_tensor(getattr(self.init, attribute)) for name, attribute in FM_ATTRIBUTES.items()}


def _typical_pairs(examples):
    """Return the weighted harmonic mean of the rows' number of pairs, of those that have any.

    With uniform attention a row of P pairs starts at p / P times the sum S of its pairs' terms, the FM's. Independent
    terms of mean zero give S a variance that grows as P, and this p then makes the mean of (p S / P - S)^2 smallest.
    """
    lengths = examples.rows.indptr.diff().double()
    n_pairs = lengths * (lengths - 1) / 2  # (n_samples,)
    paired = n_pairs > 0
    if not paired.any():
        return 1.0
    weight = torch.ones_like(n_pairs[paired]) if examples.weight is None else examples.weight[paired]
    return float(weight.sum() / (weight / n_pairs[paired]).sum())
