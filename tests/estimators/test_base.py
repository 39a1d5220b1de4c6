"""fit, partial_fit and warm start: what all estimators share."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import is_classifier

from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ESTIMATORS = [FMRegressor, AFMRegressor, FMClassifier, AFMClassifier]
every = pytest.mark.parametrize("Estimator", ESTIMATORS)
regressors = pytest.mark.parametrize("Estimator", ESTIMATORS[:2])
classifiers = pytest.mark.parametrize("Estimator", ESTIMATORS[2:])


# --- a failure changes nothing ----------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_failure_leaves_the_estimator_unchanged(Estimator, method, data):
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


# --- partial_fit ------------------------------------------------------------------------------------------------------


@every
def test_partial_fit_continues_with_another_solver(Estimator, data):
    X, y = data(Estimator)
    classes = {"classes": [0, 1]} if is_classifier(Estimator()) else {}
    model = Estimator(random_state=0).partial_fit(X, y, **classes)
    before = model.factors_.copy()
    model.set_params(solver="adam").partial_fit(X, y)
    assert model._training_state["solver"] == "Adam"
    assert np.abs(model.factors_ - before).max() > 0


@every
def test_partial_fit_counts_its_calls_as_epochs(Estimator, data):
    X, y = data(Estimator)
    model = Estimator(random_state=0).partial_fit(X, y, **{"classes": [0, 1]} if is_classifier(Estimator()) else {})
    model.partial_fit(X, y)
    assert model.n_iter_ == model.best_iter_ == len(model.loss_curve_) == 2
    assert model.validation_scores_ is None


@classifiers
def test_partial_fit_needs_the_classes_at_first(Estimator, data):
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        Estimator().partial_fit(*data(Estimator))


@classifiers
def test_partial_fit_knows_classes_without_samples(Estimator, data):
    X, y = data(Estimator)
    model = Estimator().partial_fit(X[y == 0], y[y == 0], classes=[0, 1, 2])
    assert model.partial_fit(X, y).predict_proba(X).shape == (400, 3)


@classifiers
def test_partial_fit_refuses_other_classes_later(Estimator, data):
    X, y = data(Estimator)
    model = Estimator().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="differs from that of earlier calls"):
        model.partial_fit(X, y, classes=[0, 1])


@classifiers
def test_partial_fit_names_labels_that_are_no_class(Estimator, data):
    X, y = data(Estimator)
    model = Estimator().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"not among the classes \[0, 1, 2\]: \[5\]"):
        model.partial_fit(X, np.where(y == 1, 5, 0))


@classifiers
def test_partial_fit_refuses_balanced_classes(Estimator, data):
    with pytest.raises(ValueError, match="class_weight='balanced' needs all samples at once"):
        Estimator(class_weight="balanced").partial_fit(*data(Estimator), classes=[0, 1])


# --- warm start -------------------------------------------------------------------------------------------------------


@every
def test_warm_start_begins_with_the_fitted_parameters(Estimator, data):
    X, y = data(Estimator)
    model = Estimator(random_state=0, max_iter=10, warm_start=True, early_stopping=False).fit(X, y)
    before = model._predict_raw(X)
    other = y if is_classifier(model) else 100 - 2 * y
    model.set_params(learning_rate=1e-12, max_iter=1, dropout=0.1).fit(X[:200], other[:200])
    np.testing.assert_allclose(model._predict_raw(X), before, rtol=1e-6, atol=1e-6)


@every
def test_fit_without_warm_start_begins_anew(Estimator, data):
    X, y = data(Estimator)
    model = Estimator(random_state=0, max_iter=10, early_stopping=False).fit(X, y)
    before = model._predict_raw(X)
    assert np.abs(model.set_params(learning_rate=1e-12, max_iter=1).fit(X, y)._predict_raw(X) - before).max() > 0.1


# --- imports ----------------------------------------------------------------------------------------------------------


@regressors
def test_first_prediction_imports_hardly_more_of_torch(Estimator):
    code = f"""
import sys, numpy as np, skafm, warnings
warnings.simplefilter("ignore")
X = np.eye(3)
model = skafm.{Estimator.__name__}(max_iter=1).fit(X, X[0])
before = len(sys.modules)
model.predict(X)
assert len(sys.modules) - before < 100, len(sys.modules) - before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
