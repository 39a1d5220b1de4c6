"""Bayesian factorization machine estimators."""

import numpy as np
from scipy.special import ndtr
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets

from skafm._estimators.bayesian_model import BayesianModel
from skafm._estimators.docstrings import fill_docstring
from skafm._estimators.target_units import StandardUnits

_BINARY = 2  # classes, with a single raw score


@fill_docstring
class BayesianFMRegressor(RegressorMixin, BayesianModel):
    """Bayesian factorization machine for regression, sampled by Gibbs.

    y is normal around the raw score of a factorization machine (Rendle, 2010; Eq. 1 of Xiao et al., 2017)

    ``y(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j``

    with priors whose means and precisions are drawn with the parameters: there is nothing to tune. Predictions are
    means over the draws.
    {bayesian}

    Parameters
    ----------
    {sampling}

    Attributes
    ----------
    intercept_ : float
        Posterior mean of w0, in the units of y.
    linear_coef_ : ndarray of shape (n_features,)
        Posterior mean of w, in the units of y.
    {draws_}
    noise_std_draws_ : ndarray of shape (n_draws,)
        Standard deviation of the noise in each draw, in the units of y.
    {sampled_}

    See Also
    --------
    FMRegressor : Trained by gradient descent; faster, and for several losses.
    BayesianFMClassifier : For classification.

    References
    ----------
    {references}

    Examples
    --------
    The exclusive or (XOR) of two columns. The third level of the first was seen once:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import BayesianFMRegressor
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25 + [["e", "c"]], [0, 1, 1, 0] * 25 + [0]
    >>> model = make_pipeline(OneHotEncoder(), BayesianFMRegressor(4, random_state=0)).fit(X, y)
    >>> mean, std = model.predict([["a", "c"], ["a", "d"], ["e", "d"]], return_std=True)
    >>> mean[:2] > 0.5
    array([False,  True])
    >>> print(f"known level: {std[0]:.2f}, rare level: {std[2]:.1f}")
    known level: 0.05, rare level: 0.5
    """

    _task = "regression"
    _target_checks = {"y_numeric": True}

    def __init__(
        self,
        n_factors=16,
        *,
        max_iter=100,
        burn_in=5,
        fields="auto",
        warm_start=False,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        self.n_factors = n_factors
        self.max_iter = max_iter
        self.burn_in = burn_in
        self.fields = fields
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    def predict(self, X, return_std=False, *, include_noise=True):
        """Predict the target, by its posterior mean.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.
        return_std : bool, default=False
            Whether to return the standard deviation, too.
        include_noise : bool, default=True
            Whether the standard deviation is that of a new target, which has the noise; otherwise that of the raw
            score, due to what is not known of the parameters. Their squares differ by the mean of
            ``noise_std_draws_ ** 2``.

        Returns
        -------
        mean : ndarray of shape (n_samples,)
            In the units of y.
        std : ndarray of shape (n_samples,)
            Only if ``return_std``.
        """
        if not return_std:
            return self._predict_raw(X)
        raw = self._score_draws(X)  # (n_samples, n_draws)
        variance = raw.var(axis=1)
        if include_noise:
            variance += np.square(self.noise_std_draws_).mean()
        return raw.mean(axis=1), np.sqrt(variance)

    def _check_target(self, y, weight, group, *, training):  # noqa: ARG002
        y = np.asarray(y, np.float64)
        if not np.isfinite(y).all():
            raise ValueError("y must be finite, but has missing values, nan or infinity.")
        return y, weight

    def _stratify(self, y):  # noqa: ARG002 not for regression
        return None

    def _encode_target(self, data, *, reset):
        if reset:
            units = StandardUnits()
            self._target_scale = units.shift_and_scale(units.measure(data, None), data.X.dtype)
        shift, scale = self._target_scale
        return ((data.y - shift) / scale)[:, None], shift, scale


@fill_docstring
class BayesianFMClassifier(ClassifierMixin, BayesianModel):
    """Bayesian factorization machine for classification, sampled by Gibbs.

    The probability of the second of two classes is Phi(raw), the probit of the raw score of a factorization machine
    (Rendle, 2010; Eq. 1 of Xiao et al., 2017)

    ``raw(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j``

    where Phi is the distribution function of the normal distribution. With more classes there is such a model of each
    class against all others, and their probabilities are divided by their sum. The priors' means and precisions are
    drawn with the parameters: there is nothing to tune. Probabilities are means over the draws.
    {bayesian}

    A sample of weight s has noise of variance 1 / s: its label is the sign of a number with that noise.

    Parameters
    ----------
    {sampling}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    intercept_ : float or ndarray of shape (n_classes,)
        Posterior mean of w0.
    linear_coef_ : ndarray of shape (n_features,) or (n_classes, n_features)
        Posterior mean of w.
    {draws_}
    noise_std_draws_ : ndarray of shape (n_draws,) or (n_classes, n_draws)
        Ones.
    projection_ : ndarray of shape (n_classes, n_classes * n_draws * n_factors)
        1 for the factors of each class, otherwise 0. Defined only with more than two classes.
    {sampled_}

    See Also
    --------
    FMClassifier : Trained by gradient descent; faster.
    BayesianFMRegressor : For regression.

    References
    ----------
    {references}

    J. H. Albert, S. Chib, "Bayesian Analysis of Binary and Polychotomous Response Data", JASA 88, 1993.

    Examples
    --------
    The exclusive or (XOR) of two columns:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skafm import BayesianFMClassifier
    >>> X, y = [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]] * 25, ["no", "yes", "yes", "no"] * 25
    >>> model = make_pipeline(OneHotEncoder(), BayesianFMClassifier(4, random_state=0)).fit(X, y)
    >>> model.predict(X[:4])
    array(['no', 'yes', 'yes', 'no'], dtype='<U3')
    """

    _task = "classification"
    _target_checks = {}

    def __init__(
        self,
        n_factors=16,
        *,
        max_iter=100,
        burn_in=5,
        fields="auto",
        warm_start=False,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        self.n_factors = n_factors
        self.max_iter = max_iter
        self.burn_in = burn_in
        self.fields = fields
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    def decision_function(self, X):
        """Return the posterior mean of the raw score.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Of the second of two classes, or of each of several against all others.
        """
        return self._predict_raw(X)

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        raw = self._score_draws(X)
        if raw.ndim == _BINARY:  # one output
            return np.column_stack([ndtr(-raw).mean(axis=1), ndtr(raw).mean(axis=1)])
        one_vs_rest = ndtr(raw).mean(axis=2)  # (n_samples, n_classes)
        return one_vs_rest / one_vs_rest.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X):
        """Return the most probable class.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Computed in the precision of the fitted attributes.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        probability = self.predict_proba(X)
        return self.classes_[probability.argmax(axis=1)]

    def _check_target(self, y, weight, group, *, training):  # noqa: ARG002
        check_classification_targets(y)
        if not hasattr(self, "classes_"):
            self.classes_ = np.unique(y)
        if len(self.classes_) < _BINARY:
            raise ValueError(
                f"y needs samples of at least 2 classes, but has only one class: {self.classes_.tolist()[0]!r}."
            )
        numbers = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if unknown := sorted(set(y[self.classes_[numbers] != y].tolist()), key=str):
            raise ValueError(f"y has labels that are not among the classes {self.classes_.tolist()}: {unknown}.")
        return numbers, weight

    def _stratify(self, y):
        return y

    def _encode_target(self, data, *, reset):  # noqa: ARG002
        n_classes = len(self.classes_)
        positive = data.y[:, None] == (np.arange(n_classes) if n_classes > _BINARY else [1])
        return np.where(positive, 1.0, -1.0), 0.0, 1.0
