"""Small steps use one thread, and nothing of it is left or seen elsewhere."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from skafm import AFMRegressor, FMRegressor, NFMRegressor, WideDeepRegressor
from skafm._training.threads import MANY_PRODUCTS, limit_threads
from skafm.nn._base import Model

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X = np.eye(6)[np.arange(60) % 6] + np.eye(6)[(np.arange(60) * 7 + 1) % 6]
Y = np.sin(np.arange(60.0))


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seen(monkeypatch):
    """The number of threads in each call of a model, with whether it is training."""
    found, call = [], Model.__call__

    def spy(self, *args, **kwargs):
        found.append((self.training, torch.get_num_threads()))
        return call(self, *args, **kwargs)

    monkeypatch.setattr(Model, "__call__", spy)
    return found


def test_small_step_uses_one_thread_and_large_one_all():
    with limit_threads(MANY_PRODUCTS - 1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with limit_threads(MANY_PRODUCTS):
        assert torch.get_num_threads() == 3


def test_limit_ends_with_an_error():
    with pytest.raises(KeyboardInterrupt), limit_threads(0):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 3


def test_other_threads_do_not_notice():
    """Neither one that is there, nor one that begins under the limit."""
    with ThreadPoolExecutor(1) as old:
        assert old.submit(torch.get_num_threads).result() == 3
        with limit_threads(0), ThreadPoolExecutor(1) as new:
            assert old.submit(torch.get_num_threads).result() == 3
            assert new.submit(torch.get_num_threads).result() == 3
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 3


@pytest.mark.parametrize("Estimator", [FMRegressor, AFMRegressor])
def test_default_fit_trains_and_validates_with_one_thread(Estimator, seen):
    model = Estimator(max_iter=2, early_stopping=True, random_state=0).fit(X, Y)
    assert {training for training, _ in seen} == {True, False}
    assert {n for _, n in seen} == {1}
    assert torch.get_num_threads() == 3
    del seen[:]
    model.predict(X)
    assert {n for _, n in seen} == {3}


@pytest.mark.parametrize(
    "model",
    [
        AFMRegressor(512, attention_size=1024, init="random"),
        NFMRegressor(hidden_layer_sizes=(2048, 2048)),
        WideDeepRegressor(hidden_layer_sizes=(2048, 2048), fields=[0, 0, 0, 1, 1, 1]),
    ],
    ids=["AFM", "NFM", "WideDeep"],
)
def test_large_products_use_all_threads(model, seen):
    """60 rows of two features in one batch, of which AFM has one pair each."""
    rows, y = (X, Y) if not isinstance(model, AFMRegressor) else (np.tile(X, (5, 1)), np.tile(Y, 5))
    model.set_params(max_iter=1, batch_size=300, early_stopping=False, random_state=0).fit(rows, y)
    assert {n for training, n in seen if training} == {3}


@pytest.mark.parametrize(("batch_size", "expected"), [(10, 1), (60, 3)])
def test_products_of_a_step_count_not_those_of_all_rows(batch_size, expected, seen, monkeypatch):
    monkeypatch.setattr("skafm._training.threads.MANY_PRODUCTS", 500)  # 16 for each of 60 rows of one pair
    AFMRegressor(4, attention_size=4, init="random", max_iter=1, batch_size=batch_size).fit(X, Y)
    assert {n for training, n in seen if training} == {expected}


def test_caller_between_the_epochs_has_its_threads():
    found = []

    def scorer(model, X, y):
        found.append(torch.get_num_threads())
        return model.score(X, y)

    FMRegressor(max_iter=2, early_stopping=True, scoring=scorer).fit(X, Y)
    assert set(found) == {3}
