"""A fit knows nothing of the fit before it, and scores, priors and weights are what they say."""

import numpy as np
import pytest
import sklearn
from scipy import sparse

from skafm import AFMRegressor, DeepCrossClassifier, DeepCrossRegressor, FMClassifier, FMRegressor, NFMRegressor
from skafm._estimators.early_stopping import no_improvement

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = np.eye(6)[RNG.integers(6, size=200)] + np.eye(6)[RNG.integers(6, size=200)]
Y = X[:, 0] - 2 * X[:, 1] * X[:, 2] + 0.1 * RNG.normal(size=200)
STOP = {"early_stopping": True, "random_state": 0, "max_iter": 5}
DEEP = {"hidden_layer_sizes": (4,)}


# --- what an earlier fit has left -------------------------------------------------------------------------------------


def test_scorer_meets_no_attribute_of_an_earlier_fit_of_more_targets():
    model = FMRegressor(**STOP).fit(X, np.column_stack([Y, -Y]))
    model.set_params(scoring="r2").fit(X, Y)
    assert model.validation_scores_ == FMRegressor(**STOP, scoring="r2").fit(X, Y).validation_scores_


def test_scorer_meets_no_attribute_of_an_earlier_fit_of_more_classes():
    model = FMClassifier(**STOP).fit(X, np.digitize(Y, [-0.5, 0.5]))
    model.set_params(scoring="accuracy").fit(X, Y > 0)
    assert model.validation_scores_ == FMClassifier(**STOP, scoring="accuracy").fit(X, Y > 0).validation_scores_


def test_scorer_meets_no_attention_of_an_earlier_fit():
    model = NFMRegressor(**STOP, **DEEP, pooling="attention", l2_linear=0.0).fit(X, Y)
    model.set_params(pooling="sum", scoring="r2").fit(X[:150], Y[:150], X_val=X[150:], y_val=Y[150:])
    assert model.score(X[150:], Y[150:]) == pytest.approx(max(model.validation_scores_), rel=1e-9)


def test_scorer_meets_no_missing_fields_of_an_earlier_fit():
    one_hot = np.hstack([np.eye(4)[np.arange(200) % 4], np.eye(3)[np.arange(200) % 3]])
    validation = one_hot[:50] * (np.arange(7) >= 4)  # rows lack the first field
    options, given = {**STOP, "scoring": "r2"}, {"X_val": validation, "y_val": Y[:50]}
    model = AFMRegressor(**options).fit(one_hot, Y)
    assert len(model._missing_rows) == 2
    again, anew = model.fit(one_hot, Y, **given), AFMRegressor(**options).fit(one_hot, Y, **given)
    assert again.validation_scores_ == anew.validation_scores_


@pytest.mark.parametrize("warm_start", [False, True])
def test_scorer_meets_importances_of_an_earlier_fit_only_if_it_is_resumed(warm_start):
    found = []

    def scorer(model, rows, y):  # noqa: ARG001 a scorer's signature
        found.append(hasattr(model, "feature_importances_"))
        return 0.0

    model = FMRegressor(**STOP, warm_start=warm_start).fit(X, Y)
    model.set_params(scoring=scorer).fit(X, Y)
    assert set(found) == {warm_start}


# --- scores and weights -----------------------------------------------------------------------------------------------


def test_scorer_without_weights_works_with_class_weights():
    calls = []

    def scorer(estimator, X, y):
        calls.append(len(y))
        return estimator.score(X, y)

    FMClassifier(**STOP, class_weight={False: 1, True: 50}, scoring=scorer).fit(X, Y > 0)
    assert calls == [20] * len(calls) != []


@pytest.mark.parametrize("scoring", ["neg_max_error", lambda estimator, X, y: estimator.score(X, y)])
def test_scorer_without_weights_works_with_sample_weights(scoring):
    FMRegressor(**STOP, scoring=scoring).fit(X, Y, sample_weight=np.arange(1.0, 201.0))


def test_validation_scores_do_not_count_class_weights():
    model = FMClassifier(**STOP, class_weight={0: 1, 1: 50}, scoring="accuracy")
    y = (Y > 0).astype(int)
    model.fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:])
    assert model.score(X[150:], y[150:]) == pytest.approx(max(model.validation_scores_))


def test_scorer_gets_the_sample_weights_as_given():
    weights, weight = [], np.linspace(1, 2, 200)

    def scorer(estimator, X, y, sample_weight):
        weights.append(sample_weight)
        return estimator.score(X, y, sample_weight)

    model = FMClassifier(**STOP, class_weight={False: 1, True: 50}, scoring=scorer)
    model.fit(X, Y > 0, X_val=X, y_val=Y > 0, sample_weight_val=weight)
    assert np.array_equal(weights[0], weight)


def test_tol_zero_stops_at_a_constant_score():
    assert no_improvement([-1.0] * 6, 0, 5)
    assert not no_improvement([-1.0] * 5, 0, 5)
    assert not no_improvement([-1.0] * 5 + [-1.1], 0, 5)


def test_unusable_score_of_a_rare_class_names_the_cause():
    y = np.append(np.zeros(199), 1)
    with pytest.raises(ValueError, match=r"scoring='neg_log_loss' failed .* If a class has too few samples"):
        FMClassifier(**STOP, scoring="neg_log_loss").fit(X, y)


# --- priors and class weights -----------------------------------------------------------------------------------------


def first_intercept(weights):
    y = np.repeat([0, 1], 10)
    model = FMClassifier(max_iter=1, learning_rate=1e-12, l2_linear=0.0, random_state=0, early_stopping=False)
    return model.fit(X[:20], y, sample_weight=np.repeat(weights, 10)).intercept_


@pytest.mark.parametrize("weights", [(1, 999), (60, 1), (1, 1)])
def test_prior_is_that_of_the_weighted_classes(weights):
    assert first_intercept(weights) == pytest.approx(np.log(weights[1] / weights[0]), rel=1e-9, abs=1e-9)


def test_class_without_a_row_counts_as_half_a_row():
    model = FMClassifier(learning_rate=1e-12, random_state=0).partial_fit(X[:20], [0] * 20, classes=[0, 1])
    assert model.intercept_ == pytest.approx(np.log(0.5 / 20), rel=1e-9)


def test_class_of_weight_zero_stays_a_class():
    y = np.repeat([0, 1, 2], [80, 80, 40])
    model = FMClassifier(max_iter=2, random_state=0).fit(X, y, sample_weight=(y < 2).astype(float))
    assert model.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_of_a_class_that_weighs_nothing(batch_size):
    model = DeepCrossClassifier(class_weight={False: 0, True: 1}, batch_size=batch_size, max_iter=2, **DEEP)
    assert np.isfinite(model.fit(X, Y > 0).predict_proba(X)).all()


def test_rows_of_weight_zero_have_no_part_in_the_range_of_y():
    model = FMRegressor(clip=True, max_iter=2).fit(X, np.append(Y[:-1], 1e9), sample_weight=np.append(np.ones(199), 0))
    assert model._target_range[1] == Y[:-1].max()


# --- memory -----------------------------------------------------------------------------------------------------------


def test_batch_normalization_does_not_depend_on_the_working_memory():
    fits = []
    for working_memory in (1024, 0.01):
        with sklearn.config_context(working_memory=working_memory):
            fits.append(DeepCrossRegressor(max_iter=2, random_state=0, **DEEP).fit(X, Y))
    large, small = fits
    assert np.array_equal(large.predict(X), small.predict(X))
    assert large.norm_batches_ == small.norm_batches_


def test_columns_that_do_not_fit_memory_are_named():
    wide = sparse.csr_array((np.ones(3), np.array([0, 5, 2**40]), np.arange(4)), shape=(3, 2**41))
    with pytest.raises(MemoryError, match=r"a model of 2,199,023,255,552 columns: .* FeatureHasher"):
        FMRegressor(64, max_iter=1).fit(wide, [1.0, 2.0, 3.0])
