"""On Dask: a search on a cluster of two worker processes, and prediction part by part."""

import os

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.distributed import Client, Future, LocalCluster
from joblib import parallel_config
from scipy import sparse
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skafm import BayesianFMRegressor, FMClassifier, FMRegressor

GRID = {"dropout": [0.0, 0.3], "l2_factors": [0.001, 0.1]}


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # few epochs do here


@pytest.fixture(scope="module")
def client():
    local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(**local) as cluster, Client(cluster) as client:
        yield client


def table():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 5, (2000, 4))
    return X, (X[:, 0] == X[:, 1]) + rng.normal(0, 0.1, len(X))


def search():
    model = FMRegressor(n_factors=4, max_iter=5, tol=1.0, random_state=0)
    return GridSearchCV(make_pipeline(OneHotEncoder(), model), {f"fmregressor__{k}": v for k, v in GRID.items()}, cv=3)


@pytest.mark.usefixtures("client")
def test_search_on_two_workers_equals_one_process():
    X, y = table()
    with parallel_config("dask", scatter=[X, y]):
        found = search().fit(X, y)
    alone = search().set_params(n_jobs=1).fit(X, y)
    assert found.best_params_ == alone.best_params_
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], rtol=1e-6)


def test_cluster_is_of_two_other_processes_of_one_thread_each(client):
    processes = client.run(os.getpid)
    assert len({*processes.values(), os.getpid()}) == 3
    assert set(client.nthreads().values()) == {1}


@pytest.mark.usefixtures("client")
def test_scattered_rows_leave_this_process_once(monkeypatch):
    X, y = table()
    scattered, given = [], []
    scatter, submit = Client.scatter, Client.submit

    def scattering(self, data, *args, **options):
        scattered.extend(data if isinstance(data, list) else [data])
        return scatter(self, data, *args, **options)

    def submitting(self, *args, tasks=(), **options):
        given.extend(each for _, args_, options_ in tasks for each in (*args_, *options_.values()))
        return submit(self, *args, tasks=tasks, **options)

    monkeypatch.setattr(Client, "scatter", scattering)
    monkeypatch.setattr(Client, "submit", submitting)
    with parallel_config("dask", scatter=[X, y]):
        search().fit(X, y)
    assert [sum(each is rows for each in scattered) for rows in (X, y)] == [1, 1]
    assert sum(isinstance(each, Future) for each in given) >= 2 * 12  # the fits are given what was scattered
    assert not any(each is rows for each in given for rows in (X, y))


def test_array_is_predicted_block_by_block():
    X, y = table()
    model = FMRegressor(max_iter=3, tol=1.0, random_state=0).fit(X, y)
    blocks = da.from_array(X, chunks=(300, -1))
    found = blocks.map_blocks(model.predict, dtype=model.factors_.dtype, drop_axis=1)
    np.testing.assert_allclose(found.compute(scheduler="threads"), model.predict(X), rtol=1e-10)


def test_probabilities_are_predicted_block_by_block():
    X, y = table()
    model = FMClassifier(max_iter=3, tol=1.0, random_state=0).fit(X, y > 0.5)
    blocks = da.from_array(X, chunks=(300, -1))
    found = blocks.map_blocks(model.predict_proba, dtype=float, chunks=(blocks.chunks[0], (2,)))
    np.testing.assert_allclose(found.compute(scheduler="threads"), model.predict_proba(X), rtol=1e-10)


def test_sparse_blocks_are_predicted_block_by_block():
    X, y = table()
    model = FMRegressor(max_iter=3, tol=1.0, random_state=0).fit(X, y)
    blocks = da.from_array(X, chunks=(300, -1)).map_blocks(sparse.csr_array)
    found = blocks.map_blocks(model.predict, dtype=model.factors_.dtype, drop_axis=1)
    np.testing.assert_allclose(found.compute(scheduler="threads"), model.predict(X), rtol=1e-10)


def test_table_is_predicted_part_by_part():
    X, y = table()
    X = pd.DataFrame(X, columns=list("abcd"))
    model = make_pipeline(OneHotEncoder(), FMRegressor(max_iter=3, tol=1.0, random_state=0)).fit(X, y)
    parts = dd.from_pandas(X, npartitions=3)
    found = parts.map_partitions(model.predict, meta=np.empty(0))
    np.testing.assert_allclose(found.compute(scheduler="threads"), model.predict(X), rtol=1e-10)


def test_deviations_are_predicted_block_by_block():
    X, y = table()
    model = BayesianFMRegressor(2, max_iter=8, random_state=0).fit(X, y)
    blocks = da.from_array(X, chunks=(300, -1))
    both = blocks.map_blocks(
        lambda rows: np.column_stack(model.predict(rows, return_std=True)), dtype=float, chunks=(blocks.chunks[0], (2,))
    )
    expected = np.column_stack(model.predict(X, return_std=True))
    np.testing.assert_allclose(both.compute(scheduler="threads"), expected, rtol=1e-10)
