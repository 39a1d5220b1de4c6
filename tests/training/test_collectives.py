"""Groups of processes: the current one, sums, and settings that must agree."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from skafm._training.collectives import (
    SINGLE_PROCESS,
    ProcessGroup,
    Step,
    check_same_settings,
    current_group,
    use_group,
)


class Ranks(ProcessGroup):
    """Rank 0 of processes whose values are known beforehand."""

    rank = 0

    def __init__(self, *others):
        self.others = others

    def all_gather(self, value):
        return [value, *self.others]

    def broadcast(self, parameters):
        """Do nothing."""

    def all_reduce(self, step, share, parameters):  # noqa: ARG002
        return step


def test_single_process_gathers_its_own_value():
    value = object()
    assert SINGLE_PROCESS.all_gather(value) == [value]


def test_single_process_returns_its_own_step():
    step = Step(None, {}, {}, None, [])
    assert SINGLE_PROCESS.all_reduce(step, 1.0, {}) is step


@pytest.mark.parametrize(("group", "total"), [(SINGLE_PROCESS, 3), (Ranks(4, 5), 12)], ids=["one", "three"])
def test_sum_is_that_of_all_ranks(group, total):
    assert group.all_reduce_sum(3) == total


def test_group_is_a_single_process_by_default():
    assert current_group() is SINGLE_PROCESS


def test_innermost_group_is_the_current_one():
    outer, inner = Ranks(), Ranks()
    with use_group(outer):
        assert current_group() is outer
        with use_group(inner):
            assert current_group() is inner
        assert current_group() is outer
    assert current_group() is SINGLE_PROCESS


def test_group_ends_with_its_context_after_an_error():
    with pytest.raises(LookupError), use_group(Ranks()):
        raise LookupError
    assert current_group() is SINGLE_PROCESS


def test_fit_in_another_thread_is_refused():
    active = "data_parallel is active in another thread"
    with use_group(Ranks()), ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match=active):
        pool.submit(current_group).result()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(current_group).result() is SINGLE_PROCESS


def test_same_settings_are_accepted():
    check_same_settings(Ranks({"tol": 0.1}, {"tol": 0.1}), {"tol": 0.1})


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([{"n": 1, "tol": 0.1}, {"n": 1, "tol": 0.2}], r"tol is 0\.1 on rank 0 and 0\.2 on rank 2"),
        ([{"n": 1}], r"tol is 0\.1 on rank 0 and absent on rank 1"),
        ([{"n": 1, "tol": 0.1, "order": 3}], r"order is absent on rank 0 and 3 on rank 1"),
    ],
    ids=["another value", "absent", "absent on rank 0"],
)
def test_different_setting_is_named_with_both_values_and_ranks(others, message):
    with pytest.raises(ValueError, match=f"All ranks must fit the same model on the same columns, but {message}"):
        check_same_settings(Ranks(*others), {"n": 1, "tol": 0.1})


def test_long_settings_are_cut_in_the_message():
    with pytest.raises(ValueError, match=r"names is a+ on rank 0") as caught:
        check_same_settings(Ranks({"names": "b" * 10_000}), {"names": "a" * 10_000})
    assert len(str(caught.value)) < 600
