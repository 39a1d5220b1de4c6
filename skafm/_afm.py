"""Attentional factorization machine estimators."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from skafm._base import PARAMETERS, FactorizationMachine, Regression
from skafm.nn import AFM, FM


class AFMRegressor(Regression, FactorizationMachine):
    """x."""

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

    _parameter_constraints = {
        **PARAMETERS,
        "attention_size": [Interval(Integral, 1, None, closed="left")],
        "l2_attention": [Interval(Real, 0, None, closed="left")],
        "init": [StrOptions({"random", "fm"})],
    }

    def __init__(
        self,
        n_factors=16,
        *,
        attention_size=16,
        dropout=0.0,
        l2_linear=0.0,
        l2_factors=0.0,
        l2_attention=0.0,
        init="random",
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
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    def _build(self, n_features, **factory):
        return AFM(n_features, self.n_factors, self.attention_size, dropout=self.dropout, **factory)

    def _rebuild(self, **factory):
        return AFM(*self.factors_.shape, *self.attention_intercept_.shape, **factory)

    def _start(self, module, examples, generator):
        module.projection.detach().fill_(_typical_pairs(examples))
        if self.init == "fm":
            tensors = {"device": module.factors.device, "dtype": module.factors.dtype}
            fm = FM(*module.factors.shape, dropout=self.dropout, generator=generator, **tensors)
            self._fit_module(fm, examples, generator)
            module.linear.load_state_dict(fm.linear.state_dict())
            module.factors.detach().copy_(fm.factors)


def _typical_pairs(examples):
    """Return the weighted harmonic mean of the rows' number of pairs, of those that have any.

    With uniform attention a row of P pairs starts at p / P times the sum S of its pairs' terms, the FM's. Independent
    terms of mean zero give S a variance that grows as P, and this p then makes the mean of (p S / P - S)^2 smallest.
    """
    lengths = examples.rows.indptr.diff()
    n_pairs = lengths * (lengths - 1) / 2  # (n_samples,)
    paired = n_pairs > 0
    if not paired.any():
        return 1.0
    weight = examples.weight[paired]
    return float(weight.sum() / (weight / n_pairs[paired]).sum())
