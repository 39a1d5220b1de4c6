"""Field-aware factorization machine estimators."""

from skafm._estimators.docstrings import fill_docstring
from skafm._estimators.explain import ExplainMixin
from skafm._estimators.fields import FieldsMixin
from skafm._estimators.initialization import RandomInitialization
from skafm._estimators.parameters import CLASSIFICATION, FIELDS, REGRESSION, TRAINING
from skafm._estimators.targets import Classification, Regression


class _FFM(ExplainMixin, FieldsMixin, RandomInitialization):
    """What the field-aware factorization machine is, for any target."""

    _parameter_attributes = {
        "linear.intercept": "intercept_",
        "linear.weight": "coef_",
        "factors": "factors_",
        "fields": "fields_",
        "projection": "projection_",
    }
    _penalties = {"linear.weight": "l2_linear", "factors": "l2_factors"}

    def _build_module(self, data, n_outputs, **factory):
        from skafm.nn import FFM

        fields = self._find_fields(data)
        return FFM(fields, self.n_factors, n_outputs, dropout=self.dropout, **factory)

    def _rebuild_module(self, n_outputs, **factory):
        from skafm.nn import FFM

        return FFM(self.fields_, self.factors_.shape[2], n_outputs, **factory)


@fill_docstring
class FFMRegressor(Regression, _FFM):
    """Field-aware factorization machine for regression.

    Predicts (Juan et al., 2016; Eq. 4)

    ``y(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_{i,f(j)}, v_{j,f(i)}> x_i x_j``

    where the sums go over the non-zero features of a row and f(i) is the field of feature i: a factorization machine
    whose features have an embedding for each field that they may meet. Where y has several columns, each has a w0, a w
    and a vector p of its own over shared embeddings.

    Training minimizes the sample-weighted mean over the rows s of
    ``(y(x_s) - y_s)^2 + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``, in units in which y has
    mean 0 and standard deviation 1: no parameter needs to be changed for the units of y.

    Parameters
    ----------
    n_factors : int, default=4
        Embedding size k of a feature for each field; at least 1.
    {fields}
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions of a row while training; from 0 to below 1. There is
        none when predicting.
    {l2_linear}
    l2_factors : float, default=0.01
        Penalty on V; a feature is penalized once for each row that has it.
    {solver}
    learning_rate : float, default=0.05
        Step size, above 0.
    {schedule}
    {clip}
    {rest}

    Attributes
    ----------
    {regressor_linear_}
    factors_ : ndarray of shape (n_features, n_fields, n_factors)
        V, ``factors_[i, f]`` being what feature i has for a feature of field f.
    {fields_}
    projection_ : ndarray of shape (n_outputs, n_factors)
        p, where y has several columns.
    {training_}

    See Also
    --------
    FFMClassifier : For classification.
    FMRegressor : One embedding a feature.

    References
    ----------
    Y. Juan et al., "Field-aware Factorization Machines for CTR Prediction", RecSys 2016.


    Examples
    --------
    The exclusive or of two columns, which no linear model can see:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FFMRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, [0, 1, 1, 0] * 25
    >>> model = make_pipeline(OneHotEncoder(), FFMRegressor(random_state=0)).fit(X, y)
    >>> model.predict(X[:4]).round() + 0.0
    array([0., 1., 1., 0.])
    """

    _parameter_constraints = TRAINING | FIELDS | REGRESSION

    def __init__(
        self,
        n_factors=4,
        *,
        fields="auto",
        dropout=0.0,
        l2_linear=0.0,
        l2_factors=0.01,
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
        clip=False,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        self.n_factors = n_factors
        self.fields = fields
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
        self.clip = clip
        self.verbose = verbose
        self.random_state = random_state
        self.device = device


@fill_docstring
class FFMClassifier(Classification, _FFM):
    """Field-aware factorization machine for classification.

    The raw score (Juan et al., 2016; Eq. 4)

    ``raw(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_{i,f(j)}, v_{j,f(i)}> x_i x_j``

    is the log-odds of the second of two classes; the sums go over the non-zero features of a row and f(i) is the field
    of feature i: a factorization machine whose features have an embedding for each field that they may meet. With more
    classes each has a w0, a w and a vector p of its own, and the probabilities are the softmax of the raw scores.

    Training minimizes the sample-weighted mean over the rows s of
    ``-log P(y_s) + sum_{i in s} (l2_linear * w_i^2 + l2_factors * ||v_i||^2)``.

    Parameters
    ----------
    n_factors : int, default=4
        Embedding size k of a feature for each field; at least 1.
    {fields}
    dropout : float, default=0.0
        Probability of dropping each of the k pooled interactions of a row while training; from 0 to below 1. There is
        none when predicting.
    {l2_linear}
    l2_factors : float, default=0.01
        Penalty on V; a feature is penalized once for each row that has it.
    {solver}
    learning_rate : float, default=0.05
        Step size, above 0.
    {schedule}
    {class_weight}
    {rest}

    Attributes
    ----------
    {classifier_linear_}
    factors_ : ndarray of shape (n_features, n_fields, n_factors)
        V, ``factors_[i, f]`` being what feature i has for a feature of field f.
    {fields_}
    projection_ : ndarray of shape (n_classes, n_factors)
        p, with more than two classes.
    {training_}

    See Also
    --------
    FFMRegressor : For regression.
    FMClassifier : One embedding a feature.

    References
    ----------
    Y. Juan et al., "Field-aware Factorization Machines for CTR Prediction", RecSys 2016.


    Examples
    --------
    The exclusive or of two columns, which no linear model can see:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import FFMClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), FFMClassifier(learning_rate=0.1, random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _parameter_constraints = TRAINING | FIELDS | CLASSIFICATION

    def __init__(
        self,
        n_factors=4,
        *,
        fields="auto",
        dropout=0.0,
        l2_linear=0.0,
        l2_factors=0.01,
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
        class_weight=None,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        self.n_factors = n_factors
        self.fields = fields
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
        self.class_weight = class_weight
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
