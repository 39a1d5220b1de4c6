"""The epochs of a fit: the best one, the last one, progress, interruption."""

import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss

from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor
from skafm._estimators.early_stopping import StoppingCriterion, no_improvement, run_epochs
from skafm._training.collectives import SINGLE_PROCESS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ESTIMATORS = [FMRegressor, AFMRegressor, FMClassifier, AFMClassifier]
every = pytest.mark.parametrize("Estimator", ESTIMATORS)
regressors = pytest.mark.parametrize("Estimator", ESTIMATORS[:2])
classifiers = pytest.mark.parametrize("Estimator", ESTIMATORS[2:])


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([1.0, 0.5], False), ([1.0, 0.95, 0.93], True), ([1.0, 0.95, 0.85], False), ([0.5, 1.0, 1.0], True)],
)
def test_no_improvement_compares_the_best_of_the_last_with_the_best_before(losses, expected):
    assert no_improvement(losses, tol=0.1, n=2) is expected


@pytest.mark.parametrize(("losses", "expected"), [([0.5, 1.0, 1.0], False), ([0.5, 1.0, 1.0, 1.0], True)])
def test_no_improvement_waits_for_enough_epochs_since_the_first(losses, expected):
    assert no_improvement(losses, tol=0.1, n=2, first=2) is expected


# --- the best epoch ---------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("scoring", ["loss", None], ids=["loss", "score"])
def test_best_epoch_is_restored_and_its_score_kept(Estimator, scoring, data):
    X, y = data(Estimator)
    scoring = scoring or ("accuracy" if is_classifier(Estimator()) else "r2")
    model = Estimator(random_state=0, early_stopping=True, scoring=scoring, learning_rate=0.2, max_iter=60)
    model.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    assert len(model.validation_scores_) == len(model.loss_curve_) == model.n_iter_
    assert model.best_iter_ == 1 + np.argmax(model.validation_scores_) < model.n_iter_
    if scoring != "loss":
        again = model.score(X[300:], y[300:])
    elif is_classifier(model):
        again = -log_loss(y[300:], model.predict_proba(X[300:]))
    else:
        again = -np.mean((model.predict(X[300:]) - y[300:]) ** 2) / np.var(y[:300])
    assert model.validation_scores_[model.best_iter_ - 1] == pytest.approx(again, rel=1e-6)


def run(scores, **options):
    """Return the best of the epochs and the restored one, of a trainer whose parameter is the number of its epoch."""
    epochs = iter(range(1, 1 + len(scores)))
    restored, now = [], [0]

    def train(_):
        for epoch in epochs:
            now[0] = epoch
            yield 1.0 / epoch

    trainer = SimpleNamespace(epochs=train, snapshot=lambda _: now[0], restore=restored.append)
    dataset, stop = SimpleNamespace(group=SINGLE_PROCESS), StoppingCriterion(len(scores), 0.0, len(scores))
    history = run_epochs(trainer, dataset, lambda _: scores[now[0] - 1], stop, verbose=False, **options)
    return history.best, *restored


@pytest.mark.parametrize(
    ("scores", "best"), [([-1.5, -0.81, -1.3], 0), ([-1.5, -0.79, -1.3], 2), ([-0.9, -0.7, -0.85, -0.75], 2)]
)
def test_epoch_has_to_be_better_than_the_initial_parameters_by_the_required_gain(scores, best):
    assert run(scores, initial=(-1.0, 0), required_gain=lambda: 0.2) == (best, best)
    assert run(scores, initial=(-1.0, 0)) == (2, 2)


def run_with_lower_rate(scores):
    """Return how many epochs are run, and the epochs from which training goes on with a lower rate."""
    lowered, now = [], [0]

    def train(_):
        for epoch in range(1, 1 + len(scores)):
            now[0] = epoch
            yield 1.0 / epoch

    trainer = SimpleNamespace(epochs=train, snapshot=lambda _: now[0], restore=lambda _: None)
    trainer.lower_learning_rate = lowered.append
    dataset = SimpleNamespace(group=SINGLE_PROCESS)
    stop = StoppingCriterion(len(scores), 0.0, 2, lowers_rate=True)
    history = run_epochs(trainer, dataset, lambda _: scores[now[0] - 1], stop, verbose=False)
    return len(history.losses), lowered


@pytest.mark.parametrize(
    ("scores", "n_epochs"),
    [([-3, -1, -2, -2, -1, -1, 0], 6), ([-3, -1, -2, -2, -0.5, -1, -1, 0], 7)],
    ids=["no gain", "a gain"],
)
def test_rate_is_lowered_once_from_the_best_epoch_before_training_stops(scores, n_epochs):
    assert run_with_lower_rate(scores) == (n_epochs, [2])


@pytest.mark.parametrize(
    ("n_val", "own", "certain"),
    [(60, {}, True), (60, {"l2_linear": 0.0}, False), (60, {"scoring": "r2"}, False)],
)
def test_lucky_epoch_does_not_replace_the_linear_model_where_validation_rows_are_few(n_val, own, certain):
    """Noise, of which the best of some epochs explains a part by chance; units of other scores are not known."""
    kept = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = np.hstack([np.eye(6)[rng.integers(6, size=100 + n_val)] for _ in range(3)])
        y = (rng.normal(size=len(X)) > 0).astype(float)
        model = FMRegressor(random_state=seed, max_iter=5, **own)
        model.fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
        kept.append(model.best_iter_ == 0)
        if certain and kept[-1]:  # the linear model as a whole, not the half of it that training begins with
            linear = Ridge(5 * model.l2_scale_).fit(X[:100], y[:100]).predict(X)
            np.testing.assert_allclose(model.predict(X), linear, atol=0.01)
    assert (sum(kept) >= 7) == certain


@every
def test_without_early_stopping_the_last_epoch_is_the_model(Estimator, data):
    model = Estimator(max_iter=3, early_stopping=False).fit(*data(Estimator))
    assert model.validation_scores_ is None
    assert model.best_iter_ == model.n_iter_ == 3


@every
@pytest.mark.parametrize(("n_samples", "stops"), [(99, False), (100, True)])
def test_auto_stops_early_with_a_hundred_rows(Estimator, n_samples, stops, data):
    X, y = data(Estimator)
    rows = np.arange(n_samples) % len(X)
    models = [
        Estimator(4, random_state=0, max_iter=3, early_stopping=stop).fit(X[rows], y[rows]) for stop in ("auto", stops)
    ]
    assert (models[0].validation_scores_ is not None) == stops
    np.testing.assert_array_equal(models[0].factors_, models[1].factors_)


@every
def test_auto_stops_early_with_a_given_validation_set(Estimator, data):
    X, y = data(Estimator)
    model = Estimator(4, random_state=0, max_iter=3).fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    assert len(model.validation_scores_) == 3


@every
def test_score_that_is_not_finite_is_named(Estimator, data):
    with pytest.raises(ValueError, match="returned nan on the validation"):
        Estimator(early_stopping=True, scoring=lambda *_: np.nan).fit(*data(Estimator))


# --- the last epoch ---------------------------------------------------------------------------------------------------


@every
def test_training_stops_when_the_validation_score_no_longer_improves(Estimator, data):
    X, y = data(Estimator)
    model = Estimator(random_state=0, early_stopping=True, learning_rate=0.2, n_iter_no_change=3).fit(X, y)
    scores = model.validation_scores_
    assert model.n_iter_ < 60
    assert max(scores[-3:]) < max(scores[:-3]) + model.tol


@every
def test_training_stops_without_a_warning_when_the_loss_no_longer_falls(Estimator, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = Estimator(random_state=0, tol=1.0, n_iter_no_change=3).fit(*data(Estimator))
    assert model.n_iter_ == 4


@every
def test_maximum_of_iterations_before_tol_is_a_warning(Estimator, data):
    with pytest.warns(ConvergenceWarning, match=r"max_iter=2\) reached .* increase max_iter or tol"):
        Estimator(random_state=0, max_iter=2).fit(*data(Estimator))


@every
def test_interrupt_returns_the_model_of_the_completed_epochs(Estimator, data):
    X, y = data(Estimator)

    def scorer(estimator, X, y, calls=itertools.count()):  # noqa: B008 counts on purpose
        if next(calls) == 4:  # the first is of the initial parameters
            raise KeyboardInterrupt
        return estimator.score(X, y)

    model = Estimator(random_state=0, early_stopping=True, scoring=scorer, tol=0)
    with pytest.warns(UserWarning, match="interrupted: returning the model after 4 completed epochs"):
        model.fit(X, y)
    assert len(model.loss_curve_) == model.n_iter_ == 4
    assert np.isfinite(model._predict_raw(X)).all()


# --- progress ---------------------------------------------------------------------------------------------------------


@every
def test_verbose_prints_loss_score_and_seconds(Estimator, data, capsys):
    model = Estimator(random_state=0, max_iter=3, verbose=1, early_stopping=True).fit(*data(Estimator))
    lines = capsys.readouterr().out.splitlines()
    score = model.validation_scores_[-1]
    assert len(lines) == 3
    assert lines[-1].startswith(f"Epoch 3/3: loss {model.loss_curve_[-1]:.6f}, validation score {score:.6f}, ")
    assert lines[-1].endswith(" s")


@every
def test_verbose_prints_no_score_without_early_stopping(Estimator, data, capsys):
    model = Estimator(random_state=0, max_iter=2, verbose=True, early_stopping=False).fit(*data(Estimator))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[-1].startswith(f"Epoch 2/2: loss {model.loss_curve_[-1]:.6f}, ")
    assert "score" not in lines[-1]


@every
def test_nothing_is_printed_by_default(Estimator, data, capsys):
    Estimator(random_state=0, max_iter=2).fit(*data(Estimator))
    assert capsys.readouterr().out == ""
