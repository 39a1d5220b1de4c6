"""The levels of numeric columns: frequent values, bins of the others, missing values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skafm.preprocessing._levels import find_levels

NAN = float("nan")


def repeat(counts):
    """Return values as often as a dictionary says."""
    return np.repeat(np.array([*counts], float), [*counts.values()])


def levels_of(x, values=None, *, min_frequency=10, n_bins=20):
    """Return the name of the level of each value, None if it has none; by default of the values in fit."""
    levels = find_levels(np.array(x, float), min_frequency=min_frequency, n_bins=n_bins)
    codes = levels.encode(np.array(x if values is None else values, float))
    return [levels.names[code] if code >= 0 else None for code in codes]


def test_frequent_values_are_levels():
    x = repeat({30: 30, 31: 30, 32.5: 30})
    assert levels_of(x, [30, 31, 32.5]) == ["30", "31", "32.5"]


def test_rare_values_share_a_bin_with_their_neighbors():
    x = repeat({1: 100, 2: 200, 80: 5, 81: 5, 82: 100, 90: 5, 91: 5})
    assert levels_of(x, [1, 2, 80, 81, 82, 90, 91]) == ["1", "2", "80..81", "80..81", "82", "90..91", "90..91"]


def test_too_few_rare_rows_for_two_bins_share_one():
    x = repeat({0: 100, 1: 5, 50: 100, 99: 5})
    assert levels_of(x, [0, 1, 50, 99]) == ["0", "1..99", "50", "1..99"]


def test_continuous_numbers_form_bins_of_equal_numbers_of_rows():
    names = levels_of(np.arange(1000.0), n_bins=4)
    assert [(name, names.count(name)) for name in dict.fromkeys(names)] == [
        ("0..249", 250),
        ("250..499", 250),
        ("500..749", 250),
        ("750..999", 250),
    ]


def test_spike_of_continuous_numbers_is_a_level_and_bins_are_of_the_others():
    x = np.r_[np.zeros(900), np.linspace(1, 2, 100)]
    names = levels_of(x, n_bins=2)
    assert [(name, names.count(name)) for name in dict.fromkeys(names)] == [
        ("0", 900),
        ("1..1.49495", 50),
        ("1.50505..2", 50),
    ]


def test_value_of_a_few_rows_among_continuous_numbers_is_no_level():
    x = np.r_[np.arange(1000.0), np.full(10, 500.0)]
    assert "500" not in levels_of(x)


def test_value_of_less_than_min_frequency_rows_is_no_level():
    x = np.r_[np.arange(60.0), np.full(5, 30.0)]  # 1 / n_bins of the rows are 4
    assert "30" not in levels_of(x, min_frequency=10)


def test_numbers_without_one_between_them_are_two_levels():
    x = 1 + np.arange(1, 9) * np.finfo(float).eps  # the middle of two is rounded up or down
    assert len(set(levels_of(np.repeat(x, 30)))) == 8


def test_frequent_values_are_levels_if_there_are_30_rows_for_each_distinct_value():
    x = repeat(dict.fromkeys(range(40), 30))
    assert {*levels_of(x)} == {str(value) for value in range(40)}
    assert {*levels_of(x[:-1])} == {f"{value}..{value + 1}" for value in range(0, 40, 2)}


def test_number_between_two_levels_has_the_nearer_one():
    x = repeat({0: 50, 10: 50})
    assert levels_of(x, [-100, 4.9, 5.1, 100]) == ["0", "0", "10", "10"]


def test_number_beside_a_spike_has_the_bin_beside_it():
    x = np.r_[np.zeros(900), np.linspace(1, 2, 100), np.full(900, 3.0)]
    assert levels_of(x, [1e-9, 2.999999, 3, 0, 4, -1], n_bins=3) == ["1..1.32323", "1.67677..2", "3", "0", "3", "0"]


def test_missing_numbers_are_a_level_if_there_were_any():
    assert levels_of([1, NAN], [NAN, 1], min_frequency=1) == ["missing", "1"]
    assert levels_of([1, 1], [NAN, 1], min_frequency=1) == [None, "1"]
    assert levels_of([NAN, NAN], [NAN, 1], min_frequency=1) == ["missing", None]


@pytest.mark.parametrize(
    "x", [np.r_[np.zeros(100), np.linspace(1, 2, 900)], repeat(dict.fromkeys(range(40), 29))], ids=["spike", "rare"]
)
def test_missing_numbers_do_not_change_the_other_levels(x):
    assert levels_of(np.r_[x, np.full(3000, NAN)], x) == levels_of(x)


def test_names_have_the_digits_that_tell_them_apart():
    assert levels_of([1234567.0, 1234568.0], min_frequency=1) == ["1234567", "1234568"]
    assert levels_of([0.1 + 0.2, 0.5, -0.0], min_frequency=1) == ["0.3", "0.5", "0"]


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(st.one_of(numbers, st.integers(-3, 3), st.just(NAN)), min_size=1, max_size=60),
    st.integers(1, 12),
    st.integers(1, 8),
)
def test_every_row_has_the_level_that_names_its_value(x, min_frequency, n_bins):
    x = np.array(x, float)
    levels = find_levels(x, min_frequency=min_frequency, n_bins=n_bins)
    codes = levels.encode(x)
    assert set(codes) == set(range(len(levels.names)))
    assert len({*levels.names}) == len(levels.names)
    for value, code in zip(x, codes, strict=True):
        name = levels.names[code]
        if np.isnan(value):
            assert name == "missing"
        else:
            low, high = (float(end) for end in (name.split("..") * 2)[:2])
            assert low - 1e-5 * abs(low) <= value <= high + 1e-5 * abs(high)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.integers(1, 12), st.integers(1, 8))
def test_bins_are_as_many_as_their_rows_allow(x, min_frequency, n_bins):
    levels = find_levels(np.array(x, float), min_frequency=min_frequency, n_bins=n_bins)
    bins = [name for name in levels.names if ".." in name]
    assert len(bins) <= max(1, min(n_bins, len(x) // min_frequency))
    assert len(levels.names) <= max(n_bins, len(x) // min_frequency) + n_bins
