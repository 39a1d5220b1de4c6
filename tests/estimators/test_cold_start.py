"""A row that lacks a field, such as that of a new user, is predicted as that of the average one."""

import copy
import pickle
from itertools import islice

import joblib
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.preprocessing import OneHotEncoder

from skafm import (
    AFMClassifier,
    AFMRegressor,
    DeepCrossRegressor,
    DeepFMRegressor,
    FFMRegressor,
    FMClassifier,
    FMRegressor,
    FwFMRegressor,
    HOFMRegressor,
    NFMRegressor,
    WideDeepRegressor,
)
from skafm._estimators.fields import complete_fields
from skafm._estimators.missing_fields import add_missing_fields
from skafm._estimators.validation import Samples
from skafm._training.collectives import SINGLE_PROCESS, SingleProcess
from skafm.nn import FM

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def ratings(seed=0, n=3000):
    """Return users and items (n, 2), the items' effects, and ratings without an effect of the users."""
    rng = np.random.default_rng(seed)
    pairs, effects = rng.integers(30, size=(n, 2)), rng.normal(size=30)
    return pairs, effects, 10 + effects[pairs[:, 1]] + 0.3 * rng.normal(size=n)


UNKNOWN = np.column_stack([np.full(30, 99), np.arange(30)])
SMALL = {"hidden_layer_sizes": (16,)}
MODELS = {
    "FM": FMRegressor(),
    "AFM": AFMRegressor(),
    "NFM": NFMRegressor(),
    "NFM with attention": NFMRegressor(pooling="attention"),
    "HOFM": HOFMRegressor(),
    "FFM": FFMRegressor(),
    "FwFM": FwFMRegressor(),
    "DeepFM": DeepFMRegressor(learning_rate=0.03, l2_linear=0.0, l2_factors=0.01, **SMALL),
    "WideDeep": WideDeepRegressor(**SMALL),
    "DeepCross": DeepCrossRegressor(**SMALL),
}
every = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@every
@pytest.mark.parametrize("seed", range(2))
def test_unknown_user_gets_the_effect_of_the_item(model, seed):
    pairs, effects, y = ratings(seed)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(pairs)
    model = clone(model).set_params(random_state=seed).fit(encoder.transform(pairs), y)
    slope, mean = np.polyfit(effects, model.predict(encoder.transform(UNKNOWN)), 1)
    assert 0.92 < slope < 1.08
    assert mean == pytest.approx(10, abs=0.15)


@pytest.mark.parametrize("Classifier", [FMClassifier, AFMClassifier])
def test_unknown_user_of_a_classifier_gets_the_effect_of_the_item(Classifier):
    pairs, effects, _ = ratings()
    rng = np.random.default_rng(1)
    y = rng.random(len(pairs)) < 1 / (1 + np.exp(-2 * effects[pairs[:, 1]]))
    encoder = OneHotEncoder(handle_unknown="ignore").fit(pairs)
    model = Classifier(random_state=0).fit(encoder.transform(pairs), y)
    unknown = model.decision_function(encoder.transform(UNKNOWN))
    assert 0.7 < np.polyfit(2 * effects, unknown, 1)[0] < 1.2


@every
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_missing_field_is_a_feature_with_the_average_parameters(model, n_outputs):
    """Append the averages to the tables by hand, and to the rows a column for a missing user."""
    if isinstance(model, FMRegressor):
        pytest.skip("is centered instead")
    pairs, _, y = ratings(n=300)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(pairs)
    X, weight = encoder.transform(pairs), np.linspace(1, 2, 300)
    model = clone(model).set_params(random_state=0, max_iter=3)
    model.fit(X, np.column_stack([y, -y])[:, :n_outputs].squeeze(), weight)
    rows = sparse.vstack([encoder.transform(UNKNOWN), X[:5]]).tocsr()
    predicted = model.predict(rows)
    by_hand = copy.deepcopy(model)
    by_hand.n_features_in_, by_hand._missing_rows = 61, {}
    for name in {"factors_", "linear_coef_", "fields_"} & vars(model).keys():
        table = getattr(model, name)
        table = table.T if name == "linear_coef_" else table
        average = table[0] if name == "fields_" else np.mean(table[:30], axis=0)
        table = np.concatenate([table, np.asarray(average)[None].astype(table.dtype)])
        setattr(by_hand, name, table.T if name == "linear_coef_" else table)
    lacks_user = sparse.csr_array(np.repeat([1.0, 0], [30, 5])[:, None])
    np.testing.assert_allclose(predicted, by_hand.predict(sparse.hstack([rows, lacks_user]).tocsr()), rtol=1e-10)
    assert np.ptp(predicted[:30], axis=0).min() > 0.01


@pytest.mark.parametrize("model", [AFMRegressor(), HOFMRegressor(), FFMRegressor()], ids=["AFM", "HOFM", "FFM"])
def test_explanation_has_the_missing_field(model):
    pairs, _, y = ratings(n=300)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(pairs)
    names = np.array([f"{field}_{level}" for field in ("user", "item") for level in range(30)])
    model = clone(model).set_params(random_state=0, max_iter=3).fit(encoder.transform(pairs), y)
    rows = encoder.transform(np.concatenate([UNKNOWN, pairs[:2]]))
    explanation = model.explain(rows, feature_names=names)
    np.testing.assert_allclose(explanation.sum(), model.predict(rows), rtol=1e-10)
    frame = explanation[3].to_frame()
    assert set(frame["feature_i"].dropna()) == {"item_3", "user (missing)"}
    assert (explanation.feature_i < explanation.feature_j).all()
    fields = explanation[3].by_field(np.repeat(["user", "item"], 30))
    assert set(fields["field_i"].dropna()) == {"user", "item"}
    top = model.top_interactions(rows, fields=np.repeat(["user", "item"], 30))
    assert top[["feature_i", "feature_j", "support"]].to_numpy().tolist() == [["item", "user", 32]]
    top = model.top_interactions(rows, feature_names=names)
    assert "user (missing)" in {*top["feature_i"], *top["feature_j"]}
    assert set(model.explain(rows).to_frame()["feature_i"].dropna()) > {"field 0 (missing)", "x33"}


@pytest.mark.parametrize("field", [0, 1])
def test_missing_field_is_explained_as_its_own_field(field):
    pairs, _, y = ratings(n=300)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(pairs)
    model = AFMRegressor(random_state=0, max_iter=3).fit(encoder.transform(pairs), y)
    pairs[0, field] = 99
    explanation = model.explain(encoder.transform(pairs[:1]))
    assert set(explanation.by_field(np.repeat(["user", "item"], 30))["field_i"].dropna()) == {"user", "item"}


@every
@pytest.mark.parametrize("restore", [lambda model: pickle.loads(pickle.dumps(model)), lambda model: model])
def test_stream_goes_on_with_unknown_users(model, restore):
    """Rows without a user move the item and the average user, and no other."""
    pairs, effects, y = ratings(n=1000)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(pairs)
    model = restore(clone(model).set_params(random_state=0, max_iter=10).fit(encoder.transform(pairs), y))
    unknown, users = encoder.transform(UNKNOWN), model.factors_[:30].copy()
    before = model.predict(unknown)
    for _ in range(30):
        model.partial_fit(unknown, 10 + effects + 1)
    after = model.predict(unknown)
    assert np.abs(after - 11 - effects).mean() < 0.5 * np.abs(before - 11 - effects).mean()
    np.testing.assert_array_equal(model.factors_[:30], users)


@pytest.mark.parametrize("field", [0, 1])
def test_stream_moves_the_average_of_the_field_that_rows_lack(field):
    pairs, _, y = ratings(n=300)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(pairs)
    model = AFMRegressor(random_state=0, max_iter=3).fit(encoder.transform(pairs), y)
    before = model._missing_rows["factors"].copy()
    pairs[:30, field] = 99
    model.partial_fit(encoder.transform(pairs[:30]), y[:30])
    moved = (model._missing_rows["factors"] != before).any(axis=1)
    assert moved.tolist() == [field == 0, field == 1]


def test_missing_field_has_the_average_state_of_the_optimizer():
    pairs, _, y = ratings(n=300)
    pairs[:200, 0] = 0  # one user has most of the ratings
    X = OneHotEncoder().fit_transform(pairs)
    model = AFMRegressor(random_state=0, max_iter=3).fit(X, y)
    (state,) = model._training_state["states"]["linear.weight"]
    expected = np.mean(state[:30], axis=0)
    assert state[60] == pytest.approx(expected, rel=1e-10)


def test_precision_of_incomplete_rows_stays_as_it_is():
    pairs, _, y = ratings(n=300)
    encoder = OneHotEncoder(handle_unknown="ignore", dtype=np.float32).fit(pairs)
    model = AFMRegressor(random_state=0, max_iter=3).fit(encoder.transform(pairs), y)
    assert model._with_missing_fields(encoder.transform(UNKNOWN)).dtype == np.float32
    assert model.predict(encoder.transform(UNKNOWN)).dtype == np.float32


def test_two_entries_in_a_field_of_one_row_are_none_of_the_next():
    rows = sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])  # as many entries as rows
    assert add_missing_fields(rows, np.array([0, 3])).toarray()[:, 3].tolist() == [0, 1]


def test_missing_fields_of_many_rows_are_those_of_their_parts(monkeypatch):
    X = np.eye(4)[np.arange(50) % 4] * (np.arange(50) % 7 > 0)[:, None]
    expected = add_missing_fields(X, np.array([0, 4])).toarray()
    monkeypatch.setattr("skafm._estimators.missing_fields._N_ROWS", 8)
    np.testing.assert_array_equal(add_missing_fields(X, np.array([0, 4])).toarray(), expected)
    assert expected[:, 4].sum() == 8


def test_memory_mapped_model_learns_from_unknown_users(tmp_path):
    pairs, _, y = ratings(n=300)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(pairs)
    model = AFMRegressor(random_state=0, max_iter=3).fit(encoder.transform(pairs), y)
    joblib.dump(model.partial_fit(encoder.transform(pairs[:1]), y[:1]), tmp_path / "model.joblib")
    mapped, unknown = joblib.load(tmp_path / "model.joblib", mmap_mode="r"), encoder.transform(UNKNOWN)
    for each in (model, mapped):
        each.partial_fit(unknown, np.arange(30.0))
    np.testing.assert_array_equal(mapped.predict(unknown), model.predict(unknown))


def test_constant_column_is_no_field():
    """Without it, a row is predicted by the formula."""
    pairs, _, y = ratings(n=300)
    X = sparse.hstack([np.ones((300, 1)), OneHotEncoder().fit_transform(pairs)]).tocsr()
    model = AFMRegressor(random_state=0, max_iter=3).fit(X, y)
    rows = X[:5].toarray()
    rows[:, 0] = 0
    formula = copy.deepcopy(model)
    formula._missing_rows = {}
    np.testing.assert_array_equal(model.predict(rows), formula.predict(rows))


def test_complete_rows_are_predicted_as_before():
    """By the same batches: to look for missing fields costs no copy."""
    pairs, _, y = ratings(n=300)
    X = OneHotEncoder().fit_transform(pairs)
    model = AFMRegressor(random_state=0, max_iter=3).fit(X, y)
    assert model._with_missing_fields(X) is X
    assert len(model._missing_rows) == 2


def test_fit_on_incomplete_rows_forgets_the_fields_of_an_earlier_one():
    pairs, _, y = ratings(n=300)
    X = OneHotEncoder().fit_transform(pairs).toarray()
    model = AFMRegressor(random_state=0, max_iter=3).fit(X, y)
    X[0, :30] = X[1, 30:] = 0
    assert model.set_params(warm_start=True).fit(X, y)._missing_rows == {}


def test_stream_that_begins_anew_forgets_the_fields_of_a_fit():
    pairs, _, y = ratings(n=300)
    X = OneHotEncoder().fit_transform(pairs)
    model = AFMRegressor(random_state=0, max_iter=3).fit(X, 1e-6 * y)
    assert len(model._missing_rows) == 2
    assert model.partial_fit(X, y)._missing_rows == {}  # y in other units


def draw(n_outputs=None, k=3):
    """Return rows of two one-hot fields beside two numeric columns, one of them sparse, and an FM."""
    rng = np.random.default_rng(0)
    one_hot = np.eye(4)[rng.integers(3, size=50)], np.eye(3)[rng.integers(3, size=50)]  # nobody has feature 3
    X = np.column_stack([*one_hot, rng.normal(size=50), rng.normal(size=50) * (np.arange(50) % 2)])
    module = FM(9, k, n_outputs, dtype=torch.float64)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    return X, module


def predict(module, X):
    rows = sparse.csr_array(X)
    return module(*(torch.from_numpy(each) for each in (rows.indices, rows.data, rows.indptr))).detach().numpy()


@pytest.mark.parametrize("n_outputs", [None, 3])
def test_centering_keeps_predictions_and_makes_a_missing_field_the_average_one(n_outputs):
    X, module = draw(n_outputs)
    weight = np.linspace(1, 2, 50)
    fields, seen = complete_fields(Samples(sparse.csr_array(X), None, weight, SINGLE_PROCESS))
    assert fields == [slice(0, 4), slice(4, 7)]
    np.testing.assert_array_equal(seen, [1, 1, 1, 0, 1, 1, 1, 1, 1])
    before = predict(module, X)
    each_user = np.repeat(X[:5, None], 3, axis=1)  # five rows, with each of the three users
    each_user[:, :, :4] = np.eye(4)[:3]
    average = np.mean(predict(module, each_user.reshape(15, 9)).reshape(5, 3, -1), axis=1)
    module._center_fields(fields, seen)
    np.testing.assert_allclose(predict(module, X), before, rtol=1e-10)
    lacking = X[:5] * (np.arange(9) >= 4)
    np.testing.assert_allclose(predict(module, lacking).reshape(5, -1), average, rtol=1e-10)


def test_centered_terms_have_mean_zero_in_each_field():
    X, module = draw()
    fields, seen = complete_fields(Samples(sparse.csr_array(X), None, np.ones(50), SINGLE_PROCESS))
    module._center_fields(fields, seen)
    for field in fields:
        np.testing.assert_allclose(seen[field] @ module.factors.detach().numpy()[field], 0, atol=1e-12)
        np.testing.assert_allclose(seen[field] @ module.linear.weight.detach().numpy()[field], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda X: X, [slice(0, 4), slice(4, 7)]),
        (lambda X: X * np.where(np.arange(9) < 4, 0.5, 1), [slice(4, 7)]),  # not of value 1
        (lambda X: np.vstack([X, X[:1] * (np.arange(9) >= 4)]), [slice(4, 7)]),  # a row lacks it
        (lambda X: X[:, 7:], []),  # numbers
    ],
    ids=["two fields", "other values", "incomplete", "numeric"],
)
def test_complete_fields_are_found(change, expected):
    X = sparse.csr_array(change(draw()[0]))
    assert complete_fields(Samples(X, None, np.ones(X.shape[0]), SINGLE_PROCESS))[0] == expected


class Rank(SingleProcess):
    """The first of two ranks, given what the other says in each of its calls; or one that is alone."""

    def __init__(self, other=()):
        self.said, self.other = [], iter(other)

    def all_gather(self, value):
        self.said.append(value)
        return [value, *islice(self.other, 1)]


@pytest.mark.parametrize("lacks", [False, True])
def test_complete_fields_are_those_of_all_ranks(lacks):
    X, weight = draw()[0], np.linspace(1, 2, 50)
    X[-1, :4] *= not lacks
    other = Rank()  # has the rows that tell the fields
    complete_fields(Samples(sparse.csr_array(X[1:]), None, weight[1:], other))
    fields, seen = complete_fields(Samples(sparse.csr_array(X[:1]), None, weight[:1], Rank(other.said)))
    assert fields == [slice(0, 4), slice(4, 7)][lacks:]
    np.testing.assert_array_equal(seen, [1, 1, 1, 0, 1, 1, 1, 1, 1])


def test_duplicate_entries_are_one_entry():
    rows = sparse.csr_matrix(([1.0, 1.0, 1.0, 1.0], [0, 0, 1, 2], [0, 3, 4]), shape=(2, 3))  # a 2 beside a 1, and a 1
    assert complete_fields(Samples(rows, None, np.ones(2), SINGLE_PROCESS))[0] == [slice(1, 3)]


def test_missing_fields_are_those_that_a_loop_finds():
    """Of complete rows, of rows with as many entries that lack a field, and of rows without entries."""
    bounds = np.array([0, 3, 4, 6])
    for rows in ([[0, 4], [2, 5]], [[0, 3], [2, 5]], [[4, 7], [0, 4]], [[0, 1], []], [[], []], [[7], [3]]):
        X = np.zeros((2, 8))
        for row, columns in zip(X, rows, strict=True):
            row[columns] = 1
        found = add_missing_fields(sparse.csr_array(X), bounds)
        lacks = [[not any(c in columns for c in range(a, b)) for a, b in ((0, 3), (4, 6))] for columns in rows]
        if not np.any(lacks):
            assert found.shape == (2, 8)
        else:
            np.testing.assert_array_equal(found.toarray(), np.column_stack([X, lacks]))
