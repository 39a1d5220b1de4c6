"""Attentional factorization machine estimators."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skafm._base import PARAMETERS, FactorizationMachine, parameters_of, working_memory
from skafm._tasks import Classification, Regression

_OWN_PARAMETERS = {
    "attention_size": [Interval(Integral, 1, None, closed="left")],
    "l2_attention": [Interval(Real, 0, None, closed="left")],
    "init": [StrOptions({"random", "fm"}), HasMethods(["fit", "predict"])],
    "freeze_init": ["boolean"],
    "reduced_precision": ["boolean"],
}


class _AFM(FactorizationMachine):
    """What the attentional factorization machine is, whatever the task."""

    _attributes = {
        "linear.intercept": "intercept_",
        "linear.weight": "coef_",
        "factors": "factors_",
        "attention_weight": "attention_coef_",
        "attention_bias": "attention_intercept_",
        "attention_projection": "attention_projection_",
        "projection": "projection_",
    }
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors", "attention_weight": "l2_attention"}

    def __init__(
        self,
        n_factors,
        attention_size,
        dropout,
        l2_linear,
        l2_factors,
        l2_attention,
        init,
        freeze_init,
        solver,
        learning_rate,
        batch_size,
        max_iter,
        tol,
        n_iter_no_change,
        early_stopping,
        validation_fraction,
        scoring,
        warm_start,
        shuffle,
        reduced_precision,
        verbose,
        random_state,
        device,
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
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    def _build(self, n_features, n_outputs, **factory):
        from skafm.nn import AFM

        return AFM(
            n_features,
            self.n_factors,
            self.attention_size,
            n_outputs,
            dropout=self.dropout,
            reduced_precision=self.reduced_precision,
            working_memory=working_memory(),
            **factory,
        )

    def _rebuild(self, n_outputs, **factory):
        from skafm.nn import AFM

        attention_size, n_factors = self.attention_coef_.shape
        return AFM(len(self.factors_), n_factors, attention_size, n_outputs, working_memory=working_memory(), **factory)

    def _lead(self, module, generator, examples, held):
        if self.init == "random" and self.freeze_init:
            raise ValueError("freeze_init=True keeps what init gives: set init to 'fm' or to a fitted model.")
        if self.init == "random" or self.freeze_init:
            # DIFF: the paper starts from p = 1, which makes the interactions of random vectors P times too small.
            module.projection.detach().mul_(_typical_pairs(examples))
        if self.init == "random":
            return
        fm = self._pretrain(module, generator, examples, held) if self.init == "fm" else self._given(module)
        module.linear.load_state_dict(fm.linear.state_dict())
        module.factors.detach().copy_(fm.factors)

    def _hold(self, module):
        for part in (module.linear, module.factors):
            part.requires_grad_(not self.freeze_init)

    def _pretrain(self, module, generator, examples, held):
        """Return a factorization machine trained on the same rows."""
        from skafm.nn import FM

        n_outputs = None if module.projection.ndim == 1 else len(module.projection)
        like = {"device": module.factors.device, "dtype": module.factors.dtype}
        n_features, n_factors = module.factors.shape
        fm = FM(n_features, n_factors, n_outputs, dropout=self.dropout, generator=generator, **like)
        fm.linear.load_state_dict(module.linear.state_dict())
        monitor = None if held is None else self._loss_monitor(held)
        self._run(self._training(fm, generator, examples), examples, monitor)
        return fm

    def _given(self, module):
        """Return ``init``, a fitted factorization machine, in the units of training."""
        from skafm import _engine
        from skafm.nn import FM

        check_is_fitted(self.init)
        expected, came = tuple(module.factors.shape), getattr(getattr(self.init, "factors_", None), "shape", None)
        if came != expected:
            raise ValueError(
                f"init must be a factorization machine with factors_ of shape (n_features, n_factors) = {expected}, "
                f"but {self.init} has {came}: fit it on the same columns and with the same n_factors."
            )
        outputs, given = module.linear.intercept.shape, np.shape(self.init.intercept_)
        if given != outputs:
            raise ValueError(
                f"init must predict what is to be learnt, intercept_ of shape {tuple(outputs)}, but has {given}: "
                "fit it on the same targets."
            )
        n_outputs = outputs[0] if outputs else None
        n_features, n_factors = expected
        fm = FM(n_features, n_factors, n_outputs, device="meta", dtype=module.factors.dtype)
        wanted = {name: self._attributes[name] for name, _ in fm.named_parameters()}
        parameters = parameters_of(self.init, wanted)
        shift, scale = self._units
        _engine.fill(fm, parameters, -shift / scale, 1 / scale, module.factors.device)
        return fm


class AFMRegressor(Regression, _AFM):
    """Attentional factorization machine for regression.

    Predicts (Xiao et al., 2017; Eq. 6 and 5)

    ``y(x) = w0 + sum_i w_i x_i + p' sum_{i<j} a_ij (v_i * v_j) x_i x_j``,
    ``a_ij = softmax over the row's pairs of h' ReLU(W (v_i * v_j) x_i x_j + b)``

    where the sums go over the non-zero features of a row and ``*`` is elementwise: a factorization machine that learns
    which of a row's interactions matter. It costs time in proportion to the pairs of non-zero features. Where y has
    several columns, each has its w0, w and p; embeddings and attention are shared.

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
        as in the paper, early stopping by its loss included; or one at hand, with as many features and factors.
        ``clone`` and so a grid search would unfit it: wrap it in ``sklearn.frozen.FrozenEstimator`` there.
    freeze_init : bool, default=False
        Whether w0, w and V stay as ``init`` gave them, so that the attention network and p alone are trained, as in the
        paper's Section 5.3 (its "FM+A").
    solver : {"adagrad", "adam", "sgd"}, default="adagrad"
        Adagrad is the choice of Xiao et al.; plain SGD that of libFM. All touch only the features of a batch. On large
        data "adam" with batches of thousands of rows and a learning rate of 0.003 to 0.02 takes the least time.
    learning_rate : float, default=0.05
        Step size, above 0.
    batch_size : int or "auto", default="auto"
        The most rows in a batch. "auto" is 1/128 of the rows, but no fewer than 200 and no more than 1024.
    max_iter : int, default=100
        The most epochs.
    tol : float, default=1e-3
        Training stops when the loss of the best of ``n_iter_no_change`` epochs is not below the best before them by
        more than ``tol``; with early stopping, when their validation scores are not above. The loss of predicting the
        mean is 1, whatever the units of y.
    n_iter_no_change : int, default=5
        See ``tol``.
    early_stopping : bool, default=False
        Whether to hold rows back, stop when they are no longer predicted better, and keep the parameters of the epoch
        that predicted them best.
    validation_fraction : float, default=0.1
        Share of the rows to hold back, unless ``fit`` is given ``X_val``; between 0 and 1.
    scoring : str or callable, default="loss"
        How to judge the rows held back: "loss", minus their mean loss without penalties, in the units of a standardised
        y; or a scorer of scikit-learn.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the parameters of the fit before, with a new optimizer.
    shuffle : bool, default=True
        Whether each epoch takes the rows in a new order.
    reduced_precision : bool, default=False
        Whether training multiplies the attention network's matrices in bfloat16. For large n_factors and attention_size
        that is faster on CUDA, and on a CPU that has instructions for it (AVX512-BF16, AMX); elsewhere it is slower.
        Everything else, and every prediction, has the precision of X.
    clip : bool, default=False
        Whether predictions are kept within the range of the y seen in training, as libFM and Xiao et al. do.
    verbose : int or bool, default=False
        Whether to print a line an epoch: loss, validation score and seconds.
    random_state : int, RandomState instance or None, default=None
        Source of the random start, the rows held back, the order of the rows and dropout. The same int gives the same
        bits on the same machine and device. torch's and NumPy's global generators are neither used nor changed.
    device : {"cpu", "cuda", "auto"}, str or torch.device, default="cpu"
        Where to compute. "auto" is CUDA where torch finds it.

    Attributes
    ----------
    intercept_ : float or ndarray of shape (n_outputs,)
        w0, in the units of y.
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        w, in the units of y.
    factors_ : ndarray of shape (n_features, n_factors)
        V, without a unit.
    attention_coef_ : ndarray of shape (attention_size, n_factors)
        W.
    attention_intercept_ : ndarray of shape (attention_size,)
        b.
    attention_projection_ : ndarray of shape (attention_size,)
        h. Zero would be uniform attention, from which training starts.
    projection_ : ndarray of shape (n_factors,) or (n_outputs, n_factors)
        p, in the units of y. From a random or frozen ``init`` training starts it at the typical number of pairs of a
        row, so that uniform attention, a mean over the pairs, starts as the sum of a factorization machine; otherwise
        at 1. With several it is drawn at random on that scale.
    n_iter_ : int
        Epochs trained.
    best_iter_ : int
        The epoch whose parameters the model has: with early stopping the one of the best validation score, otherwise
        the last.
    loss_curve_ : list of float
        Mean over each epoch of what training makes small (see above), in the units of a standardised y.
    validation_scores_ : list of float or None
        Score of the rows held back after each epoch; None without early stopping.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had names that are all strings.

    See Also
    --------
    FMRegressor : Gives every interaction the same weight, in less time.
    AFMClassifier : For classification.

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

    _parameter_constraints = PARAMETERS | _OWN_PARAMETERS | {"clip": ["boolean"]}

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
        freeze_init=False,
        solver="adagrad",
        learning_rate=0.05,
        batch_size="auto",
        max_iter=100,
        tol=1e-3,
        n_iter_no_change=5,
        early_stopping=False,
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
        super().__init__(
            n_factors=n_factors,
            attention_size=attention_size,
            dropout=dropout,
            l2_linear=l2_linear,
            l2_factors=l2_factors,
            l2_attention=l2_attention,
            init=init,
            freeze_init=freeze_init,
            solver=solver,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_iter=max_iter,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            scoring=scoring,
            warm_start=warm_start,
            shuffle=shuffle,
            reduced_precision=reduced_precision,
            verbose=verbose,
            random_state=random_state,
            device=device,
        )
        self.clip = clip


class AFMClassifier(Classification, _AFM):
    """Attentional factorization machine for classification.

    The raw score (Xiao et al., 2017; Eq. 6 and 5)

    ``raw(x) = w0 + sum_i w_i x_i + p' sum_{i<j} a_ij (v_i * v_j) x_i x_j``,
    ``a_ij = softmax over the row's pairs of h' ReLU(W (v_i * v_j) x_i x_j + b)``

    is the log-odds of the second of two classes; the sums go over the non-zero features of a row and ``*`` is
    elementwise. With more classes each has a w0, a w and a p of its own, embeddings and attention are shared, and the
    probabilities are the softmax of the raw scores. It costs time in proportion to the pairs of non-zero features.

    Training makes small the mean over the rows s, each counting as its ``sample_weight``, of
    ``-log P(y_s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, plus ``l2_attention * ||W||^2``.

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
        Penalty on W, the paper's lambda: ``lambda / n`` for that of a sum over n rows.
    init : {"random", "fm"} or a fitted FMClassifier, default="random"
        Start of w0, w and V: random; a factorization machine trained first on the same rows with the same parameters,
        as in the paper, early stopping by its loss included; or one at hand, with as many features and factors.
        ``clone`` and so a grid search would unfit it: wrap it in ``sklearn.frozen.FrozenEstimator`` there.
    freeze_init : bool, default=False
        Whether w0, w and V stay as ``init`` gave them, so that the attention network and p alone are trained, as in the
        paper's Section 5.3 (its "FM+A").
    solver : {"adagrad", "adam", "sgd"}, default="adagrad"
        Adagrad is the choice of Xiao et al.; plain SGD that of libFM. All touch only the features of a batch. On large
        data "adam" with batches of thousands of rows and a learning rate of 0.003 to 0.02 takes the least time.
    learning_rate : float, default=0.05
        Step size, above 0.
    batch_size : int or "auto", default="auto"
        The most rows in a batch. "auto" is 1/128 of the rows, but no fewer than 200 and no more than 1024.
    max_iter : int, default=100
        The most epochs.
    tol : float, default=1e-3
        Training stops when the loss of the best of ``n_iter_no_change`` epochs is not below the best before them by
        more than ``tol``; with early stopping, when their validation scores are not above.
    n_iter_no_change : int, default=5
        See ``tol``.
    early_stopping : bool, default=False
        Whether to hold rows back, stop when they are no longer predicted better, and keep the parameters of the epoch
        that predicted them best.
    validation_fraction : float, default=0.1
        Share of the rows to hold back, unless ``fit`` is given ``X_val``; between 0 and 1. Stratified by class.
    scoring : str or callable, default="loss"
        How to judge the rows held back: "loss", minus their mean loss without penalties; or a scorer of scikit-learn.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the parameters of the fit before, with a new optimizer.
    shuffle : bool, default=True
        Whether each epoch takes the rows in a new order.
    reduced_precision : bool, default=False
        Whether training multiplies the attention network's matrices in bfloat16. For large n_factors and attention_size
        that is faster on CUDA, and on a CPU that has instructions for it (AVX512-BF16, AMX); elsewhere it is slower.
        Everything else, and every prediction, has the precision of X.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, by label; "balanced" gives all classes the same weight in sum.
    verbose : int or bool, default=False
        Whether to print a line an epoch: loss, validation score and seconds.
    random_state : int, RandomState instance or None, default=None
        Source of the random start, the rows held back, the order of the rows and dropout. The same int gives the same
        bits on the same machine and device. torch's and NumPy's global generators are neither used nor changed.
    device : {"cpu", "cuda", "auto"}, str or torch.device, default="cpu"
        Where to compute. "auto" is CUDA where torch finds it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    intercept_ : float or ndarray of shape (n_classes,)
        w0. Training starts it at the log-odds of the classes' shares.
    coef_ : ndarray of shape (n_features,) or (n_classes, n_features)
        w.
    factors_ : ndarray of shape (n_features, n_factors)
        V, without a unit.
    attention_coef_ : ndarray of shape (attention_size, n_factors)
        W.
    attention_intercept_ : ndarray of shape (attention_size,)
        b.
    attention_projection_ : ndarray of shape (attention_size,)
        h. Zero would be uniform attention, from which training starts.
    projection_ : ndarray of shape (n_factors,) or (n_classes, n_factors)
        p. From a random or frozen ``init`` training starts it at the typical number of pairs of a row, so that uniform
        attention, a mean over the pairs, starts as the sum of a factorization machine; otherwise at 1. With several it
        is drawn at random on that scale.
    n_iter_ : int
        Epochs trained.
    best_iter_ : int
        The epoch whose parameters the model has: with early stopping the one of the best validation score, otherwise
        the last.
    loss_curve_ : list of float
        Mean over each epoch of what training makes small (see above).
    validation_scores_ : list of float or None
        Score of the rows held back after each epoch; None without early stopping.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had names that are all strings.

    See Also
    --------
    FMClassifier : Gives every interaction the same weight, in less time.
    AFMRegressor : For regression.

    References
    ----------
    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or of two columns, which no linear model can see:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import AFMClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), AFMClassifier(random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints = PARAMETERS | _OWN_PARAMETERS | {"class_weight": [dict, StrOptions({"balanced"}), None]}

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
        freeze_init=False,
        solver="adagrad",
        learning_rate=0.05,
        batch_size="auto",
        max_iter=100,
        tol=1e-3,
        n_iter_no_change=5,
        early_stopping=False,
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
        super().__init__(
            n_factors=n_factors,
            attention_size=attention_size,
            dropout=dropout,
            l2_linear=l2_linear,
            l2_factors=l2_factors,
            l2_attention=l2_attention,
            init=init,
            freeze_init=freeze_init,
            solver=solver,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_iter=max_iter,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            scoring=scoring,
            warm_start=warm_start,
            shuffle=shuffle,
            reduced_precision=reduced_precision,
            verbose=verbose,
            random_state=random_state,
            device=device,
        )
        self.class_weight = class_weight


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
    counts = n_pairs[paired]
    if examples.weight is None:
        return float(len(counts) / (1 / counts).sum())
    weight = examples.weight[paired]
    return float(weight.sum() / (weight / counts).sum())
