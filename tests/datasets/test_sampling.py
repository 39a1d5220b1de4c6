import numpy as np
import pytest
from sklearn.preprocessing import OneHotEncoder

from skafm.datasets import sample_negatives


@pytest.fixture
def logs():
    """User, app, weather of 3000 logs, in which 40 users used some of 30 apps."""
    rng = np.random.default_rng(0)
    return np.column_stack(
        [rng.integers(0, 40, 3000) * 7, rng.integers(0, 30, 3000) ** 2 // 30, rng.integers(0, 4, 3000)]
    )


def seen(rows, columns):
    return set(map(tuple, rows[:, columns].tolist()))


@pytest.mark.parametrize("n_negatives", [1, 2, 5])
def test_each_log_is_followed_by_its_negatives(logs, n_negatives):
    rows, target = sample_negatives(logs, item_column=1, user_columns=[0, 2], n_negatives=n_negatives, random_state=0)
    blocks = rows.reshape(3000, 1 + n_negatives, 3)
    np.testing.assert_array_equal(blocks[:, 0], logs)
    np.testing.assert_array_equal(target.reshape(3000, -1), [[1] + [-1] * n_negatives] * 3000)
    assert target.dtype == np.float32


def test_everything_but_the_field_is_kept(logs):
    rows, _ = sample_negatives(logs, item_column=1, user_columns=[0, 2], random_state=0)
    np.testing.assert_array_equal(rows[:, [0, 2]], np.repeat(logs[:, [0, 2]], 3, axis=0))


@pytest.mark.parametrize("given", [0, (0,), [0, 2], [2, 0]])
def test_drawn_value_was_never_seen(logs, given):
    logs = logs[:300]
    rows, target = sample_negatives(logs, item_column=1, user_columns=given, random_state=0)
    columns = [*np.atleast_1d(given), 1]
    assert not seen(rows[target < 0], columns) & seen(logs, columns)
    assert set(rows[:, 1]) == set(logs[:, 1])


def test_more_is_left_to_draw_when_more_is_given(logs):
    rows, target = sample_negatives(logs, item_column=1, user_columns=[0, 2], random_state=0)
    assert seen(rows[target < 0], [0, 1]) & seen(logs, [0, 1])


def test_draws_are_uniform():
    """User 0 used 3 apps of 10; each of the others is drawn as often, within 5 deviations of the chi-square."""
    logs = np.array([[0, 1], [0, 4], [0, 9]] * 700 + [[1, app] for app in range(9)])
    rows, target = sample_negatives(logs, item_column=1, user_columns=0, n_negatives=10, random_state=0)
    counts = np.bincount(rows[(rows[:, 0] == 0) & (target < 0), 1], minlength=10)
    unseen = [0, 2, 3, 5, 6, 7, 8]
    assert counts.sum() == counts[unseen].sum() == 21_000
    assert ((counts[unseen] - 3000) ** 2 / 3000).sum() < 6 + 5 * np.sqrt(2 * 6)


def test_same_seed_draws_the_same(logs):
    draw = lambda seed: sample_negatives(logs, item_column=1, user_columns=[0, 2], random_state=seed)[0]  # noqa: E731
    np.testing.assert_array_equal(draw(3), draw(3))
    np.testing.assert_array_equal(draw(3), draw(np.random.RandomState(3)))
    assert (draw(3) != draw(4)).any()


def test_seeded_draw_leaves_numpys_generator_and_the_logs_alone(logs):
    before, copy = np.random.get_state()[1].copy(), logs.copy()  # noqa: NPY002
    sample_negatives(logs, item_column=1, user_columns=[0, 2], random_state=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.testing.assert_array_equal(logs, copy)


def test_last_unseen_value_is_found():
    """Each of 1000 users has used all but one of 1000 apps."""
    users, apps = np.divmod(np.arange(1_000_000), 1000)
    used = apps != (users * 7) % 1000
    rows, target = sample_negatives(np.column_stack([users, apps])[used], item_column=1, user_columns=0, n_negatives=1)
    drawn = rows[target < 0]
    np.testing.assert_array_equal(drawn[:, 1], drawn[:, 0] * 7 % 1000)


def test_who_used_everything_is_an_error():
    logs = [[5, 0], [6, 0], [6, 1], [6, 2]]
    with pytest.raises(
        ValueError, match=r"3 logs, the first in row 1, have no item \(column 1\) to draw: column 0 = 6 was observed"
    ):
        sample_negatives(logs, item_column=1, user_columns=0)


def test_strings_and_frames_are_drawn_from():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"user": ["ann", "bob", "cem"], "app": ["chess", "mail", "mail"], "age": [30, 40, 50]})
    rows, target = sample_negatives(frame, item_column=1, user_columns=0, random_state=0)
    assert rows[target > 0].tolist() == frame.to_numpy().tolist()
    assert rows[target < 0, 1].tolist() == ["mail"] * 2 + ["chess"] * 4
    assert OneHotEncoder().fit_transform(rows).shape == (9, 8)


@pytest.mark.parametrize(
    "wrong", [{"item_column": 3}, {"item_column": -1}, {"user_columns": 9}, {"user_columns": [0, 9]}]
)
def test_column_that_does_not_exist_is_an_error(logs, wrong):
    with pytest.raises(ValueError, match=r"a column in item_column or user_columns == .*must be"):
        sample_negatives(logs, **{"item_column": 1, "user_columns": 0, **wrong})


@pytest.mark.parametrize("user_columns", [[], [0, 1], 1])
def test_user_columns_are_others_than_the_item_column(logs, user_columns):
    with pytest.raises(ValueError, match="user_columns must have at least one column, other than item_column=1"):
        sample_negatives(logs, item_column=1, user_columns=user_columns)


def test_no_negatives_are_an_error(logs):
    with pytest.raises(ValueError, match="n_negatives == 0, must be >= 1"):
        sample_negatives(logs, item_column=1, user_columns=0, n_negatives=0)


def test_column_by_name_is_an_error(logs):
    with pytest.raises(TypeError, match="a column in item_column or user_columns must be an instance of"):
        sample_negatives(logs, item_column="app", user_columns=0)
