"""Factorization machine estimators."""

from skafm._base import FactorizationMachine, Regression
from skafm.nn import FM


class FMRegressor(Regression, FactorizationMachine):
    """x."""

    _attributes = {"linear.intercept": "intercept_", "linear.weight": "coef_", "factors": "factors_"}
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors"}

    def __init__(
        self,
        n_factors=16,
        *,
        dropout=0.0,
        l2_linear=0.0,
        l2_factors=0.0,
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

    def _start(self, module, examples, generator):
        """Leave the random start as it is."""
