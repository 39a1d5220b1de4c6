"""Text shared by the estimators' docstrings: a line ``{name}`` in a docstring is replaced by the text of that name."""

import re

_TEXT = {
    "loss": """\
loss : str, default="squared_error"
    What training minimizes in place of ``(y(x_s) - y_s)^2``, under scikit-learn's names:

    - "squared_error", "absolute_error" and "quantile" predict the mean, the median and a quantile; "huber" is the
      squared error up to delta, the 0.9 quantile of ``|y - median(y)|``, and the absolute error beyond.
    - "poisson" (counts and rates of events, at least 0), "gamma" (amounts, above 0) and "tweedie" (power 1.5: amounts,
      at least 0, many of them 0) predict the mean ``exp(raw)``.
    - "log_loss" (rates from 0 to 1) predicts the mean ``1 / (1 + exp(-raw))``.

    Here ``raw(x)`` is what y(x) stands for above; w0, w, V and explanations are on its scale. ``score`` is D^2 of the
    loss, R^2 for the squared error.
quantile : float, default=0.5
    The quantile to predict with ``loss="quantile"``; between 0 and 1.""",
    "l2_linear": """\
l2_linear : float or "auto", default="auto"
    L2 penalty on w; at least 0. A feature is penalized once for each row in which it is non-zero; in regressors a
    number equals libFM's ``regw``. "auto" is a prior, ``c P r_i / n_i`` for feature i, where n_i is the number of
    training rows in which it is non-zero, weighted, the smallest weight counting as 1, r_i the root mean square of its
    values in them, and P 5 in regressors, 0.5 in classifiers. The linear model is fitted first, by L-BFGS. With early
    stopping c minimizes its loss on the validation set: 16, 4, 1, 1/4 and 1/16 are tried, and a parabola interpolates
    between them. With fewer than 200 validation rows c is the largest of these within one standard error of the lowest
    loss in cross-validation. Without early stopping c is 1. Training starts from half of the weights w of the linear
    model. If no epoch is better by one standard error, or by two with fewer than 200 validation rows, the linear model
    is returned. It is not fitted if it has more than 2^22 weights. In ``partial_fit`` "auto" is 0.""",
    "regressor_l2_factors": """\
l2_factors : float or "auto", default="auto"
    L2 penalty on V; at least 0. A feature is penalized once for each row in which it is non-zero. "auto" adds a prior
    to such a number: ``0.01 + 4 min(c', 1) r_i / n_i`` for feature i, where n_i is the number of training rows in
    which it is non-zero, r_i the root mean square of its values in them, and c' ``l2_scale_`` rounded to a power of 4.
    In ``partial_fit`` it is 0.01.""",
    "classifier_l2_factors": """\
l2_factors : float or "auto", default="auto"
    L2 penalty on V; at least 0. A feature is penalized once for each row in which it is non-zero. "auto" adds a prior
    to such a number: ``0.003 + 2 min(c', 1) r_i / n_i`` for feature i, where n_i is the number of training rows in
    which it is non-zero, r_i the root mean square of its values in them, and c' ``l2_scale_`` rounded to a power of 4.
    In ``partial_fit`` it is 0.003.""",
    "deep_l2": """\
l2_linear, l2_factors : float or "auto", default="auto"
    L2 penalties on w and V; at least 0. A feature is penalized once for each row in which it is non-zero. With batch
    normalization "auto" is ``0.025 n r_i / n_i`` for feature i, where n_i is the number of the n training rows in which
    it is non-zero, weighted, and r_i the root mean square of its values in them: 0.025 times the squared norm of w and
    V is added to the mean loss, so that rare features stay near 0. Without, "auto" is as in an FM: priors, and a linear
    model that is fitted first. In ``partial_fit`` it is 0 for w; for V it is 0.01 in regressors, else 0.003.""",
    "ranking_loss": """\
loss : {"pairwise", "softmax", "lambdarank"}, default="pairwise"
    What training minimizes: the mean over the rows of the loss of their query.

    - "pairwise": the log loss of which of two rows of different relevance is the more relevant one, averaged over the
      pairs of the query (RankNet). With relevance 0 and 1 it is Bayesian personalized ranking (BPR).
    - "softmax": the cross entropy of relevance, as shares of its sum over the query, and the softmax of the scores
      (ListNet, in the form of Bruch et al.). Takes time proportional to the rows, not to their pairs.
    - "lambdarank": as "pairwise", but each pair is weighted by how much NDCG would change if its rows changed places.

    A query with more than 1,024 rows is split at random in each epoch into parts of at most 1,024 rows with all grades,
    and rows are compared within parts. If a batch does not fit scikit-learn's ``working_memory``, rows are compared
    within micro-batches.
metric : {"ndcg", "hit_rate", "recall", "reciprocal_rank", "average_precision"}, default="ndcg"
    What ``score`` returns, and the validation score: a function of :mod:`skafm.metrics`.
k : int or None, default=None
    Number of rows of each query, the best ones, that count in ``metric`` and in the weights of "lambdarank"; at least
    1. None counts all.""",
    "ranker_l2": """\
l2_linear : float or "auto", default="auto"
    L2 penalty on w; at least 0. A feature is penalized once for each row in which it is non-zero. "auto" is a prior,
    ``0.5 r_i / n_i`` for feature i, where n_i is the number of training rows in which it is non-zero, weighted, the
    smallest weight counting as 1, and r_i the root mean square of its values in them.
l2_factors : float or "auto", default="auto"
    L2 penalty on V; at least 0. A feature is penalized once for each row in which it is non-zero. "auto" is
    ``0.003 + 2 r_i / n_i`` for feature i, with n_i and r_i as above.""",
    "ranker_schedule": """\
batch_size : int or "auto", default="auto"
    Number of rows in a batch, about: batches have whole queries, and a longer query is a batch of its own. "auto" is
    1/128 of the rows, but at least 200 and at most 1024.
max_iter : int, default=100
    Maximum number of epochs; at least 1.
tol : float, default=1e-3
    Tolerance of the stopping criterion; at least 0. Training stops when the last ``n_iter_no_change`` epochs have not
    improved the best training loss of the earlier epochs by more than ``tol``; with early stopping, when they have not
    improved the best validation score.
n_iter_no_change : int, default=5
    Number of epochs without sufficient improvement, see ``tol``, after which training stops; at least 1.
early_stopping : bool or "auto", default="auto"
    Whether to hold out a validation set, stop when the validation score no longer improves, and restore the parameters
    of the epoch with the best score. Whole queries are held out, unless most queries have a column of their own, e.g.
    users: then single rows are held out, because whole queries would be unknown to the model. Finally the model is
    trained on the held-out rows for one epoch, unless they are ``X_val``. "auto" does so with 100 rows or more, of 20
    queries unless these have columns of their own, or if ``fit`` is given ``X_val``.
validation_fraction : float, default=0.1
    Fraction of the queries, or rows, to hold out as validation set, unless ``fit`` is given ``X_val``; between 0 and 1.
scoring : {"metric", "loss"} or callable, default="metric"
    Validation score: ``metric`` at ``k``, the negative mean loss, or a callable ``scorer(estimator, X, y, qid=qid)``
    that returns a number, greater being better.
warm_start : bool, default=False
    Whether ``fit`` continues from the parameters of the previous fit, with a new optimizer.
shuffle : bool, default=True
    Whether to shuffle the queries, and the rows in them, before each epoch.""",
    "init": """\
init : {"random", "fm"} or a fitted factorization machine, default="random"
    Initialization of the embeddings, and of w0 and w if the model has them. "random" draws the embeddings from a normal
    distribution. "fm" first trains a factorization machine on the same rows with the same parameters, as Xiao et al.
    do; its early stopping uses the loss, whatever ``scoring`` is. A fitted FMRegressor or FMClassifier, with the same
    number of features and of factors, gives its own parameters; in a grid search, wrap it in
    ``sklearn.frozen.FrozenEstimator``, since ``clone`` returns an unfitted estimator.""",
    "freeze_init": """\
freeze_init : bool, default=False
    Whether to keep w0, w and V at their initial values and train only the other parameters, as in Section 5.3 of Xiao
    et al. (their "FM+A"). Needs an ``init`` other than "random".""",
    "fields": """\
fields : "auto" or array-like of shape (n_features,), default="auto"
    Field of each column, a number or a name; the columns of one categorical variable have the same field. "auto" infers
    the fields from X as the fewest groups of adjacent columns such that no row has two non-zero entries in one group.
    For the output of ``OneHotEncoder`` the fields are the encoder's input columns; in dense data each column is a
    field. With ``partial_fit``, pass the fields: the first batch may not be enough to infer them.""",
    "solver": """\
solver : {"adagrad", "adam", "sgd"}, default="adagrad"
    Optimizer. Adagrad is used by Xiao et al., plain SGD by libFM. Each updates only the features of the batch. On large
    data, "adam" with batches of thousands of rows and a learning rate of 0.003 to 0.02 is fastest.""",
    "learning_rate": """\
learning_rate : float, default=0.05
    Step size of the optimizer; above 0.""",
    "schedule": """\
batch_size : int or "auto", default="auto"
    Maximum number of rows in a batch; at least 1. "auto" is 1/128 of the rows, but at least 200 and at most 1024.
max_iter : int, default=100
    Maximum number of epochs; at least 1.
tol : float, default=1e-3
    Tolerance of the stopping criterion; at least 0. Training stops when the last ``n_iter_no_change`` epochs have not
    improved the best training loss of the earlier epochs by more than ``tol``; with early stopping, when they have not
    improved the best validation score. The loss of a regressor that always predicts the best constant, such as the
    mean of y, is 1, whatever the units of y and the loss (about 1 if a loss that resists outliers meets some).
n_iter_no_change : int, default=5
    Number of epochs without sufficient improvement, see ``tol``, after which training stops; at least 1.
early_stopping : bool or "auto", default="auto"
    Whether to hold out a validation set, stop when the validation score no longer improves, and restore the parameters
    of the epoch with the best score. Finally the model is trained on the held-out rows for one epoch, unless they are
    ``X_val``. "auto" does so with 100 rows or more, or if ``fit`` is given ``X_val``.
validation_fraction : float, default=0.1
    Fraction of the rows to hold out as validation set, unless ``fit`` is given ``X_val``; between 0 and 1. Classifiers
    stratify the split by class.
scoring : str or callable, default="loss"
    Validation score. "loss" is the negative mean loss without penalties, of a regressor in units of the loss of the
    best constant. Any other value is a scorer of scikit-learn: a name, or a callable ``scorer(estimator, X, y)``.
warm_start : bool, default=False
    Whether ``fit`` continues from the parameters of the previous fit, with a new optimizer.
shuffle : bool, default=True
    Whether to shuffle the rows before each epoch.""",
    "clip": """\
clip : bool, default=False
    Whether to clip predictions to the range of y in training, as libFM and Xiao et al. do.""",
    "class_weight": """\
class_weight : dict, "balanced" or None, default=None
    Weight of each class, by label. "balanced" gives all classes the same total weight; None gives each class a weight
    of 1.""",
    "rest": """\
verbose : int or bool, default=False
    Whether to print the loss, the validation score and the seconds of each epoch.
random_state : int, RandomState instance or None, default=None
    Random generator of the initial parameters, the validation split, the order of the rows and dropout. The same int
    gives bitwise identical results on the same machine and device. The global generators of torch and NumPy are neither
    used nor changed.
device : {"cpu", "cuda", "auto"}, str or torch.device, default="cpu"
    Device to compute on. "auto" is CUDA if torch finds it, otherwise the CPU.""",
    "bayesian": """\

Each parameter of a feature has a normal prior, one for each field and factor, with mean mu and precision lambda, and
``lambda ~ Gamma(1/2, rate=s/2)``, ``mu ~ N(0, 1 / lambda)`` (Freudenthaler et al., 2011). For w, s is 1 / m, with m the
mean of the squared norm of a row; for v it is ``sqrt(2 / k) / m``.
A sweep draws all parameters once. Features of which no row has two, such as the levels of a variable, are independent
given the others and are drawn together, each with its k + 1 parameters at once. Features that meet in rows, such as
words, are put into as few such blocks as a greedy coloring finds; there must not be more than 1,000.""",
    "sampling": """\
n_factors : int, default=16
    Embedding size k, the length of each v_i; at least 1.
max_iter : int, default=100
    Number of sweeps; at least 1.
burn_in : int, default=5
    Number of sweeps before the first draw is kept; at least 0. Few are left out, as in myFM: early draws, in which the
    interactions are still small, make the mean more accurate. Each later sweep is kept: ``max_iter - burn_in`` draws,
    or the last one if there are none. They need ``n_draws * n_features * (n_factors + 1)`` numbers.
fields : "auto" or array-like of shape (n_features,), default="auto"
    Field of each column, a number or a name: columns of a field have the same prior. "auto" infers the fields from X as
    the fewest groups of adjacent columns such that no row has two non-zero entries in one group, such as the columns of
    one variable in the output of ``OneHotEncoder``; those of fewer than five columns share one prior.
warm_start : bool, default=False
    Whether ``fit`` continues with the last draw of the previous fit, without a burn-in, and adds ``max_iter`` draws.
verbose : int or bool, default=False
    Whether to print the residual and the seconds of each sweep.
random_state : int, RandomState instance or None, default=None
    Random generator of the draws. The same int gives bitwise identical results on the same machine and device. The
    global generators of torch and NumPy are neither used nor changed.
device : {"cpu", "cuda", "auto"}, str or torch.device, default="cpu"
    Device to compute on. "auto" is CUDA if torch finds it, otherwise the CPU.""",
    "draws_": """\
factors_ : ndarray of shape (n_features, n_draws * n_factors)
    Embeddings of all draws side by side, divided by the square root of n_draws: ``<factors_[i], factors_[j]>`` is the
    posterior mean of ``<v_i, v_j>``. With several classes those of the first class come first.
intercept_draws_ : ndarray of shape (n_draws,) or (n_classes, n_draws)
    w0 of each draw.
linear_coef_draws_ : ndarray of shape (n_features, n_draws) or (n_features, n_classes, n_draws)
    w of each draw.""",
    "sampled_": """\
fields_ : ndarray of shape (n_features,)
    Index of the field of each column, from 0.
n_iter_ : int
    Number of sweeps.
n_features_in_ : int
    Number of features seen during ``fit``.
feature_names_in_ : ndarray of shape (n_features,)
    Names of features seen during ``fit``. Defined only if X has feature names that are all strings.""",
    "references": """\
C. Freudenthaler, L. Schmidt-Thieme, S. Rendle, "Bayesian Factorization Machines", NIPS Workshop on Sparse
Representation and Low-rank Approximation, 2011.

S. Rendle, "Factorization Machines with libFM", ACM TIST 3(3), 2012.

S. Rendle, L. Zhang, Y. Koren, "On the Difficulty of Evaluating Baselines", 2019.""",
    "regressor_linear_": """\
intercept_ : float or ndarray of shape (n_outputs,)
    Intercept w0, in the units of y; with the link of ``loss`` on the scale of the raw score, as all parameters.
linear_coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
    Linear weights w, in the units of y.""",
    "classifier_linear_": """\
classes_ : ndarray of shape (n_classes,)
    Class labels, sorted.
intercept_ : float or ndarray of shape (n_classes,)
    Intercept w0. Its initial value is the log-odds of the class frequencies.
linear_coef_ : ndarray of shape (n_features,) or (n_classes, n_features)
    Linear weights w.""",
    "ranker_linear_": """\
intercept_ : float
    Intercept w0, which does not affect the order: 0, except for what centering the embeddings adds.
linear_coef_ : ndarray of shape (n_features,)
    Linear weights w.""",
    "ranker_references": """\
C. Burges et al., "Learning to Rank using Gradient Descent", ICML 2005.

C. Burges, "From RankNet to LambdaRank to LambdaMART: An Overview", Microsoft Research, 2010.

S. Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.

Z. Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007.

S. Bruch et al., "An Analysis of the Softmax Cross Entropy Loss for Learning-to-Rank with Binary Relevance", ICTIR
2019.""",
    "fields_": """\
fields_ : ndarray of shape (n_features,)
    Index of the field of each column, from 0.""",
    "training_": """\
feature_importances_ : ndarray of shape (n_features,)
    Weighted mean over the training rows, and over several outputs, of ``|x_i d raw / d x_i|``, where raw is the raw
    score: how much a feature, alone and in interactions, moves a prediction. In the units of y, or of a classifier in
    log-odds. If the rows have more than 65,536 non-zero entries, times the number of outputs, a random sample with
    about as many is used. Set by ``fit`` only; ``partial_fit`` does not update it.
n_iter_ : int
    Number of epochs trained.
best_iter_ : int
    Epoch whose parameters the model has, from 1: with early stopping the one with the best validation score, otherwise
    the last. 0 if no epoch was better than the initial linear model (which is then fitted on all rows), or than the
    parameters of ``init`` or of a warm start.
l2_scale_ : float
    Factor c of "auto" penalties: chosen on the data if ``l2_linear`` is "auto" and there is a validation set,
    otherwise 1. Set by ``fit`` only.
loss_curve_ : list of float
    Mean training objective (see above) over each epoch; of a regressor in units of the loss of the best constant.
validation_scores_ : list of float or None
    Validation score after each epoch; None without early stopping.
n_features_in_ : int
    Number of features seen during ``fit``.
feature_names_in_ : ndarray of shape (n_features,)
    Names of features seen during ``fit``. Defined only if X has feature names that are all strings.""",
}

_TEXT["deep_schedule"] = _TEXT["schedule"].replace(
    """n_iter_no_change : int, default=5
    Number of epochs without sufficient improvement, see ``tol``, after which training stops; at least 1.""",
    """n_iter_no_change : int, default=2
    Number of epochs without sufficient improvement, see ``tol``, after which training continues from its best epoch
    with a tenth of the learning rate and, the second time, stops; at least 1.""",
)


def fill_docstring(estimator):
    """Fill in the shared text of an estimator's docstring."""

    def text(match):
        return "\n".join(f"    {line}" for line in _TEXT[match[1]].split("\n"))

    if estimator.__doc__ is not None:  # python -OO removes docstrings
        estimator.__doc__ = re.sub(r"^    \{(\w+)\}$", text, estimator.__doc__, flags=re.MULTILINE)
    return estimator
