"""The paper's experiments run, record what they find, and resume where they were interrupted."""

import argparse
import importlib
import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.utils import Bunch

PAPER = Path(__file__).parent.parent / "examples" / "paper"
EXPERIMENTS = ["figure2", "figure3", "figure4", "figure5", "known_pairs", "table1", "table2"]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows of three fields whose target is an interaction, as the experiments read them."""
    path, rng = tmp_path_factory.mktemp("paper"), np.random.default_rng(0)
    for split, n in {"train": 300, "validation": 100, "test": 100}.items():
        values = rng.integers(4, size=(n, 3))
        y = np.where((values[:, 0] < 2) == (values[:, 1] < 2), 1, -1)
        np.savez(path / f"mltags_{split}.npz", X=values + np.array([0, 4, 8]), y=y)
    return path


def run(experiment, folder, monkeypatch, *more):
    """Run an experiment's command in this process, and return its results."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.syspath_prepend(PAPER)
    options = [
        "--data",
        str(folder),
        "--name",
        "mltags",
        "--factors",
        "4",
        "--max-iter",
        "2",
        "--out",
        str(folder / "out"),
    ]
    monkeypatch.setattr(sys, "argv", [experiment, *options, *more])
    runpy.run_path(str(PAPER / f"{experiment}.py"), run_name="__main__")
    return [json.loads(line) for line in (folder / "out" / f"{experiment}_mltags_4.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_runs_and_is_not_run_again(experiment, folder, monkeypatch, capsys):
    runs = run(experiment, folder, monkeypatch)
    for each in runs:
        assert each["settings"]["random_state"] == 0 or experiment == "table2"
        assert {"rmse", "epochs", "seconds", "peak_MB", "parameters", "machine", "versions"} <= each.keys()
        assert 0 < each["rmse"]["validation"] < 1.5
    picture = folder / "out" / f"{experiment}_mltags_4.png"
    assert picture.exists() == experiment.startswith("figure")
    printed = capsys.readouterr()
    assert f"{'#' * 30}] " in printed.err
    assert run(experiment, folder, monkeypatch) == runs


def test_fetched_data_are_what_a_folder_holds(folder, monkeypatch):
    monkeypatch.syspath_prepend(PAPER)
    protocol = importlib.import_module("protocol")
    options = argparse.Namespace(data=folder, name="mltags", rows=None)
    expected = protocol.load(options)
    parts = [expected[split] for split in ("train", "validation", "test")]
    whole = Bunch(data=sparse.vstack([X for X, _ in parts]).tocsr(), target=np.concatenate([y for _, y in parts]))
    whole.splits = {"train": slice(300), "validation": slice(300, 400), "test": slice(400, 500)}
    monkeypatch.setitem(protocol.FETCH, "mltags", lambda: whole)
    options.data = None
    for split, (X, y) in protocol.load(options).items():
        assert (expected[split][0] != X).nnz == 0
        assert np.array_equal(y, expected[split][1])


def test_interrupted_experiment_resumes_after_its_last_complete_run(folder, monkeypatch):
    runs = run("figure3", folder, monkeypatch)
    path = folder / "out" / "figure3_mltags_4.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in runs[:-2]))
    again = run("figure3", folder, monkeypatch)
    assert again[:-2] == runs[:-2]
    assert [each["key"] for each in again] == [each["key"] for each in runs]
    assert [each["rmse"] for each in again] == [each["rmse"] for each in runs]


def test_seeds_and_trials_of_table_2_are_the_same_number_for_each_method(folder, tmp_path, monkeypatch, capsys):
    for path in folder.glob("*.npz"):  # without what other tests have recorded
        shutil.copy(path, tmp_path)
    runs = run("table2", tmp_path, monkeypatch, "--methods", "FM", "AFM", "--trials", "2", "--seeds", "2")
    table = capsys.readouterr().out
    for method in ("FM", "AFM"):
        mine = [each["key"] for each in runs if each["key"]["method"] == method]
        assert len({json.dumps(key) for key in mine}) == len(mine)
        tried = [each for each in runs if each["key"] in mine and each["key"]["seed"] == 0]
        best = min(tried, key=lambda each: each["rmse"]["validation"])["key"]
        assert [key for key in mine if key["seed"] == 1] == [{**best, "seed": 1}]
        assert f"\n{method}" in table


def test_leaderboard_has_scores_of_each_split_and_of_the_mean(folder, monkeypatch, capsys):
    methods = ["LR", "FM", "parallel AFM"]
    runs = run("leaderboard", folder, monkeypatch, "--methods", *methods, "--trials", "1", "--seeds", "2")
    assert sorted(each["key"]["method"] for each in runs) == sorted(2 * methods)
    for each in runs:
        for split in ("validation", "test"):
            assert 0 < each[split]["auc"] <= 1
            assert each[split]["log_loss"] > 0
            assert len(each["probability"][split]) == 100
    table = capsys.readouterr().out
    assert all(f"\n{method} " in table for method in methods)


def test_table_1_attention_and_scores_give_the_prediction(folder, monkeypatch, capsys):
    run("table1", folder, monkeypatch)
    lines = [line for line in capsys.readouterr().out.splitlines() if line[:1] in "123"]
    assert len(lines) == 6
    for line in lines:
        pairs = [part.split("*") for part in line.replace("* ", "*").split()[2:-1]]
        assert sum(float(a) for a, _ in pairs) == pytest.approx(1, abs=0.02)


def test_known_pairs_counts_the_other_rows(folder, monkeypatch):
    run("known_pairs", folder, monkeypatch)
    found = runpy.run_path(str(PAPER / "known_pairs.py"))
    (X, y), (X_val, _) = found["splits"]["train"], found["splits"]["validation"]
    train, new = (rows.indices.reshape(-1, 3) for rows in (X, X_val))
    for rows, counts, own in ((train, found["counts"], 1), (new, found["counts_val"], 0)):
        for i in range(0, len(rows), 7):
            for field in (0, 1):
                same = (train[:, [field, 2]] == rows[i, [field, 2]]).all(axis=1)
                expected = [np.sum(same & (y == sign)) - own * (y[i] == sign) for sign in (1, -1)]
                assert counts[i, 2 * field : 2 * field + 2].tolist() == expected
    shares = found["errors"](np.array([3.0, 0.0, -1.0]), np.array([1, 1, -1]), np.array([0, 1, 1]))
    assert shares == {"all": 0.5774, "0": 0.0, "1": 0.7071}  # clipped: errors of 0, 1 and 0
