"""What a regressor's loss is to its targets: start, link, units, score, range; the formulas are in test_losses.py."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import HuberRegressor, PoissonRegressor, QuantileRegressor
from sklearn.metrics import d2_absolute_error_score, d2_pinball_score, d2_tweedie_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from skafm import AFMRegressor, FMRegressor
from skafm._estimators.regression_losses import KINDS, RegressionLoss
from skafm._estimators.target_units import weighted_quantile
from skafm._training.losses import LOSSES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
LINKED = ["poisson", "gamma", "tweedie"]
ROBUST = ["absolute_error", "huber", "quantile"]
OTHERS = [*ROBUST, *LINKED, "log_loss"]
LEVELS = (12, 6, 5)
every = pytest.mark.parametrize("loss", OTHERS)
linked = pytest.mark.parametrize("loss", LINKED)
robust = pytest.mark.parametrize("loss", ROBUST)


def raw_of(n_rows=600, seed=0):
    """Return one-hot rows, and a raw score of main effects and of one interaction."""
    rng, truth = np.random.default_rng(seed), np.random.default_rng(7)
    levels = [rng.integers(0, n, n_rows) for n in LEVELS]
    raw = sum(truth.normal(scale=0.4, size=n)[level] for n, level in zip(LEVELS, levels, strict=True))
    raw = raw + truth.normal(scale=0.7, size=LEVELS[:2])[levels[0], levels[1]]
    return sparse.csr_array(np.hstack([np.eye(n)[level] for n, level in zip(LEVELS, levels, strict=True)])), raw


def targets(loss, raw, seed=1):
    """Return targets whose mean, median or quantile is a function of the raw score."""
    rng = np.random.default_rng(seed)
    match loss:
        case "poisson":
            return rng.poisson(np.exp(raw)).astype(float)
        case "gamma":
            return rng.gamma(2.0, np.exp(raw) / 2)
        case "tweedie":
            return rng.poisson(np.exp(raw)) * rng.gamma(2.0, 1.0, raw.shape)
        case "log_loss":
            return rng.binomial(10, expit(raw)) / 10
        case _:
            return raw + 0.3 * rng.standard_t(3, raw.shape)


def table(loss, n_rows=600, seed=0):
    X, raw = raw_of(n_rows, seed)
    return X, targets(loss, raw, seed + 1)


def fit(loss, X, y, weight=None, Estimator=FMRegressor, **parameters):
    return Estimator(**{"loss": loss, "random_state": 0, "n_factors": 4} | parameters).fit(X, y, weight)


def still(**parameters):
    """Return parameters with which training moves nothing."""
    return {
        "max_iter": 1,
        "solver": "sgd",
        "learning_rate": 1e-12,
        "l2_linear": 0.0,
        "early_stopping": False,
    } | parameters


# --- the start --------------------------------------------------------------------------------------------------------


def best_constant(loss, y, weight, quantile=0.8):
    """Return the raw score that scikit-learn's loss calls best."""
    if loss == "huber":  # its delta is a quantile of the targets
        delta = weighted_quantile(np.abs(y - weighted_quantile(y, weight, 0.5)), weight, 0.9)
        return KINDS[loss].reference(delta=delta).fit_intercept_only(y, weight)
    options = {"quantile": quantile} if loss == "quantile" else {}
    return KINDS[loss].reference(**options).fit_intercept_only(y, weight)


@every
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_training_starts_at_the_constant_of_scikit_learns_loss(loss, weighted):
    X, y = table(loss, 200)
    weight = np.arange(200) % 5 + 1.0 if weighted else np.ones(200)
    model = fit(loss, X, y, weight, quantile=0.8, **still(n_factors=1))
    assert model.intercept_ == pytest.approx(best_constant(loss, y, weight), rel=1e-3, abs=2e-3)


@every
def test_no_constant_beside_the_first_one_is_better(loss):
    _, y = table(loss, 400)
    weight = np.linspace(0.5, 2, 400)
    function = RegressionLoss(loss, **{"quantile": 0.8} if loss == "quantile" else {})
    y = y / np.average(y, weights=weight) if loss in LINKED else y
    best = function.constant(y, weight)
    lowest = function.deviance(y, best, weight)
    for step in (0.05, -0.05):
        assert function.deviance(y, best + step, weight) > lowest


@pytest.mark.parametrize("loss", ["poisson", "tweedie", "log_loss"])
def test_targets_that_are_all_zero_have_a_finite_model(loss):
    X, _ = raw_of(120)
    model = fit(loss, X, np.zeros(120))
    assert np.isfinite(model.intercept_)
    assert (model.predict(X) < 0.05).all()
    assert model.score(X, np.zeros(120)) <= 1


# --- units ------------------------------------------------------------------------------------------------------------


@every
def test_unit_of_y_does_not_matter(loss):
    if loss == "log_loss":
        pytest.skip("rates have no unit")
    X, y = table(loss)
    shift, scale = (0.0, 1000.0) if loss in LINKED else (-5e4, 1000.0)
    expected, model = fit(loss, X, y), fit(loss, X, shift + scale * y)
    np.testing.assert_allclose((model.predict(X) - shift) / scale, expected.predict(X), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(model.validation_scores_, expected.validation_scores_, rtol=1e-3)


@every
def test_loss_of_the_best_constant_is_one(loss):
    X, y = table(loss)
    model = fit(loss, X, y, n_factors=1, l2_factors=0.0, quantile=0.8, **still())
    assert model.loss_curve_[0] == pytest.approx(1, rel=0.03)


@robust
def test_a_few_outliers_of_any_size_change_little(loss):
    X, raw = raw_of(2000)
    y = raw + 0.1 * np.random.default_rng(0).normal(size=2000)
    wild = y.copy()
    wild[::50] = 1e9 * np.where(np.arange(40) % 2, 1, -1)
    test, truth = raw_of(1000, seed=5)
    error = np.mean((fit(loss, X, wild).predict(test) - truth) ** 2)
    assert error < 0.05 * truth.var()


def test_huber_is_between_the_mean_and_the_median():
    X, y = np.ones((400, 1)), np.random.default_rng(0).gamma(0.5, 1, 400)
    low, middle, high = (
        fit(loss, X, y, **still()).predict(X[:1])[0] for loss in ("absolute_error", "huber", "squared_error")
    )
    assert low + 0.05 < middle < high - 0.02


# --- what it predicts -------------------------------------------------------------------------------------------------


@linked
def test_prediction_is_the_exponential_of_the_explained_sum(loss):
    X, y = table(loss)
    model = fit(loss, X, y, max_iter=5)
    np.testing.assert_allclose(np.exp(model.explain(X[:20]).sum()), model.predict(X[:20]), rtol=1e-10)
    assert (model.predict(X) > 0).all()


def test_prediction_of_rates_is_the_sigmoid_of_the_explained_sum():
    X, y = table("log_loss")
    model = fit("log_loss", X, y, max_iter=5)
    np.testing.assert_allclose(expit(model.explain(X[:20]).sum()), model.predict(X[:20]), rtol=1e-10)


@pytest.mark.parametrize("loss", [*LINKED, "log_loss"])
def test_mean_of_the_predictions_is_about_that_of_the_targets(loss):
    X, y = table(loss, 2000)
    assert fit(loss, X, y).predict(X).mean() == pytest.approx(y.mean(), rel=0.06)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_share_of_new_targets_below_a_quantile_is_the_quantile(quantile):
    X, y = table("quantile", 6000)
    model = fit("quantile", X[:4000], y[:4000], quantile=quantile)
    assert np.mean(y[4000:] <= model.predict(X[4000:])) == pytest.approx(quantile, abs=0.04)


def test_clip_keeps_predictions_with_a_link_within_the_range_of_y():
    X, y = table("poisson")
    model = fit("poisson", X, y, clip=True, max_iter=5)
    assert model.predict(50 * X).max() == y.max()
    assert model.score(50 * X, y) < 1


def test_overflow_of_a_prediction_is_refused():
    X, y = table("poisson")
    model = fit("poisson", X, y, max_iter=5)
    with pytest.raises(ValueError, match="A prediction is not finite: X, up to"):
        model.predict(1e6 * X)


# --- it is as good as the peers ---------------------------------------------------------------------------------------

PEERS = {
    "absolute_error": QuantileRegressor(alpha=1e-3, solver="highs"),
    "huber": HuberRegressor(alpha=1e-3),
    "quantile": QuantileRegressor(quantile=0.8, alpha=1e-3, solver="highs"),
    "poisson": PoissonRegressor(alpha=1e-3, max_iter=1000),
    "gamma": HistGradientBoostingRegressor(loss="gamma", min_samples_leaf=5),
}


@pytest.mark.parametrize("loss", PEERS)
def test_default_is_better_than_a_peer_where_there_is_an_interaction(loss):
    X, raw = raw_of(3000)
    y = targets(loss, raw)
    train, test = slice(2000), slice(2000, None)
    model = fit(loss, X[train], y[train], quantile=0.8)
    peer = PEERS[loss]
    rows = X.toarray() if loss == "gamma" else X
    peer = clone(peer).fit(rows[train], y[train]).predict(rows[test])
    shift, scale = model._target_scale
    theirs = np.log(np.maximum(peer, 1e-9)) if loss in LINKED else peer
    function = RegressionLoss(loss, **{"quantile": 0.8} if loss == "quantile" else {})
    encoded = function.units.encode(y[test], shift, scale)
    assert model.score(X[test], y[test]) > function.d2(encoded, (theirs - shift) / scale, np.ones(1000)) + 0.01


# --- score ------------------------------------------------------------------------------------------------------------

D2 = {
    "absolute_error": d2_absolute_error_score,
    "quantile": lambda y, p, sample_weight: d2_pinball_score(y, p, sample_weight=sample_weight, alpha=0.8),
    "poisson": lambda y, p, sample_weight: d2_tweedie_score(y, p, sample_weight=sample_weight, power=1),
    "gamma": lambda y, p, sample_weight: d2_tweedie_score(y, p, sample_weight=sample_weight, power=2),
    "tweedie": lambda y, p, sample_weight: d2_tweedie_score(y, p, sample_weight=sample_weight, power=1.5),
}


@pytest.mark.parametrize("loss", D2)
def test_score_equals_scikit_learns_d2(loss):
    X, y = table(loss)
    model = fit(loss, X, y, max_iter=5, quantile=0.8)
    test, y_test = table(loss, 300, seed=3)
    weight = np.arange(300) % 3 + 0.5
    expected = D2[loss](y_test, model.predict(test), sample_weight=weight)
    assert model.score(test, y_test, weight) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_score_of_rates_is_the_saved_share_of_the_binomial_deviance():
    X, y = table("log_loss")
    model = fit("log_loss", X, y, max_iter=5)

    def deviance(p):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nansum(y * np.log(y / p)) + np.nansum((1 - y) * np.log((1 - y) / (1 - p)))

    expected = 1 - deviance(model.predict(X)) / deviance(np.full(600, y.mean()))
    assert model.score(X, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("loss", D2)
def test_score_of_several_targets_is_the_mean(loss):
    X, y = table(loss)
    model = fit(loss, X, np.column_stack([y, y[::-1]]), max_iter=3, quantile=0.8)
    pairs = zip((y, y[::-1]), model.predict(X).T, strict=True)
    expected = np.mean([D2[loss](each, prediction, sample_weight=None) for each, prediction in pairs])
    assert model.score(X, np.column_stack([y, y[::-1]])) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_score_of_constant_targets_is_finite():
    X, y = table("poisson")
    assert fit("poisson", X, y, max_iter=2).score(X[:5], np.zeros(5)) == 0


@every
def test_validation_score_is_d2_minus_one_in_units_of_the_training_rows(loss):
    X, y = table(loss)
    model = fit(loss, X, y, max_iter=3, tol=0)
    model.fit(X, y, X_val=X, y_val=y)
    best = max(model.validation_scores_)
    assert 1 + best == pytest.approx(model.score(X, y), abs=0.02)


# --- weights, streams, warm starts ------------------------------------------------------------------------------------


@every
def test_integer_weights_repeat_rows(loss):
    X, y = table(loss, 60)
    weight = np.arange(60) % 3
    options = {"max_iter": 5, "early_stopping": False, "batch_size": 200, "shuffle": False, "quantile": 0.8}
    expected = fit(loss, sparse.csr_array(X.toarray().repeat(weight, axis=0)), y.repeat(weight), **options)
    model = fit(loss, X, y, weight, **options)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-6, atol=1e-6)


@every
@pytest.mark.parametrize("size", [1, 50])
def test_stream_learns(loss, size):
    X, y = table(loss, 1500)
    model = FMRegressor(loss=loss, random_state=0, learning_rate=0.1, quantile=0.8)
    for start in range(0, 1200 if size > 1 else 60, size):
        model.partial_fit(X[start : start + size], y[start : start + size])
    assert np.isfinite(model.predict(X)).all()
    assert model.score(X[1200:], y[1200:]) > (0 if size > 1 else -1)


@every
def test_units_of_a_stream_do_not_move_predictions(loss):
    X, y = table(loss)
    model = fit(loss, X, y, max_iter=3)
    before = model.predict(X)
    model.set_params(solver="sgd", learning_rate=1e-12).partial_fit(X, y if loss == "log_loss" else 3 * y)
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-6)


def test_stream_that_begins_with_zeros_begins_anew_with_the_first_event():
    X, y = table("poisson")
    model = FMRegressor(loss="poisson", random_state=0).partial_fit(X[:50], np.zeros(50))
    model.partial_fit(X, 1000 * y)
    assert model.predict(X).mean() == pytest.approx(1000 * y.mean(), rel=0.5)


@every
def test_warm_start_resumes(loss):
    X, y = table(loss)
    model = fit(loss, X, y, max_iter=3, warm_start=True, tol=0, early_stopping=False)
    last = model.loss_curve_[-1]
    assert model.fit(X, y).loss_curve_[0] < last + 0.02


@pytest.mark.parametrize("again", ["fit", "partial_fit"])
def test_another_link_is_refused_when_training_resumes(again):
    X, y = table("poisson")
    model = fit("poisson", X, y, max_iter=2, warm_start=True).set_params(loss="squared_error")
    before = model.predict(X)
    with pytest.raises(ValueError, match=r"loss='poisson', whose link is log.* has the link identity"):
        getattr(model, again)(X, y)
    np.testing.assert_array_equal(model.predict(X), before)


def test_loss_of_predictions_is_that_of_the_fit():
    X, y = table("poisson")
    model = fit("poisson", X, y, max_iter=2)
    before = model.predict(X)
    np.testing.assert_array_equal(model.set_params(loss="squared_error").predict(X), before)


def test_initial_model_with_another_link_is_refused():
    X, y = table("poisson")
    fm = fit("squared_error", X, y, max_iter=2)
    with pytest.raises(ValueError, match=r"same link: loss='squared_error' has the link identity, .*'poisson'"):
        fit("poisson", X, y, Estimator=AFMRegressor, init=fm)


@every
def test_attention_begins_with_a_machine_of_the_same_loss(loss):
    X, y = table(loss)
    fm = fit(loss, X, y, max_iter=3)
    model = fit(loss, X, y, Estimator=AFMRegressor, init=fm, freeze_init=True, max_iter=1, early_stopping=False)
    np.testing.assert_allclose(model.linear_coef_, fm.linear_coef_, rtol=1e-6, atol=1e-9)


# --- bad targets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "bad", "message"),
    [
        ("poisson", -1.0, r"loss='poisson' y must be at least 0, but it has values from -1\.0 to"),
        ("tweedie", -0.5, r"loss='tweedie' y must be at least 0, but it has values from -0\.5 to"),
        (
            "gamma",
            0.0,
            r"'gamma' y must be above 0, but it has values from 0\.0 to .*loss='poisson', which takes 0",
        ),
        (
            "log_loss",
            1.5,
            r"'log_loss' y must be rates from 0 to 1, but it has values from .* to 1\.5: correct or",
        ),
    ],
)
def test_targets_out_of_range_are_refused(loss, bad, message):
    X, y = table(loss, 50)
    model = fit(loss, X, y, max_iter=1)
    wrong = y.copy()
    wrong[3] = bad
    for call in (model.fit, model.partial_fit, model.score):
        with pytest.raises(ValueError, match=message):
            call(X, wrong)
    with pytest.raises(ValueError, match=f"Invalid X_val.*{message}"):
        model.set_params(early_stopping=True).fit(X, y, X_val=X, y_val=wrong)


@pytest.mark.parametrize(("name", "value"), [("loss", "mse"), ("quantile", 0.0), ("quantile", 1)])
def test_invalid_parameters_are_refused(name, value):
    X, y = table("quantile", 50)
    with pytest.raises(ValueError, match=f"The '{name}' parameter of FMRegressor must be"):
        FMRegressor(**{name: value}).fit(X, y)


# --- the rest of the house --------------------------------------------------------------------------------------------


def test_every_loss_has_its_formula():
    assert {kind.function for kind in KINDS.values()} == {*LOSSES} - {"log_loss"}


def test_log_loss_of_rates_zero_and_one_is_that_of_a_classifier():
    raw, y = torch.linspace(-3, 3, 7).double(), torch.tensor([0, 1, 0, 1, 1, 0, 1]).double()
    torch.testing.assert_close(LOSSES["rate_log_loss"](raw, y), LOSSES["log_loss"](raw, y))


def negative_targets(estimator):  # noqa: ARG001
    """Return the check whose several targets are negative in spite of the tag."""
    return {"check_regressor_multioutput": "has negative targets"}


@parametrize_with_checks(
    [FMRegressor(loss="poisson", l2_linear=0.01, max_iter=5)], expected_failed_checks=negative_targets
)
def test_estimator_check(estimator, check):
    check(estimator)
