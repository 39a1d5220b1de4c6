"""scikit-learn's own checks and tools: the estimators behave as its own do."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

import skafm
from skafm import AFMRegressor, FMRegressor

quick = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])


class OneQuery:
    """A ranker whose rows are all of one query, since the checks pass none."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, sample_weight, qid=np.zeros(np.asarray(y).shape))

    def score(self, X, y):
        return super().score(X, y, qid=np.zeros(np.asarray(y).shape))


class FMRanker(OneQuery, skafm.FMRanker):
    pass


class AFMRanker(OneQuery, skafm.AFMRanker):
    pass


def every_estimator():
    """Yield AFMRegressor with its defaults, all others small and short: the checks fit them hundreds of times.

    FMs and AFMs stop early as by default, so that both tasks and ranking are checked with held-out rows.
    """
    for name in sorted({*skafm.__all__} - {"ImplicitFeedback"}):
        Estimator = globals()[name] if name.endswith("Ranker") else getattr(skafm, name)
        small = {"n_factors": 4, "max_iter": 30, "hidden_layer_sizes": (16, 8)}
        if not name.startswith(("FM", "AFM")):
            small["early_stopping"] = False
        if name == "AFMRegressor":
            small = {}
        yield Estimator(**{parameter: small[parameter] for parameter in small.keys() & Estimator().get_params()})
    yield skafm.ImplicitFeedback(skafm.FMRanker(random_state=0), [0], exclude_known=False, random_state=0)
    yield skafm.NFMRegressor(pooling="attention", hidden_layer_sizes=(16, 8), max_iter=30, early_stopping=False)


def expected_failures(estimator):
    """Return the checks that cannot hold, and why."""
    if hasattr(estimator, "item_columns"):
        reason = "a row of weight 2 has its negative rows once, two rows have other ones"
    elif hasattr(estimator, "burn_in") and is_classifier(estimator):
        reason = "a probit of weight 2 is that of a label with half the noise, not two labels"
    else:
        return {}
    return {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in ("dense", "sparse")}


@parametrize_with_checks(list(every_estimator()), expected_failed_checks=expected_failures)
@quick
def test_estimator_check(estimator, check):
    if hasattr(estimator, "burn_in") and check.func.__name__ == "check_decision_proba_consistency":
        pytest.skip("the mean over draws of probabilities is no function of the mean score")
    check(estimator)


@pytest.fixture
def table():
    """A DataFrame of two categorical columns whose product is the target."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"color": rng.choice(["red", "green", "blue"], 300), "size": rng.choice(["s", "m", "l"], 300)})
    y = np.where((X["color"] == "red") == (X["size"] == "s"), 1.0, -1.0) + rng.normal(scale=0.1, size=300)
    return X, y


# --- searches and curves ----------------------------------------------------------------------------------------------


@both
@quick
def test_grid_search_does_not_depend_on_n_jobs(Estimator, table):
    pipeline = make_pipeline(OneHotEncoder(), Estimator(n_factors=4, random_state=0, max_iter=5))
    grid = {f"{Estimator.__name__.lower()}__dropout": [0.0, 0.2]}
    searches = [GridSearchCV(pipeline, grid, cv=2, n_jobs=n, error_score="raise").fit(*table) for n in (1, 2)]
    one, two = (search.cv_results_["mean_test_score"] for search in searches)
    assert one[0] != one[1]
    np.testing.assert_allclose(one, two, rtol=1e-6)


@both
@quick
def test_halving_search_trains_the_best_for_the_most_epochs(Estimator, data):
    grid = {"dropout": [0.0, 0.2, 0.4], "l2_factors": [0.0, 0.01]}
    options = {"resource": "max_iter", "min_resources": 2, "max_resources": 18, "cv": 2, "random_state": 0}
    search = HalvingGridSearchCV(Estimator(random_state=0, tol=0), grid, **options).fit(*data(Estimator))
    assert search.n_resources_ == [2, 6]
    assert search.n_candidates_ == [6, 2]
    assert search.best_estimator_.n_iter_ == 6


@both
@quick
def test_cross_validated_predictions_are_those_of_the_folds(Estimator, data):
    (X, y), model = data(Estimator), Estimator(random_state=0, max_iter=2)
    predictions = cross_val_predict(model, X, y, cv=KFold(2))
    for train, test in KFold(2).split(X):
        np.testing.assert_allclose(predictions[test], clone(model).fit(X[train], y[train]).predict(X[test]), rtol=1e-12)


@both
@quick
def test_validation_curve_has_the_scores_of_its_parameter(Estimator, data):
    (X, y), model = data(Estimator), Estimator(random_state=0, max_iter=2)
    _, scores = validation_curve(model, X, y, param_name="dropout", param_range=[0.0, 0.5], cv=2)
    expected = [cross_val_score(clone(model).set_params(dropout=dropout), X, y, cv=2) for dropout in (0.0, 0.5)]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    assert not np.allclose(*scores)


@both
@quick
def test_learning_curve_ends_with_the_score_of_all_rows(Estimator, data):
    (X, y), model = data(Estimator), Estimator(random_state=0, max_iter=2)
    _, _, scores = learning_curve(model, X, y, cv=2, train_sizes=[0.5, 1.0])
    np.testing.assert_allclose(scores[1], cross_val_score(model, X, y, cv=2), rtol=1e-12)


# --- data -------------------------------------------------------------------------------------------------------------


@both
@quick
def test_default_model_learns_an_interaction_that_ridge_cannot(Estimator, xor):
    X, y = xor
    assert sklearn.linear_model.Ridge().fit(X, y).score(X, y) < 0.1
    assert Estimator(random_state=0).fit(X, y).score(X, y) > 0.95


@both
@quick
def test_fitted_attributes_have_their_shapes(Estimator, ragged):
    X, y = ragged
    model = Estimator(n_factors=3, random_state=0, max_iter=3).fit(X, y)
    shapes = {"intercept_": (), "linear_coef_": (9,), "factors_": (9, 3)}
    if Estimator is AFMRegressor:
        t = model.attention_size
        shapes |= {"attention_coef_": (t, 3), "attention_intercept_": (t,), "attention_projection_": (t,)}
        shapes["projection_"] = (3,)
    assert {name: getattr(model, name).shape for name in shapes} == shapes


@pytest.fixture
def frame(ragged):
    """Ragged rows with names of the columns."""
    return pd.DataFrame(ragged[0], columns=[f"f{i}" for i in range(9)])


@both
@quick
def test_frame_gives_the_model_of_its_values(Estimator, frame, ragged):
    X, y = ragged
    model, expected = (Estimator(random_state=0, max_iter=2).fit(rows, y) for rows in (frame, X))
    assert list(model.feature_names_in_) == list(frame.columns)
    assert np.array_equal(model.predict(frame), expected.predict(X))


@both
@quick
def test_other_feature_names_are_refused(Estimator, frame, ragged):
    model = Estimator(random_state=0, max_iter=2).fit(frame, ragged[1])
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"f0": "other"}))


@both
@quick
def test_sample_weight_is_routed_through_a_pipeline(Estimator, ragged):
    X, y = ragged
    weight = np.arange(60.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = Estimator(random_state=0, max_iter=2).set_fit_request(sample_weight=True)
        routed = make_pipeline(model).fit(X, y, sample_weight=weight).predict(X)
    direct = Estimator(random_state=0, max_iter=2)
    assert np.array_equal(routed, direct.fit(X, y, sample_weight=weight).predict(X))
    assert not np.array_equal(routed, direct.fit(X, y).predict(X))


@both
@quick
def test_integer_weights_repeat_rows_on_sparse_input(Estimator, ragged):
    X, y = ragged
    weight = np.arange(60) % 3
    repeated = Estimator(random_state=0, max_iter=10).fit(sparse.csr_array(X.repeat(weight, axis=0)), y.repeat(weight))
    weighted = Estimator(random_state=0, max_iter=10).fit(sparse.csr_array(X), y, sample_weight=weight)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-7, atol=1e-9)
