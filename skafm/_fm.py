"""Factorization machine estimators."""

from sklearn.utils._param_validation import StrOptions

from skafm._base import PARAMETERS, FactorizationMachine
from skafm._tasks import Classification, Regression


class _FM(FactorizationMachine):
    """What the factorization machine is, whatever the task."""

    _attributes = {
        "linear.intercept": "intercept_",
        "linear.weight": "coef_",
        "factors": "factors_",
        "projection": "projection_",
    }
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors"}

    def __init__(
        self,
        n_factors,
        dropout,
        l2_linear,
        l2_factors,
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
        verbose,
        random_state,
        device,
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
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    def _build(self, n_features, n_outputs, **factory):
        from skafm.nn import FM

        return FM(n_features, self.n_factors, n_outputs, dropout=self.dropout, **factory)

    def _rebuild(self, n_outputs, **factory):
        from skafm.nn import FM

        n_features, n_factors = self.factors_.shape
        return FM(n_features, n_factors, n_outputs, **factory)

    def _lead(self, module, generator, examples, held):
        """Leave the random start as it is."""

    def _hold(self, module):
        """Train everything."""


class FMRegressor(Regression, _FM):
    """Factorization machine for regression.

    Predicts (Rendle, 2010; Eq. 1 of Xiao et al., 2017)

    ``y(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j``

    where the sums go over the non-zero features of a row. It is made for one-hot and other sparse data, takes any real
    values, and costs time and memory in proportion to the non-zero entries. Where y has several columns, each has a w0,
    a w and a vector p of its own over shared embeddings: ``sum_{i<j} p' (v_i * v_j) x_i x_j``.

    Training makes small the mean over the rows s, each counting as its ``sample_weight``, of
    ``(y(x_s) - y_s)^2 + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, in units in which y has mean 0 and
    standard deviation 1: no parameter needs to be changed for the units of y.

    Parameters
    ----------
    n_factors : int, default=16
        Embedding size k, the length of each v_i; at least 1.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions ``sum_{i<j} v_if v_jf x_i x_j`` of a row while
        training; from 0 to below 1. There is none when predicting.
    l2_linear : float, default=0.0
        Penalty on w; a feature is penalised once for each row that has it. Equals libFM's ``regw``.
    l2_factors : float, default=0.01
        Penalty on V; a feature is penalised once for each row that has it. Equals libFM's ``regv`` divided by the
        standard deviation of y.
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
        V. A product ``<v_i, v_j>`` is in the units of y.
    projection_ : ndarray of shape (n_outputs, n_factors)
        p, in the units of y, where y has several columns.
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
    AFMRegressor : Weighs the interactions by attention.
    FMClassifier : For classification.

    References
    ----------
    S. Rendle, "Factorization Machines", ICDM 2010.

    S. Rendle, "Factorization Machines with libFM", ACM TIST 3(3), 2012.

    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or of two columns, which no linear model can see:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FMRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), FMRegressor(random_state=0)).fit(X, y)
    >>> model.predict(X[:4]).round()
    array([0., 1., 1., 0.])
    """

    _parameter_constraints = PARAMETERS | {"clip": ["boolean"]}

    def __init__(
        self,
        n_factors=16,
        *,
        dropout=0.0,
        l2_linear=0.0,
        l2_factors=0.01,
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
        clip=False,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        super().__init__(
            n_factors=n_factors,
            dropout=dropout,
            l2_linear=l2_linear,
            l2_factors=l2_factors,
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
            verbose=verbose,
            random_state=random_state,
            device=device,
        )
        self.clip = clip


class FMClassifier(Classification, _FM):
    """Factorization machine for classification.

    The raw score (Rendle, 2010; Eq. 1 of Xiao et al., 2017)

    ``raw(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j``

    is the log-odds of the second of two classes; the sums go over the non-zero features of a row. With more classes
    each has a w0, a w and a vector p of its own over shared embeddings, ``sum_{i<j} p' (v_i * v_j) x_i x_j`` in place
    of the last sum, and the probabilities are the softmax of the raw scores.

    Training makes small the mean over the rows s, each counting as its ``sample_weight``, of
    ``-log P(y_s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``.

    Parameters
    ----------
    n_factors : int, default=16
        Embedding size k, the length of each v_i; at least 1.
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions ``sum_{i<j} v_if v_jf x_i x_j`` of a row while
        training; from 0 to below 1. There is none when predicting.
    l2_linear : float, default=0.0
        Penalty on w; a feature is penalised once for each row that has it.
    l2_factors : float, default=0.003
        Penalty on V; a feature is penalised once for each row that has it.
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
        V.
    projection_ : ndarray of shape (n_classes, n_factors)
        p, with more than two classes.
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
    AFMClassifier : Weighs the interactions by attention.
    FMRegressor : For regression.

    References
    ----------
    S. Rendle, "Factorization Machines", ICDM 2010.

    S. Rendle, "Factorization Machines with libFM", ACM TIST 3(3), 2012.

    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    The exclusive or of two columns, which no linear model can see:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FMClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), FMClassifier(random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints = PARAMETERS | {"class_weight": [dict, StrOptions({"balanced"}), None]}

    def __init__(
        self,
        n_factors=16,
        *,
        dropout=0.0,
        l2_linear=0.0,
        l2_factors=0.003,
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
        class_weight=None,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        super().__init__(
            n_factors=n_factors,
            dropout=dropout,
            l2_linear=l2_linear,
            l2_factors=l2_factors,
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
            verbose=verbose,
            random_state=random_state,
            device=device,
        )
        self.class_weight = class_weight
