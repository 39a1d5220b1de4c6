"""From NumPy and SciPy to torch and back."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ragged_matrix

from skafm._training import conversion
from skafm._training.collectives import SINGLE_PROCESS
from skafm.nn import FM

CPU = torch.device("cpu")


@pytest.mark.parametrize("device", ["cpu", CPU])
def test_device_may_be_a_name_or_a_torch_device(device):
    assert conversion.resolve_device(device) == CPU


def test_automatic_device_is_cuda_where_there_is_one():
    assert conversion.resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_weights_get_mean_one(scale):
    weight = scale * np.arange(1.0, 6.0)
    data = conversion.to_dataset(ragged_matrix(5), np.zeros(5), weight, SINGLE_PROCESS, CPU)
    np.testing.assert_allclose(data.weight, np.arange(1.0, 6.0) / 3, rtol=1e-12)


def test_equal_weights_are_none():
    assert conversion.to_dataset(ragged_matrix(5), np.zeros(5), np.full(5, 7.0), SINGLE_PROCESS, CPU).weight is None


def arrays(model):
    """Return copies of a model's parameters as arrays."""
    return {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}


def test_loaded_parameters_are_rescaled():
    model, X = FM(9, 3, dtype=torch.float64), ragged_matrix()
    before = conversion.predict_raw(model, X, CPU, 2**30)
    loaded = FM(9, 3, device="meta", dtype=torch.float64)
    conversion.load_parameters(loaded, arrays(model), 5.0, 3.0, CPU)
    np.testing.assert_allclose(conversion.predict_raw(loaded, X, CPU, 2**30), 5.0 + 3.0 * before, rtol=1e-12)


@pytest.mark.parametrize("writable", [True, False])
def test_shared_parameters_have_the_memory_of_the_arrays(writable):
    given, model = arrays(FM(9, 3)), FM(9, 3, device="meta")
    given["factors"].setflags(write=writable)
    conversion.load_shared(model, given, CPU)
    assert model.factors.data_ptr() == given["factors"].ctypes.data


def test_intercept_is_set_in_the_linear_part():
    model = FM(9, 3, n_outputs=2)
    conversion.set_intercept(model, np.array([1.0, 2.0]))
    assert model.linear.intercept.tolist() == [1.0, 2.0]


REGIONS = """
import ctypes, warnings
import numpy as np, torch
from skafm import FMRegressor
warnings.simplefilter("ignore")

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in "arena ordblks smblks hblks hblkhd".split() + list("abcde")]

mallinfo = ctypes.CDLL(None).mallinfo
mallinfo.restype = Info

X = np.eye(3)
FMRegressor(2, max_iter=1).fit(X, X[0])
before = mallinfo().hblks  # regions that are the kernel's again as soon as they are freed
tensor = torch.empty(7 * 2**20)  # 28 MiB
print(mallinfo().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
def test_memory_of_a_step_is_kept_for_the_next():
    run = subprocess.run([sys.executable, "-c", REGIONS], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["0"]
