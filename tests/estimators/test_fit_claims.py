"""What the docstrings say of a fit: each claim fails if the code forgets it."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from skafm import AFMRegressor, FMClassifier, FMRegressor, NFMRegressor
from skafm._estimators.base import _auto_batch_size
from skafm._training.batching import CSRRows
from skafm.nn import AFM, functional
from skafm.nn._pairs import dedup, dispatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = sum(np.eye(6)[RNG.integers(6, size=200)] for _ in range(3))
Y = X[:, 0] - 2 * X[:, 1] * X[:, 2] + 0.1 * RNG.normal(size=200)
STOP = {"early_stopping": True, "random_state": 0}


def scores(*values):
    """Return a scorer that returns these values, one after another, and raises what is an exception."""
    values = itertools.chain(values, itertools.repeat(values[-1]))

    def scorer(*_):
        value = next(values)
        if isinstance(value, BaseException):
            raise value
        return value

    return scorer


# --- validation -------------------------------------------------------------------------------------------------------


def test_validation_loss_counts_class_and_sample_weights():
    y, weight = (Y > 0).astype(int), np.linspace(0.5, 2, 50)
    model = FMClassifier(**STOP, max_iter=10, l2_linear=0.0, class_weight={0: 1, 1: 20})
    model.fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:], sample_weight_val=weight)
    losses = -model.predict_log_proba(X[150:])[np.arange(50), y[150:]]
    total = weight * np.where(y[150:] == 1, 20, 1)
    assert model.best_iter_ > 0
    best = -model.validation_scores_[model.best_iter_ - 1]
    assert best == pytest.approx(np.average(losses, weights=total), rel=1e-9)


def test_training_stops_on_the_validation_score():
    model = FMRegressor(**STOP, scoring=scores(0.5), tol=1e-9, n_iter_no_change=3, max_iter=30).fit(X, Y)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.n_iter_ == 4


def test_interrupted_training_returns_the_best_epoch():
    given = {"X_val": X[:50], "y_val": Y[:50]}
    best = FMRegressor(**STOP, scoring=scores(0.0, 0.1, 0.9), max_iter=2).fit(X, Y, **given)
    with pytest.warns(UserWarning, match="interrupted"):
        model = FMRegressor(**STOP, scoring=scores(0.0, 0.1, 0.9, 0.2, KeyboardInterrupt())).fit(X, Y, **given)
    assert model.best_iter_ == 2
    assert np.array_equal(model.predict(X), best.predict(X))


def test_validation_rows_depend_on_the_seed():
    seen = []
    for seed in (0, 1, 0):
        rows = []
        scorer = lambda _model, _X, y, rows=rows: rows.append(y) or 0.5  # noqa: E731
        FMRegressor(early_stopping=True, random_state=seed, scoring=scorer, max_iter=1).fit(X, Y)
        seen.append(rows[0])
    assert np.array_equal(seen[0], seen[2])
    assert not np.array_equal(seen[0], seen[1])


def test_scorer_of_a_frame_meets_no_names():
    frame = pd.DataFrame(X, columns=list("abcdef"))
    FMRegressor(**STOP, scoring="r2", max_iter=2).fit(frame, Y)  # a warning would be an error


# --- epochs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [True, False])
def test_dropout_acts_in_every_epoch(stop, monkeypatch):
    calls, draw = [], functional.dropout_mask
    monkeypatch.setattr(functional, "dropout_mask", lambda *args: calls.append(1) or draw(*args))
    model = FMRegressor(dropout=0.5, l2_linear=0.0, batch_size=50, max_iter=3, early_stopping=stop, random_state=0)
    model.fit(X, Y)
    assert len(calls) == 3 * 4 + stop  # the held-out rows at last


def test_loss_of_an_epoch_counts_batches_by_their_rows():
    y = np.array([0.0] * 4 + [10.0] * 3)  # batches of 4 and 3 rows
    model = FMRegressor(batch_size=4, shuffle=False, learning_rate=1e-12, l2_linear=0, l2_factors=0, max_iter=1)
    assert model.fit(np.eye(7), y).loss_curve_[0] == pytest.approx(1, abs=1e-3)


def test_rows_of_weight_zero_are_no_rows():
    options = {"shuffle": False, "batch_size": 200, "max_iter": 3, "random_state": 0}
    weight = (np.arange(200) % 3 > 0).astype(float)
    model = FMRegressor(**options).fit(X, Y, sample_weight=weight)
    without = FMRegressor(**options).fit(X[weight > 0], Y[weight > 0])
    assert model.loss_curve_ == without.loss_curve_
    np.testing.assert_array_equal(model.factors_, without.factors_)


def test_automatic_batch_size_is_a_share_of_the_rows():
    assert [_auto_batch_size(n) for n in (1, 25_600, 38_400, 131_072, 10**7)] == [200, 200, 300, 1024, 1024]


def test_random_state_decides_the_fit():
    fits = [FMRegressor(random_state=seed, max_iter=2).fit(X, Y).factors_ for seed in (0, 1, 0)]
    assert np.array_equal(fits[0], fits[2])
    assert not np.allclose(fits[0], fits[1])


# --- initialization ---------------------------------------------------------------------------------------------------


def test_pretraining_stops_early(monkeypatch):
    calls = []
    negative_loss = "skafm._estimators.initialization.negative_loss"
    monkeypatch.setattr(negative_loss, lambda _: lambda _: calls.append(1) or 0.5)
    AFMRegressor(init="fm", early_stopping=True, n_iter_no_change=2, max_iter=50, random_state=0).fit(X, Y)
    assert len(calls) == 1 + 3


def test_projection_on_a_frozen_fm_begins_at_the_number_of_pairs():
    rows = np.column_stack([np.eye(3)[RNG.integers(3, size=60)] for _ in range(4)])  # 6 pairs in each row
    y = rows @ np.arange(12.0)
    fm = FMRegressor(4, max_iter=2, random_state=0).fit(rows, y)
    model = AFMRegressor(4, init=fm, freeze_init=True, max_iter=1, learning_rate=1e-12).fit(rows, y)
    np.testing.assert_allclose(model.projection_ / y.std(), 6, rtol=1e-6)


def test_first_layer_on_attention_begins_at_the_scale_of_a_sum():
    rows = np.column_stack([np.eye(3)[RNG.integers(3, size=60)] for _ in range(4)])
    y = rows @ np.arange(12.0)
    options = {"hidden_layer_sizes": (64,), "max_iter": 1, "learning_rate": 1e-12, "random_state": 0}
    pooled, attended = (NFMRegressor(**options, pooling=pooling).fit(rows, y) for pooling in ("sum", "attention"))
    assert attended.coefs_[0].std() / pooled.coefs_[0].std() == pytest.approx(6, rel=0.2)


# --- the torch side ---------------------------------------------------------------------------------------------------


def test_explicit_zeros_of_canonical_rows_are_no_entries():
    rows = sparse.csr_matrix(([1.0, 0.0, 2.0], [0, 1, 2], [0, 3]), shape=(1, 3))
    assert rows.has_canonical_format
    assert CSRRows.from_scipy(rows, torch.device("cpu")).indices.tolist() == [0, 2]


def test_pairs_of_many_distinct_entries_do_not_overflow_int32():
    entries = torch.tensor([49_998, 49_999, 3, 49_999], dtype=torch.int32)  # 50,000^2 is over 2^31
    found = dedup.distinct_pairs(entries, dedup.pair_positions(torch.tensor([0, 2, 4]), 4, 2), 50_000)
    pairs = {(int(i), int(j)) for i, j in zip(found.left, found.right, strict=True)}
    assert pairs == {(49_998, 49_999), (3, 49_999)}


def test_row_of_more_pairs_than_memory_holds_is_not_computed_at_once(monkeypatch):
    monkeypatch.setattr(functional, "attentional_pooling", None)
    parameters = [torch.ones(shape, requires_grad=True) for shape in ((40, 3), (2, 3), (2,), (2,), (3,))]
    row = torch.arange(40), None, torch.tensor([0, 40])  # 780 pairs
    assert dispatch.attentional_interaction(*parameters, *row, max_pairs=100).isfinite().all()


def test_reduced_precision_is_for_training(monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_PLAIN_ELEMENTS", 0)
    batch = torch.arange(9).repeat(20), None, torch.arange(0, 181, 9)
    raw = {}
    for reduced in (True, False):
        module = AFM(9, 8, 8, reduced_precision=reduced, generator=torch.Generator().manual_seed(0))
        torch.nn.init.ones_(module.attention_projection)
        torch.nn.init.normal_(module.factors, generator=torch.Generator().manual_seed(1))
        raw[reduced] = module.eval()(*batch), module.train()(*batch)
    assert torch.equal(raw[True][0], raw[False][0])
    assert not torch.equal(raw[True][1], raw[False][1])


# --- targets ----------------------------------------------------------------------------------------------------------


def test_second_fit_forgets_the_range_of_the_first():
    model = FMRegressor(clip=True, max_iter=2, random_state=0).fit(X, 100 * Y)
    model.fit(X, Y)
    np.testing.assert_array_equal(model._target_range, (Y.min(), Y.max()))


def test_score_of_zero_is_the_first_class():
    model = FMClassifier(max_iter=1, random_state=0).fit(X, Y > 0)
    model.intercept_, model.linear_coef_, model.factors_ = np.float64(0), np.zeros(6), np.zeros((6, 16))
    assert not model.predict(X).any()
