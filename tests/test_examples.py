import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import skafm

ROOT = Path(__file__).parent.parent


@pytest.mark.site
def test_stream_learns_in_constant_memory(tmp_path):
    def run(rows):
        script = shlex.join([sys.executable, str(ROOT / "examples" / "stream_svmlight.py"), "--rows", str(rows)])
        # By a shell: a process's peak memory begins at the size of the one that starts it, and pytest is large.
        command = ["sh", "-c", f"{script}; exit $?"]
        # What is freed goes back to the system at once (glibc), or it would count as well.
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        output = subprocess.run(
            command, check=True, cwd=tmp_path, capture_output=True, text=True, env=environment
        ).stdout
        assert f"{rows:,} rows" in output
        return float(output.split("peak memory ")[1].split(" MB")[0])

    assert run(320_000) < run(40_000) + 9  # the rows themselves would take 13 MB


@pytest.mark.site
def test_ranks_train_one_model(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = ["--master-addr", "127.0.0.1", "--master-port", str(free.getsockname()[1])]
    script = [str(ROOT / "examples" / "train_distributed.py"), "--rows", "2000"]
    command = [sys.executable, "-m", "torch.distributed.run", *address, "--nproc-per-node", "2", *script]
    output = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "2 ranks" in output


@pytest.mark.site
def test_search_runs_on_dask(tmp_path):
    command = [sys.executable, str(ROOT / "examples" / "search_on_dask.py"), "--rows", "500"]
    output = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "best of 9 settings" in output


def test_readme_has_its_two_commands_first_each_on_one_line():
    fences = (ROOT / "README.md").read_text().split("```")[1::2][:2]
    assert all(fence.startswith("sh\n") and fence.count("\n") == 2 for fence in fences)
    assert "examples/plot_flight_delays.py" in fences[0]
    assert "pytest" in fences[1]


def test_package_says_that_it_is_typed():
    assert (Path(skafm.__file__).parent / "py.typed").exists()
