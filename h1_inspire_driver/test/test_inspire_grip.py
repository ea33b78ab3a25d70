# SPDX-License-Identifier: Apache-2.0
"""What is written to the fingers, and when."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h1_inspire_driver.grip import BadCommandError, Command, Grip, command_of, staying

MS = 1_000_000


def a_grip() -> Grip:
    return Grip(command_timeout_ns=200 * MS, write_interval_ns=50 * MS, min_change=5)


def test_a_command_is_fresh_for_200_ms_and_not_longer() -> None:
    command = Command(1000 * MS, (500,) * 6)
    assert a_grip().is_fresh(command, 1200 * MS)
    assert not a_grip().is_fresh(command, 1201 * MS)


def test_a_command_from_another_clocks_future_is_not_fresh() -> None:
    assert not a_grip().is_fresh(Command(1000 * MS, (500,) * 6), 500 * MS)


def test_the_first_command_is_written_whatever_it_says() -> None:
    assert a_grip().differs(Command(0, (0,) * 6))


def test_changes_below_five_units_are_not_written() -> None:
    grip = a_grip()
    grip.written((500,) * 6, 0, is_hold=False)
    assert not grip.differs(Command(0, (504, 496, 500, 500, 500, 500)))
    assert grip.differs(Command(0, (505, 500, 500, 500, 500, 500)))


def test_small_changes_add_up_against_what_was_written() -> None:
    grip = a_grip()
    grip.written((500,) * 6, 0, is_hold=False)
    written = [angle for angle in range(500, 521, 2) if grip.differs(Command(0, (angle,) + (500,) * 5))]
    assert written[0] == 506


def test_a_command_that_leaves_all_fingers_is_not_written() -> None:
    assert not a_grip().differs(Command(0, (-1,) * 6))


def test_after_a_reconnection_the_same_command_is_written_again() -> None:
    grip = a_grip()
    grip.written((500,) * 6, 0, is_hold=False)
    grip.reconnected()
    assert grip.differs(Command(0, (500,) * 6))


def test_targets_are_nan_until_written_and_keep_what_was_left() -> None:
    grip = a_grip()
    grip.written((500, -1, 500, 500, 500, 500), 0, is_hold=False)
    grip.written((-1, -1, 250, 500, 500, 500), 0, is_hold=False)
    assert grip.targets[0] == 0.5
    assert math.isnan(grip.targets[1])
    assert grip.targets[2] == 0.25


def test_writes_keep_their_distance_and_a_slow_hand_gets_more() -> None:
    grip = a_grip()
    grip.written((500,) * 6, 1000 * MS, is_hold=False)
    assert grip.may_write_at_ns(2 * MS) == 1050 * MS
    assert grip.may_write_at_ns(25 * MS) == 1075 * MS


def test_fingers_may_be_moving_from_the_start_until_they_were_held() -> None:
    grip = a_grip()
    assert grip.may_be_moving
    grip.written((500,) * 6, 0, is_hold=True)
    assert not grip.may_be_moving
    grip.written((100,) * 6, 0, is_hold=False)
    assert grip.may_be_moving


def test_staying_is_the_measured_angle_inside_the_range() -> None:
    assert staying((-3, 1004, 500, 0, 1000, 1)) == (0, 1000, 500, 0, 1000, 1)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, 950.0, -0.5])
def test_a_command_in_other_units_is_refused_whole(bad: float) -> None:
    with pytest.raises(BadCommandError, match=r"middle is .*; expected 0 \(closed\) to 1 \(open\)"):
        command_of(0, [0.5, 0.5, bad, 0.5, 0.5, 0.5])


def test_a_command_of_other_length_is_refused() -> None:
    with pytest.raises(BadCommandError, match="5 angles; expected 6"):
        command_of(0, [0.5] * 5)


@given(st.lists(st.floats(-0.25, 1.25) | st.just(math.nan), min_size=6, max_size=6))
def test_what_is_accepted_is_an_angle_in_range_or_leave(openings: list[float]) -> None:
    for opening, angle in zip(openings, command_of(7, openings).angles, strict=True):
        assert angle == -1 if math.isnan(opening) else 0 <= angle <= 1000
