"""Factorization machine estimators."""

from skafm._base import FactorizationMachine, Regression
from skafm.nn import FM


class FMRegressor(Regression, FactorizationMachine):
    """Factorization machine for regression.

    Predicts (Rendle, 2010; Eq. 1 of Xiao et al., 2017)

    ``y(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j``

    where the sums go over the non-zero features of a row. It is made for one-hot and other sparse data, takes any real
    values, and costs time and memory in proportion to the non-zero entries.

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
        V. A product ``<v_i, v_j>`` is in the units of y.
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
    AFMRegressor : Weighs the interactions by attention.

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

    _attributes = {"linear.intercept": "intercept_", "linear.weight": "coef_", "factors": "factors_"}
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors"}

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
        shuffle=True,
        verbose=False,
        random_state=None,
        device="cpu",
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
        self.shuffle = shuffle
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    def _build(self, n_features, **factory):
        return FM(n_features, self.n_factors, dropout=self.dropout, **factory)

    def _rebuild(self, **factory):
        return FM(*self.factors_.shape, **factory)

    def _start(self, module, examples, generator, shift, scale):
        """Leave the random start as it is."""
