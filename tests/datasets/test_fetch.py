"""Data sets are fetched from a publisher, here a local server with small files."""

import errno
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from skafm.datasets import _download, _fetch, _sources, fetch_frappe, fetch_movielens_tags
from skafm.datasets._libfm import assign_columns, read_one_hot

# Numbers in the order in which they first appear, so that the columns of a field are not adjacent.
NUMBERS = {
    "train": [[0, 1, 2], [3, 1, 4], [0, 5, 4], [6, 1, 2]],
    "validation": [[3, 5, 7], [8, 9, 2]],
    "test": [[6, 9, 7]],
}
TARGETS = {"train": [1, -1, -1, 1], "validation": [-1, 1], "test": [-1]}
FIELD_NAMES = ("user", "app", "sun")


def libfm(numbers, targets, end=b"\n"):
    """Return rows as the publisher writes them."""
    rows = zip(targets, numbers, strict=True)
    return b"".join(f"{y} {' '.join(f'{i}:1' for i in row)}".encode() + end for y, row in rows)


def blob_id(content):
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers from ``server.contents``; each of ``server.faults`` spoils one answer."""

    def do_GET(self):
        self.server.requests.append(self.path)
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "silent":
            self.server.released.wait(10)
            return
        content = self.server.contents.get(self.path)
        code = fault if isinstance(fault, int) else 200 if content else 404
        if code != 200:
            self.send_error(code)
            return
        self.send_response(200)
        if fault != "cut without length":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:-5] if fault in {"cut", "cut without length"} else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.contents, server.faults, server.requests, server.released = {}, [], [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.close = lambda: (server.released.set(), server.shutdown(), server.server_close(), thread.join())
    yield server
    server.close()


@pytest.fixture
def publisher(server, monkeypatch, tmp_path):
    """A substitute for the publisher of Frappe, and a folder to download to."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(_download, "BASE_URL", f"http://127.0.0.1:{server.server_port}/data/")
    contents = {split: libfm(NUMBERS[split], TARGETS[split]) for split in NUMBERS}
    publisher = SimpleNamespace(
        server=server, home=tmp_path, folder=tmp_path / "skafm", options={"data_home": tmp_path}
    )

    def publish(**changed):
        contents.update(changed)
        files = {split: _download.File(f"apps/{split}.libfm", blob_id(contents[split])) for split in contents}
        monkeypatch.setattr(_fetch, "FRAPPE", _sources.Source(FIELD_NAMES, files, "Apps"))
        server.contents.update({f"/data/apps/{split}.libfm": contents[split] for split in contents})

    publisher.publish, publisher.contents = publish, contents
    publisher.file = lambda split: publisher.folder / "apps" / f"{split}.libfm"
    publisher.files = lambda: [path for path in publisher.folder.rglob("*") if path.is_file()]
    publish()
    return publisher


def spoil(publisher, split="train"):
    """Have the server give something else than was published."""
    publisher.server.contents[f"/data/apps/{split}.libfm"] = b"1 0:1 1:1 3:1\n"


@pytest.mark.parametrize("source", [_sources.FRAPPE, _sources.MOVIELENS_TAGS])
def test_table_has_three_splits_with_blob_ids(source):
    assert list(source.files) == ["train", "validation", "test"]
    ids = {file.blob_id for file in source.files.values()}
    assert len(ids) == 3
    assert all(len(i) == 40 and set(i) <= set("0123456789abcdef") for i in ids)
    assert all(split in file.path for split, file in source.files.items())


@pytest.mark.parametrize(("source", "words"), [(_sources.FRAPPE, "1505.03014"), (_sources.MOVIELENS_TAGS, "Harper")])
def test_description_has_citation_and_terms(source, words):
    assert words in source.descr
    assert "Terms of use" in source.descr
    assert "commercial" in source.descr
    assert max(map(len, source.descr.splitlines())) <= 120


def test_publisher_is_at_a_fixed_commit():
    assert _download.BASE_URL.startswith("https://raw.githubusercontent.com/hexiangnan/")
    assert _download.COMMIT in _download.BASE_URL


def test_blob_id_is_gits():
    assert _download._verify(b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a") == ""


def test_fetch_returns_the_rows(publisher):
    bunch = fetch_frappe(**publisher.options)
    numbers = np.concatenate(list(NUMBERS.values()))
    names = [[f"{name}_{i}" for name, i in zip(FIELD_NAMES, row, strict=True)] for row in numbers]
    assert bunch.data.shape == (7, 10)
    assert bunch.data.dtype == bunch.target.dtype == np.float32
    assert bunch.data.format == "csr"
    assert bunch.feature_names[bunch.data.indices.reshape(7, 3)].tolist() == names
    assert (bunch.data.toarray().sum(1) == 3).all()
    np.testing.assert_array_equal(bunch.target, np.concatenate(list(TARGETS.values())))
    assert bunch.DESCR == "Apps"


def test_fetch_finds_the_field_of_each_column(publisher):
    bunch = fetch_frappe(**publisher.options)
    assert bunch.field_names == list(FIELD_NAMES)
    assert bunch.fields.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert bunch.feature_names.tolist() == [
        *("user_0", "user_3", "user_6", "user_8"),
        *("app_1", "app_5", "app_9"),
        *("sun_2", "sun_4", "sun_7"),
    ]


def test_fetch_makes_sorted_rows(publisher):
    indices = fetch_frappe(**publisher.options).data.indices.reshape(7, 3)
    assert (np.diff(indices) > 0).all()


def test_fetch_returns_the_rows_of_the_splits(publisher):
    bunch = fetch_frappe(**publisher.options)
    assert list(bunch.splits) == ["train", "validation", "test"]
    for split, rows in bunch.splits.items():
        assert bunch.target[rows].tolist() == TARGETS[split]
        assert bunch.data[rows].shape[0] == len(TARGETS[split])


def test_fetch_returns_X_y(publisher):
    X, y = fetch_frappe(return_X_y=True, **publisher.options)
    bunch = fetch_frappe(**publisher.options)
    assert (bunch.data != X).nnz == 0
    np.testing.assert_array_equal(y, bunch.target)


def test_tags_come_from_their_own_files(publisher, monkeypatch):
    source = _fetch.FRAPPE._replace(field_names=("user", "movie", "tag"), descr="Tags")
    monkeypatch.setattr(_fetch, "MOVIELENS_TAGS", source)
    bunch = fetch_movielens_tags(**publisher.options)
    assert bunch.feature_names[-1] == "tag_7"
    assert bunch.DESCR == "Tags"
    X, y = fetch_movielens_tags(return_X_y=True, **publisher.options)
    assert X.shape == (7, 10)
    assert y.tolist() == bunch.target.tolist()


def test_second_fetch_needs_no_server(publisher):
    before = fetch_frappe(**publisher.options)
    publisher.server.close()
    after = fetch_frappe(download_if_missing=False, **publisher.options)
    assert (before.data != after.data).nnz == 0
    assert len(publisher.server.requests) == 3


def test_cached_files_are_the_publishers_bytes(publisher):
    fetch_frappe(**publisher.options)
    assert len(publisher.files()) == 3
    assert publisher.file("train").read_bytes() == publisher.contents["train"]


def test_data_home_defaults_to_that_of_scikit_learn(publisher, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(publisher.home / "elsewhere"))
    fetch_frappe()
    assert (publisher.home / "elsewhere" / "skafm" / "apps" / "train.libfm").exists()


def test_file_copied_by_hand_is_read(publisher):
    publisher.server.close()
    publisher.file("train").parent.mkdir(parents=True)
    for split, content in publisher.contents.items():
        publisher.file(split).write_bytes(content)
    assert fetch_frappe(**publisher.options).data.shape == (7, 10)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("cut", "IncompleteRead"), ("cut without length", "git blob id"), (404, "404"), (503, "503")],
)
def test_broken_download_leaves_no_file(publisher, fault, reason):
    publisher.server.faults = [fault]
    with pytest.raises(OSError, match=reason) as caught:
        fetch_frappe(n_retries=0, **publisher.options)
    message = str(caught.value)
    assert str(publisher.file("train")) in message
    assert f"{_download.BASE_URL}apps/train.libfm" in message
    assert "try again" in message
    assert "data_home" in message
    assert publisher.files() == []


def test_wrong_content_leaves_no_file(publisher):
    spoil(publisher)
    with pytest.raises(
        OSError, match=rf"response has 14 bytes and git blob id {blob_id(b'1 0:1 1:1 3:1' + bytes([10]))}, expected"
    ):
        fetch_frappe(n_retries=0, **publisher.options)
    assert publisher.files() == []


def test_files_before_a_broken_one_are_kept(publisher):
    spoil(publisher, "test")
    with pytest.raises(OSError, match=r"test\.libfm"):
        fetch_frappe(n_retries=0, **publisher.options)
    assert {path.name for path in publisher.files()} == {"train.libfm", "validation.libfm"}


def test_server_that_is_down_is_an_error(publisher):
    publisher.server.close()
    with pytest.raises(OSError, match="could not be downloaded from http"):
        fetch_frappe(n_retries=0, **publisher.options)
    assert publisher.files() == []


def test_silent_server_is_an_error(publisher, monkeypatch):
    monkeypatch.setattr(_download, "TIMEOUT", 0.1)
    publisher.server.faults = ["silent"]
    with pytest.raises(OSError, match="timed out"):
        fetch_frappe(n_retries=0, **publisher.options)


@pytest.mark.parametrize("fault", ["cut", "cut without length", 503, 429])
def test_transient_fault_is_retried(publisher, fault):
    publisher.server.faults = [fault]
    with pytest.warns(UserWarning, match=r"train\.libfm: .*Trying again in 0 s") as warned:
        bunch = fetch_frappe(n_retries=1, delay=0, **publisher.options)
    assert bunch.data.shape == (7, 10)
    assert [Path(warning.filename).name for warning in warned] == ["test_fetch.py"]


def test_retries_are_counted(publisher):
    publisher.server.faults = [503] * 9
    with pytest.warns(UserWarning, match="Trying again") as warned, pytest.raises(OSError, match="503"):
        fetch_frappe(n_retries=2, delay=0, **publisher.options)
    assert len(warned) == 2
    assert len(publisher.server.requests) == 3


def test_delay_is_waited_between_retries(publisher, monkeypatch):
    waits = []
    monkeypatch.setattr(_download.time, "sleep", waits.append)
    publisher.server.faults = [503, 503]
    with pytest.warns(UserWarning, match="Trying again in 1.5 s"):
        fetch_frappe(delay=1.5, **publisher.options)
    assert waits == [1.5, 1.5]


def test_missing_page_is_requested_once(publisher):
    publisher.server.contents.clear()
    with pytest.raises(OSError, match="404"):
        fetch_frappe(**publisher.options)
    assert len(publisher.server.requests) == 1


def test_missing_file_is_an_error_without_download(publisher):
    with pytest.raises(OSError, match=r"train\.libfm is missing: set download_if_missing=True, copy http.*data_home"):
        fetch_frappe(download_if_missing=False, **publisher.options)
    assert publisher.server.requests == []


def test_changed_file_is_downloaded_again(publisher):
    fetch_frappe(**publisher.options)
    publisher.file("validation").write_bytes(b"1 0:1 1:1 2:1\n")
    with pytest.warns(UserWarning, match=r"validation\.libfm has 14 bytes .*downloading it again") as warned:
        assert fetch_frappe(**publisher.options).data.shape == (7, 10)
    assert publisher.file("validation").read_bytes() == publisher.contents["validation"]
    assert Path(warned[0].filename).name == "test_fetch.py"


def test_changed_file_is_an_error_without_download(publisher):
    fetch_frappe(**publisher.options)
    publisher.file("validation").write_bytes(b"")
    with pytest.raises(OSError, match=r"validation\.libfm has 0 bytes and git blob id .* set download_if_missing=True"):
        fetch_frappe(download_if_missing=False, **publisher.options)


def test_full_disk_leaves_no_file(publisher, monkeypatch):
    def write_half(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match=r"train\.libfm could not be written .*No space.* data_home"):
        fetch_frappe(**publisher.options)
    assert publisher.files() == []


def test_interruption_leaves_no_file(publisher, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_frappe(**publisher.options)
    assert publisher.files() == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_both_line_ends_are_read(publisher, end):
    publisher.publish(validation=libfm(NUMBERS["validation"], TARGETS["validation"], end))
    bunch = fetch_frappe(**publisher.options)
    assert bunch.target[bunch.splits["validation"]].tolist() == TARGETS["validation"]
    assert bunch.data.shape == (7, 10)


def test_feature_in_two_places_is_an_error(publisher):
    publisher.publish(test=libfm([[6, 2, 7]], [1]))
    with pytest.raises(ValueError, match="Feature 2 is at position 1 in row 6, but was at position 2"):
        fetch_frappe(**publisher.options)


@pytest.mark.parametrize("line", [b"1 0:1 1:1\n", b"1 0:1 1:1 2:0.5\n", b"1 0:1 1:1 2:1 7:1\n"])
def test_other_lines_are_an_error(publisher, line):
    publisher.publish(test=line)
    with pytest.raises(ValueError, match=r"test\.libfm: expected lines of a target and 3 features 'number:1', got"):
        fetch_frappe(**publisher.options)


@pytest.mark.parametrize("wrong", [{"n_retries": -1}, {"delay": -0.5}])
def test_wrong_parameters_are_an_error(publisher, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} == .*must be >= 0"):
        fetch_frappe(**publisher.options, **wrong)


def test_large_file_is_read_as_written():
    rng = np.random.default_rng(0)
    numbers = rng.integers([0, 30_000, 60_000], [30_000, 60_000, 90_000], (100_000, 3))
    targets = rng.choice([-1, 1], 100_000)
    read_targets, read_numbers = read_one_hot(libfm(numbers, targets, b"\r\n"), "large", 3)
    np.testing.assert_array_equal(read_targets, targets)
    np.testing.assert_array_equal(read_numbers, numbers)


def test_numbers_of_adjacent_fields_are_the_columns():
    rng = np.random.default_rng(0)
    numbers = np.add.outer(rng.permutation(np.arange(90) % 9), [0, 9, 18])
    columns = assign_columns(numbers)
    np.testing.assert_array_equal(columns.indices, numbers)
    np.testing.assert_array_equal(columns.numbers, np.arange(27))
