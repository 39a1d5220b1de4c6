"""Explanations of whole pipelines: raw rows in, the encoder's names out, and sums that are the predictions."""

import numpy as np
import pandas as pd
import pytest
from display_data import QUICK
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, MaxAbsScaler, OneHotEncoder, StandardScaler

from skafm import AFMClassifier, AFMRegressor, FFMRegressor, FMRegressor, HOFMRegressor, NFMRegressor
from skafm.inspection import InteractionDisplay, explain, top_interactions
from skafm.inspection._columns import find_columns

pytestmark = [
    pytest.mark.usefixtures("no_window"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "day": RNG.choice(["Mon", "Tue"], 200),
        "day_of": RNG.choice(["year_1", "year_2", "week"], 200, p=[0.2, 0.2, 0.6]),  # a name that begins like another
        "age": RNG.normal(size=200),
        "only": "one",
    }
)
Y = (TABLE["day"] == "Mon") * (TABLE["day_of"] == "week") + 0.1 * TABLE["age"].to_numpy()
NEW = TABLE[:3].assign(day=["Sun", "Mon", "Tue"])  # one that was not seen
WORDS = TABLE[["day", "day_of", "only"]]
ENCODER = OneHotEncoder(handle_unknown="ignore")
PARTS = ColumnTransformer(
    [("of", ENCODER, ["day_of"]), ("scaled", StandardScaler(), ["age"]), ("words", ENCODER, ["day", "only"])]
)


@pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor, HOFMRegressor, FFMRegressor])
def test_terms_of_raw_rows_sum_to_the_prediction(Estimator):
    pipeline = make_pipeline(PARTS, Estimator(**QUICK)).fit(TABLE, Y)
    explanation = explain(pipeline, NEW)
    np.testing.assert_allclose(explanation.sum(), pipeline.predict(NEW), rtol=1e-10, atol=1e-12)
    lengths = np.bincount(explanation.linear_rows)
    stands_in = Estimator is not FMRegressor  # for the day that was not seen, the average one
    assert lengths.tolist() == [3 + stands_in, 4, 4]


def test_terms_of_a_classifier_sum_to_its_decision_function():
    classes = np.digitize(Y, [0.0, 0.5])
    pipeline = make_pipeline(PARTS, AFMClassifier(**QUICK)).fit(TABLE, classes)
    np.testing.assert_allclose(explain(pipeline, NEW).sum(), pipeline.decision_function(NEW), rtol=1e-10, atol=1e-12)


def test_names_are_those_of_the_encoder():
    pipeline = make_pipeline(PARTS, AFMRegressor(**QUICK)).fit(TABLE, Y)
    names = pipeline[0].get_feature_names_out().tolist()
    assert explain(pipeline, TABLE).feature_names.tolist() == names
    missing = ["of__day_of (missing)", "words__day (missing)"]
    assert explain(pipeline, NEW).feature_names.tolist() == [*names, *missing]
    top = top_interactions(pipeline, TABLE, 3)
    assert "of__day_of_week" in set(top.loc[0, ["feature_i", "feature_j"]])
    expected = pipeline[-1].top_interactions(
        pipeline[0].transform(TABLE), 3, feature_names=pipeline[0].get_feature_names_out()
    )
    pd.testing.assert_frame_equal(top, expected)


def test_given_names_come_first():
    pipeline = make_pipeline(ENCODER, FMRegressor(**QUICK)).fit(WORDS, Y)
    names = list("abcdef")
    assert explain(pipeline, WORDS, feature_names=names).feature_names.tolist() == names
    assert set(top_interactions(pipeline, WORDS, feature_names=names)["feature_i"]) <= set(names)


def test_arguments_are_passed_on():
    pipeline = make_pipeline(ENCODER, AFMRegressor(**QUICK)).fit(WORDS, Y)
    arguments = {"by": "attention", "min_support": 60}
    rows, names = pipeline[0].transform(WORDS), pipeline[0].get_feature_names_out()
    expected = pipeline[-1].top_interactions(rows, 5, feature_names=names, **arguments)
    pd.testing.assert_frame_equal(top_interactions(pipeline, WORDS, 5, **arguments), expected)
    assert expected["support"].min() >= 60
    fields = list("aabbbc")
    expected = pipeline[-1].top_interactions(rows, fields=fields)
    pd.testing.assert_frame_equal(top_interactions(pipeline, WORDS, fields=fields), expected)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model,
        make_pipeline,
        lambda model: make_pipeline(MaxAbsScaler(), make_pipeline(MaxAbsScaler(), model)),
        lambda model: make_pipeline("passthrough", model),
        lambda model: GridSearchCV(model, {"n_factors": [2, 3]}, cv=2),
    ],
    ids=["model", "pipeline of one", "nested", "passthrough", "search"],
)
def test_estimators_in_estimators_are_found(wrap):
    pipeline = make_pipeline(ENCODER, wrap(FMRegressor(**QUICK))).fit(WORDS, Y)
    search = GridSearchCV(pipeline, {}, cv=2).fit(WORDS, Y)
    for estimator in (pipeline, search):
        explanation = explain(estimator, WORDS)
        assert explanation.feature_names.tolist() == pipeline[0].get_feature_names_out().tolist()
        np.testing.assert_allclose(explanation.sum(), estimator.predict(WORDS), rtol=1e-10, atol=1e-12)


def test_model_alone_is_explained_as_by_its_method():
    rows = ENCODER.fit_transform(WORDS)
    model = FMRegressor(**QUICK).fit(rows, Y)
    assert explain(model, rows).feature_names.tolist() == [f"x{i}" for i in range(6)]
    pd.testing.assert_frame_equal(
        top_interactions(model, rows, fields="auto"), model.top_interactions(rows, fields="auto")
    )


DAY, OF, ONLY = ["day"] * 2, ["day_of"] * 3, ["only"]
COLUMNS = {
    "all": (OneHotEncoder(), DAY + OF + ONLY),
    "drop": (OneHotEncoder(drop="first"), DAY[1:] + OF[1:]),
    "drop if binary": (OneHotEncoder(drop="if_binary"), DAY[1:] + OF + ONLY),
    "infrequent": (OneHotEncoder(min_frequency=80, handle_unknown="infrequent_if_exist"), DAY + OF[1:] + ONLY),
    "infrequent and drop": (OneHotEncoder(min_frequency=80, drop="first"), DAY[1:] + OF[2:]),
    "nested": (make_pipeline(OneHotEncoder(), "passthrough", make_pipeline(MaxAbsScaler())), DAY + OF + ONLY),
    "names": (ColumnTransformer([("a", ENCODER, ["only", "day"])]), ONLY + DAY),
    "positions": (ColumnTransformer([("a", "drop", [0]), ("b", ENCODER, [2, 0])]), ONLY + DAY),
    "mask": (ColumnTransformer([("a", ENCODER, [False, True, True])]), OF + ONLY),
    "slice": (ColumnTransformer([("a", ENCODER, slice(0, 2))]), DAY + OF),
    "one": (ColumnTransformer([("none", ENCODER, []), ("a", ENCODER, lambda X: X.columns[:1])]), DAY),
    "rest": (ColumnTransformer([("a", ENCODER, ["only"])], remainder=make_pipeline(ENCODER)), ONLY + DAY + OF),
    "slice of names": (ColumnTransformer([("a", ENCODER, slice("day", "day_of"))]), None),
    "unknown part": (ColumnTransformer([("a", ENCODER, ["day"]), ("b", CountVectorizer(), "day_of")]), None),
}


@pytest.mark.parametrize(("transformer", "expected"), COLUMNS.values(), ids=COLUMNS)
def test_columns_of_a_table_are_found(transformer, expected):
    columns = find_columns(make_pipeline(transformer, FMRegressor(**QUICK)).fit(WORDS, Y))
    assert (columns if columns is None else columns.tolist()) == expected


def test_fields_are_the_columns_of_the_table():
    pipeline = make_pipeline(PARTS, AFMRegressor(**QUICK)).fit(TABLE, Y)
    top = top_interactions(pipeline, TABLE, fields="auto")
    assert set(top.loc[0, ["feature_i", "feature_j"]]) == {"day", "day_of"}
    assert top["support"].tolist() == [200] * 6
    columns = ["day_of"] * 3 + ["age"] + ["day"] * 2 + ["only"]
    pd.testing.assert_frame_equal(top, top_interactions(pipeline, TABLE, fields=columns))
    shown = InteractionDisplay.from_estimator(pipeline, TABLE).interactions
    pd.testing.assert_frame_equal(shown, top)


@pytest.mark.parametrize(
    ("transformer", "X"),
    [
        (KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), TABLE[["age", "age"]].to_numpy()),
        (FeatureHasher(8, input_type="string"), WORDS.to_numpy().tolist()),
        (CountVectorizer(), WORDS["day"] + " " + WORDS["day_of"]),
    ],
    ids=["bins", "hasher", "words"],
)
def test_fields_of_other_transformers_are_inferred_from_the_rows(transformer, X):
    pipeline = make_pipeline(transformer, FMRegressor(**QUICK)).fit(X, Y)
    names = pipeline[0].get_feature_names_out() if hasattr(pipeline[0], "get_feature_names_out") else None
    expected = pipeline[-1].top_interactions(pipeline[0].transform(X), fields="auto", feature_names=names)
    pd.testing.assert_frame_equal(top_interactions(pipeline, X, fields="auto"), expected)


@pytest.mark.parametrize("function", [explain, top_interactions])
def test_models_without_an_explanation_are_refused(function):
    pipeline = make_pipeline(ENCODER, NFMRegressor(**QUICK)).fit(WORDS, Y)
    with pytest.raises(TypeError, match="NFMRegressor has no method explain: expected an FM, AFM, HOFM or FFM"):
        function(pipeline, WORDS)
    with pytest.raises(TypeError, match=r"GridSearchCV has no method explain: .* or a fitted search"):
        function(GridSearchCV(make_pipeline(ENCODER, FMRegressor()), {}), WORDS)
    with pytest.raises(NotFittedError):
        function(FMRegressor(), [[1.0]])
