"""Text that the estimators' docstrings share: a line ``{name}`` in one is replaced by the text of that name here."""

import re

_TEXT = {
    "l2_linear": """\
l2_linear : float, default=0.0
    Penalty on w; a feature is penalised once for each row that has it. A regressor's equals libFM's ``regw``.""",
    "init": """\
init : {"random", "fm"} or a fitted factorization machine, default="random"
    Start of the embeddings, and of w0 and w where the model has them: random; a factorization machine trained first on
    the same rows with the same parameters, as Xiao et al. do, early stopping by its loss included; or one at hand, an
    FMRegressor or FMClassifier with as many features and factors. ``clone`` and so a grid search would unfit it: wrap
    it in ``sklearn.frozen.FrozenEstimator`` there.""",
    "freeze_init": """\
freeze_init : bool, default=False
    Whether w0, w and V stay as ``init`` gave them, so that the rest alone is trained, as in Section 5.3 of Xiao et al.
    (their "FM+A").""",
    "fields": """\
fields : "auto" or array-like of shape (n_features,), default="auto"
    The field of each column: numbers or names, equal for the columns of one categorical variable. "auto" finds them in
    the rows: the fewest runs of neighbouring columns of which no row has two. For the output of ``OneHotEncoder`` these
    are its input's columns, for dense numbers each is one. Data that arrive in parts need them given.""",
    "solver": """\
solver : {"adagrad", "adam", "sgd"}, default="adagrad"
    Adagrad is the choice of Xiao et al.; plain SGD that of libFM. All touch only the features of a batch. On large
    data "adam" with batches of thousands of rows and a learning rate of 0.003 to 0.02 takes the least time.""",
    "learning_rate": """\
learning_rate : float, default=0.05
    Step size, above 0.""",
    "schedule": """\
batch_size : int or "auto", default="auto"
    The most rows in a batch. "auto" is 1/128 of the rows, but no fewer than 200 and no more than 1024.
max_iter : int, default=100
    The most epochs.
tol : float, default=1e-3
    Training stops when the loss of the best of ``n_iter_no_change`` epochs is not below the best before them by
    more than ``tol``; with early stopping, when their validation scores are not above. A regressor that predicts the
    mean has a loss of 1, whatever the units of y.
n_iter_no_change : int, default=5
    See ``tol``.
early_stopping : bool or "auto", default="auto"
    Whether to hold rows back, stop when they are no longer predicted better, and keep the parameters of the epoch
    that predicted them best. "auto" does with more than 1,000 rows, or if ``fit`` is given ``X_val``.
validation_fraction : float, default=0.1
    Share of the rows to hold back, unless ``fit`` is given ``X_val``; between 0 and 1. A classifier's are stratified
    by class.
scoring : str or callable, default="loss"
    How to judge the rows held back: "loss", minus their mean loss without penalties, a regressor's in the units of a
    standardised y; or a scorer of scikit-learn.
warm_start : bool, default=False
    Whether ``fit`` goes on from the parameters of the fit before, with a new optimizer.
shuffle : bool, default=True
    Whether each epoch takes the rows in a new order.""",
    "clip": """\
clip : bool, default=False
    Whether predictions are kept within the range of the y seen in training, as libFM and Xiao et al. do.""",
    "class_weight": """\
class_weight : dict, "balanced" or None, default=None
    Weights of the classes, by label; "balanced" gives all classes the same weight in sum.""",
    "rest": """\
verbose : int or bool, default=False
    Whether to print a line an epoch: loss, validation score and seconds.
random_state : int, RandomState instance or None, default=None
    Source of the random start, the rows held back, the order of the rows and dropout. The same int gives the same
    bits on the same machine and device. torch's and NumPy's global generators are neither used nor changed.
device : {"cpu", "cuda", "auto"}, str or torch.device, default="cpu"
    Where to compute. "auto" is CUDA where torch finds it.""",
    "regressor_linear_": """\
intercept_ : float or ndarray of shape (n_outputs,)
    w0, in the units of y.
coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
    w, in the units of y.""",
    "classifier_linear_": """\
classes_ : ndarray of shape (n_classes,)
    Labels, sorted.
intercept_ : float or ndarray of shape (n_classes,)
    w0. Training starts it at the log-odds of the classes' shares.
coef_ : ndarray of shape (n_features,) or (n_classes, n_features)
    w.""",
    "fields_": """\
fields_ : ndarray of shape (n_features,)
    Number of each column's field, from 0.""",
    "training_": """\
n_iter_ : int
    Epochs trained.
best_iter_ : int
    The epoch whose parameters the model has: with early stopping the one of the best validation score, otherwise
    the last.
loss_curve_ : list of float
    Mean over each epoch of what training makes small (see above), a regressor's in the units of a standardised y.
validation_scores_ : list of float or None
    Score of the rows held back after each epoch; None without early stopping.
n_features_in_ : int
    Number of features seen in ``fit``.
feature_names_in_ : ndarray of shape (n_features,)
    Names of the features, where X had names that are all strings.""",
}


def fill_docstring(estimator):
    """Fill in the shared text of an estimator's docstring."""

    def text(line):
        return "\n".join(f"    {each}" for each in _TEXT[line[1]].split("\n"))

    if estimator.__doc__ is not None:  # python -OO takes it
        estimator.__doc__ = re.sub(r"^    \{(\w+)\}$", text, estimator.__doc__, flags=re.MULTILINE)
    return estimator
