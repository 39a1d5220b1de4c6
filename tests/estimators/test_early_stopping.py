"""Training as scikit-learn users expect it: early stopping, going on, progress."""

import importlib
import importlib.util
import itertools
import pickle
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    LearningCurveDisplay,
    cross_val_predict,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor
from skafm._estimators.early_stopping import no_improvement

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ESTIMATORS = [FMRegressor, AFMRegressor, FMClassifier, AFMClassifier]
every = pytest.mark.parametrize("Estimator", ESTIMATORS)
regressors = pytest.mark.parametrize("Estimator", ESTIMATORS[:2])
classifiers = pytest.mark.parametrize("Estimator", ESTIMATORS[2:])


@pytest.fixture
def data():
    """Give 400 one-hot rows, and targets of each task."""
    rng = np.random.default_rng(0)
    fields = rng.integers(0, 5, size=(400, 3))
    X = np.hstack([np.eye(5)[column] for column in fields.T])
    y = rng.normal(size=(5, 5))[fields[:, 0], fields[:, 1]] + rng.normal(size=400)
    return lambda Estimator: (X, (y > 0.5).astype(int) if is_classifier(Estimator()) else y)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([1.0, 0.5], False), ([1.0, 0.95, 0.93], True), ([1.0, 0.95, 0.85], False), ([0.5, 1.0, 1.0], True)],
)
def test_stalled_compares_the_best_of_the_last_with_the_best_before(losses, expected):
    assert no_improvement(losses, tol=0.1, n=2) is expected


@every
@pytest.mark.parametrize("several", [False, True], ids=["one output", "several"])
def test_loss_far_above_that_of_a_constant_is_a_warning(Estimator, several, data):
    X, y = data(Estimator)
    if several:
        y = np.arange(len(y)) % 3 if is_classifier(Estimator()) else np.column_stack([y, -y])
    model = Estimator(random_state=0, max_iter=5, tol=1e20, n_iter_no_change=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
    with pytest.warns(ConvergenceWarning, match=r"far worse than a constant predictor.*MaxAbsScaler"):
        model.fit(1e4 * X, y)


# --- early stopping ---------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("scoring", ["loss", None], ids=["loss", "score"])
def test_best_epoch_is_restored_and_its_score_kept(Estimator, scoring, data):
    X, y = data(Estimator)
    scoring = scoring or ("accuracy" if is_classifier(Estimator()) else "r2")
    model = Estimator(random_state=0, early_stopping=True, scoring=scoring, learning_rate=0.2, max_iter=30)
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


@every
@pytest.mark.parametrize(("n_samples", "stops"), [(1000, False), (1001, True)])
def test_auto_stops_early_with_more_than_a_thousand_rows(Estimator, n_samples, stops, data):
    X, y = data(Estimator)
    rows = np.arange(n_samples) % len(X)
    models = [
        Estimator(4, random_state=0, max_iter=3, early_stopping=stop).fit(X[rows], y[rows]) for stop in ("auto", stops)
    ]
    assert (models[0].validation_scores_ is not None) == stops
    np.testing.assert_array_equal(models[0].factors_, models[1].factors_)


@every
def test_auto_stops_early_on_rows_that_are_given(Estimator, data):
    X, y = data(Estimator)
    model = Estimator(4, random_state=0, max_iter=3).fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    assert len(model.validation_scores_) == 3


@classifiers
@pytest.mark.parametrize("n_rare", [1, 300], ids=["a class of one row", "more classes than rows held back"])
def test_auto_holds_rows_back_whatever_the_classes(Estimator, n_rare):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1200, 3)), np.zeros(1200, int)
    y[:n_rare] = 1 + np.arange(n_rare)
    y[-n_rare:] = y[:n_rare] if n_rare > 1 else 0
    model = Estimator(2, random_state=0, max_iter=1).fit(X, y)
    assert len(model.classes_) == n_rare + 1
    assert np.isfinite(model.predict_proba(X)).all()


@every
def test_stops_when_the_held_out_rows_are_no_longer_predicted_better(Estimator, data):
    X, y = data(Estimator)
    model = Estimator(random_state=0, early_stopping=True, learning_rate=0.2, n_iter_no_change=3).fit(X, y)
    scores = model.validation_scores_
    assert model.n_iter_ < 60
    assert max(scores[-3:]) < max(scores[:-3]) + model.tol


@every
def test_without_early_stopping_the_last_epoch_is_the_model(Estimator, data):
    model = Estimator(max_iter=3).fit(*data(Estimator))
    assert model.validation_scores_ is None
    assert model.best_iter_ == model.n_iter_ == 3


class Recorder:
    """A scorer that notes what it is given."""

    def __init__(self):
        self.calls = []

    def __call__(self, estimator, X, y, sample_weight=None):
        self.calls.append((X, y, sample_weight))
        return estimator.score(X, y)


@every
def test_a_share_of_the_rows_is_held_out_with_their_weights(Estimator, data):
    X, y = data(Estimator)
    X = np.c_[X, np.arange(1.0, 401.0)]  # the weight, as a column
    scorer = Recorder()
    model = Estimator(max_iter=2, early_stopping=True, validation_fraction=0.2, scoring=scorer, learning_rate=1e-3)
    model.fit(X, y, sample_weight=X[:, -1])
    held, _, weight = scorer.calls[0]
    assert len(scorer.calls) == model.n_iter_ == 2
    assert held.shape[0] == 80
    np.testing.assert_allclose(weight, np.asarray(held)[:, -1])


@classifiers
def test_held_out_rows_are_stratified(Estimator, data):
    X, _ = data(Estimator)
    y = np.array(["common"] * 380 + ["rare"] * 20)
    scorer = Recorder()
    Estimator(max_iter=1, early_stopping=True, validation_fraction=0.1, scoring=scorer).fit(X, y)
    assert sorted(scorer.calls[0][1]) == ["common"] * 38 + ["rare"] * 2


@every
@pytest.mark.parametrize(
    ("stop", "given", "message"),
    [
        (True, {"X_val": np.eye(3, 15)}, "X_val and y_val must be given together"),
        (True, {"y_val": np.arange(3) % 2}, "X_val and y_val must be given together"),
        (False, {"X_val": np.eye(3, 15), "y_val": np.arange(3) % 2}, "set early_stopping=True"),
        (True, {"sample_weight_val": np.ones(3)}, "pass them too"),
        (True, {"X_val": np.eye(3, 14), "y_val": np.arange(3) % 2}, "14 features"),
    ],
)
def test_validation_rows_that_do_not_fit_are_refused(Estimator, stop, given, message, data):
    with pytest.raises(ValueError, match=message):
        Estimator(early_stopping=stop).fit(*data(Estimator), **given)


@classifiers
def test_unknown_label_in_y_val_is_named(Estimator, data):
    X, y = data(Estimator)
    with pytest.raises(ValueError, match=r"not among the classes \[0, 1\]: \[7\]"):
        Estimator(early_stopping=True).fit(X, y, X_val=X[:2], y_val=[0, 7])


@every
def test_validation_rows_go_through_the_pipeline(Estimator, data):
    X, y = data(Estimator)
    X = 3 * X
    settings = {"random_state": 0, "early_stopping": True, "max_iter": 5}
    with sklearn.config_context(enable_metadata_routing=True):
        model = Estimator(**settings).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(MaxAbsScaler(), model, transform_input=["X_val"])
        pipeline.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    direct = Estimator(**settings).fit(X[:300] / 3, y[:300], X_val=X[300:] / 3, y_val=y[300:])
    np.testing.assert_allclose(pipeline[-1].validation_scores_, direct.validation_scores_, rtol=1e-10)


@every
def test_score_that_is_not_finite_is_named(Estimator, data):
    with pytest.raises(ValueError, match="returned nan on the validation"):
        Estimator(early_stopping=True, scoring=lambda *_: np.nan).fit(*data(Estimator))


@every
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_failure_leaves_the_estimator_as_it_was(Estimator, method, data):
    X, y = data(Estimator)
    model = Estimator(random_state=0, max_iter=2).fit(X, y)
    before, expected = dict(vars(model)), model.predict(X)
    for broken in (
        ((1e200 * X, y), (X, y[:-1]), (X[:, :-1], 1 - y)) if method == "partial_fit" else ((1e200 * X, 1 - y),)
    ):
        with pytest.raises(ValueError, match=r"became|inconsistent|features"):
            getattr(model, method)(*broken)
        assert vars(model).keys() == before.keys()
        assert all(vars(model)[name] is value for name, value in before.items())
    assert np.array_equal(model.predict(X), expected)


# --- going on ---------------------------------------------------------------------------------------------------------


def balanced_batches(Estimator, X):
    """Return targets that have the same shares or spread in each batch of 50 rows."""
    y = np.tile([0, 1], len(X) // 2)
    return y if is_classifier(Estimator()) else 10 + 3.0 * (2 * y - 1)


@every
@pytest.mark.parametrize("solver", ["adagrad", "adam", "sgd"])
def test_calls_of_partial_fit_equal_one_fit_over_the_same_batches(Estimator, solver, data):
    X, _ = data(Estimator)
    y = balanced_batches(Estimator, X)
    settings = {"random_state": 0, "solver": solver, "dropout": 0.3, "batch_size": 50, "learning_rate": 0.01}
    whole = Estimator(**settings, shuffle=False, max_iter=1).fit(X, y)
    parts = Estimator(**settings)
    classes = {"classes": [0, 1]} if is_classifier(parts) else {}
    for start in range(0, 400, 50):
        if start == 200:
            parts = pickle.loads(pickle.dumps(parts))  # a pause
        parts.partial_fit(X[start : start + 50], y[start : start + 50], **classes)
    names = [name for name in parts._parameter_attributes.values() if hasattr(parts, name)]
    for name in names:
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-9, atol=1e-12)
    assert parts.n_iter_ == len(parts.loss_curve_) == 8
    np.testing.assert_allclose(np.mean(parts.loss_curve_), whole.loss_curve_[0], rtol=1e-9)


@every
def test_partial_fit_goes_on_with_another_solver(Estimator, data):
    X, y = data(Estimator)
    classes = {"classes": [0, 1]} if is_classifier(Estimator()) else {}
    model = Estimator(random_state=0).partial_fit(X, y, **classes)
    before = model.factors_
    model.set_params(solver="adam").partial_fit(X, y)
    assert model._training_state["solver"] == "Adam"
    assert np.abs(model.factors_ - before).max() > 0


@regressors
def test_partial_fit_keeps_the_units_of_the_first_call(Estimator, data):
    X, y = data(Estimator)
    model = Estimator(random_state=0, learning_rate=1e-12).partial_fit(X, 100 + 5 * y)
    before = model.predict(X)
    np.testing.assert_allclose(model.partial_fit(X, y - 7).predict(X), before, rtol=1e-6)


@classifiers
def test_partial_fit_wants_all_classes_at_first(Estimator, data):
    X, y = data(Estimator)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        Estimator().partial_fit(X, y)
    model = Estimator().partial_fit(X[y == 0], y[y == 0], classes=[0, 1, 2])
    assert model.partial_fit(X, y).predict_proba(X).shape == (400, 3)
    with pytest.raises(ValueError, match="differs from that of earlier calls"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"not among the classes \[0, 1, 2\]: \[5\]"):
        model.partial_fit(X, np.where(y == 1, 5, 0))


@classifiers
def test_partial_fit_refuses_balanced_classes(Estimator, data):
    with pytest.raises(ValueError, match="class_weight='balanced' needs all samples at once"):
        Estimator(class_weight="balanced").partial_fit(*data(Estimator), classes=[0, 1])


@every
def test_warm_start_goes_on_from_the_fit_before(Estimator, data):
    X, y = data(Estimator)
    model = Estimator(random_state=0, max_iter=10, warm_start=True).fit(X, y)
    before = model._predict_raw(X)
    other = y if is_classifier(model) else 100 - 2 * y
    model.set_params(learning_rate=1e-12, max_iter=1, dropout=0.1).fit(X[:200], other[:200])
    np.testing.assert_allclose(model._predict_raw(X), before, rtol=1e-6, atol=1e-6)
    cold = clone(model).fit(X, y)
    assert np.abs(cold._predict_raw(X) - before).max() > 0.1


@every
def test_warm_start_with_another_size_is_refused(Estimator, data):
    X, y = data(Estimator)
    model = Estimator(max_iter=1, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"Shape mismatch for factors: fitted \(15, 16\), required \(15, 3\)"):
        model.set_params(n_factors=3).fit(X, y)


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
def test_interrupt_leaves_the_model_of_the_epochs_done(Estimator, data):
    X, y = data(Estimator)

    def scorer(estimator, X, y, calls=itertools.count()):  # noqa: B008 counts on purpose
        if next(calls) == 3:
            raise KeyboardInterrupt
        return estimator.score(X, y)

    model = Estimator(random_state=0, early_stopping=True, scoring=scorer, tol=0)
    with pytest.warns(UserWarning, match="interrupted: returning the model after 4 completed epochs"):
        model.fit(X, y)
    assert len(model.loss_curve_) == model.n_iter_ == 4
    assert np.isfinite(model._predict_raw(X)).all()


callback = importlib.import_module("sklearn.callback") if importlib.util.find_spec("sklearn.callback") else None
with_callbacks = pytest.mark.skipif(callback is None, reason="this scikit-learn has no callbacks")


class Stop:  # the names of the arguments are scikit-learn's
    """A callback that stops after some epochs, and notes what it is told."""

    def __init__(self, epochs):
        self.epochs, self.seen = epochs, []

    def setup(self, estimator, context):  # noqa: ARG002
        self.seen.append("setup")

    def teardown(self, estimator, context):  # noqa: ARG002
        self.seen.append("teardown")

    def on_fit_task_begin(self, estimator, context):  # noqa: ARG002
        self.seen.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):  # noqa: ARG002
        self.seen.append(f"end {context.task_name}")
        if context.task_name == "epoch":
            assert np.isfinite(fitted_estimator.factors_).all()
        return context.task_name == "epoch" and context.task_id + 1 == self.epochs


@every
@with_callbacks
def test_callback_sees_each_epoch_and_can_stop(Estimator, data):
    stop = Stop(3)
    model = Estimator(random_state=0).set_callbacks(stop).fit(*data(Estimator))
    assert model.n_iter_ == 3
    assert stop.seen == ["setup", "begin fit", *["begin epoch", "end epoch"] * 3, "end fit", "teardown"]


@every
@with_callbacks
def test_scoring_monitor_logs_every_epoch(Estimator, data):
    X, y = data(Estimator)
    score = "accuracy" if is_classifier(Estimator()) else "r2"
    monitor = callback.ScoringMonitor(scoring=score)
    model = Estimator(random_state=0, max_iter=4).set_callbacks(monitor).fit(X, y)
    logs = [entry for entry in monitor.get_logs().data if entry["task_name"] == "epoch"]
    assert len(logs) == 4
    assert logs[-1][score] == pytest.approx(model.score(X, y), rel=1e-6)


@every
@with_callbacks
def test_progress_bar_in_a_grid_search(Estimator, data, capsys):
    X, y = data(Estimator)
    search = GridSearchCV(Estimator(random_state=0, max_iter=2), {"dropout": [0.0, 0.2]}, cv=2)
    search.set_callbacks(callback.ProgressBar()).fit(X, y)
    output = capsys.readouterr().out
    assert output.count(f"{Estimator.__name__} - fit") == 5
    assert "100%" in output


# --- the rest of scikit-learn's tools ---------------------------------------------------------------------------------


@every
def test_halving_search_over_epochs(Estimator, data):
    X, y = data(Estimator)
    grid = {"dropout": [0.0, 0.2, 0.4], "l2_factors": [0.0, 0.01]}
    options = {"resource": "max_iter", "min_resources": 2, "max_resources": 18, "cv": 2, "random_state": 0}
    search = HalvingGridSearchCV(Estimator(random_state=0), grid, **options).fit(X, y)
    assert search.n_resources_[-1] > search.n_resources_[0] == 2
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@every
def test_curves_and_cross_validated_predictions(Estimator, data):
    X, y = data(Estimator)
    model = Estimator(random_state=0, max_iter=2)
    assert cross_val_predict(model, X, y, cv=2).shape == (400,)
    scores = validation_curve(model, X, y, param_name="dropout", param_range=[0.0, 0.5], cv=2)
    assert np.isfinite(scores).all()
    display = LearningCurveDisplay.from_estimator(model, X, y, cv=2, train_sizes=[0.5, 1.0])
    assert np.isfinite(display.test_scores).all()


# --- other targets ----------------------------------------------------------------------------------------------------


@regressors
def test_clip_keeps_predictions_within_the_range_of_y(Estimator, data):
    X, y = data(Estimator)
    X_far = 5 * X
    free = Estimator(random_state=0, max_iter=10).fit(X, y)
    clipped = Estimator(random_state=0, max_iter=10, clip=True).fit(X, y)
    assert free.predict(X_far).max() > y.max()
    np.testing.assert_array_equal(clipped.predict(X_far), free.predict(X_far).clip(y.min(), y.max()))


@regressors
def test_clip_knows_the_range_of_all_calls_of_partial_fit(Estimator):
    X = np.eye(2).repeat(4, axis=0)
    model = Estimator(random_state=0, clip=True).partial_fit(X, np.tile([0.0, 1.0], 4))
    model.partial_fit(X, np.tile([-3.0, 0.5], 4))
    assert model._target_range[0] == -3
    assert model._target_range[1] == 1


@regressors
def test_several_targets_each_in_its_unit(Estimator, data):
    X, y = data(Estimator)
    Y = np.c_[100 + 20 * y, -1e-3 * y, y * X[:, 0]]
    model = Estimator(random_state=0, max_iter=60).fit(X, Y)
    assert model.predict(X).shape == (400, 3)
    assert model.coef_.shape == (3, 15)
    single = Estimator(random_state=0, max_iter=60).fit(X, y)
    scores = [sklearn.metrics.r2_score(Y[:, c], model.predict(X)[:, c]) for c in range(3)]
    assert min(scores) > single.score(X, y) - 0.15


@regressors
def test_another_number_of_targets_is_refused(Estimator, data):
    X, y = data(Estimator)
    two = np.c_[y, -y]
    with pytest.raises(ValueError, match=r"targets of shape \(\) per sample as before, got \(2,\)"):
        Estimator(random_state=0).partial_fit(X, y).partial_fit(X, two)
    with pytest.raises(ValueError, match=r"targets of shape \(2,\) per sample as before, got \(\)"):
        Estimator(early_stopping=True).fit(X, two, X_val=X, y_val=y)


@regressors
def test_a_column_of_targets_is_one_target(Estimator, data):
    X, y = data(Estimator)
    with pytest.warns(sklearn.exceptions.DataConversionWarning, match=r"use y.ravel\(\)"):
        model = Estimator(random_state=0, max_iter=2).fit(X, y[:, None])
    assert np.array_equal(model.predict(X), Estimator(random_state=0, max_iter=2).fit(X, y).predict(X))
