# SPDX-License-Identifier: Apache-2.0
"""The text above the robot says what is, and that it is not known when it is not."""

from dataclasses import replace

from h1_training_bringup.session.state_text import COLOURS, LOST, STALE_NS, MarkerState, colour, lines

NOW = 5_000_000_000
EXECUTING = MarkerState(
    heard_ns=NOW, state="EXECUTING", epoch=3, episode=2, phase="policy", mode="POLICY", mode_reason="requested"
)


def test_it_says_who_is_in_control_of_what() -> None:
    assert lines(EXECUTING, NOW) == ["EXECUTING  policy", "epoch 3, episode 2", "arms POLICY: requested"]
    assert colour(EXECUTING, NOW) == COLOURS["EXECUTING"]


def test_before_anything_is_heard_it_says_so() -> None:
    assert lines(MarkerState(), NOW) == ["no session heard"]
    assert colour(MarkerState(), NOW) == LOST


def test_an_old_state_is_not_shown_as_the_present_one() -> None:
    assert lines(EXECUTING, NOW + STALE_NS) == lines(EXECUTING, NOW)
    later = NOW + 3 * STALE_NS
    assert lines(EXECUTING, later) == ["session silent for 3 s", "it was in EXECUTING"]
    assert colour(EXECUTING, later) == LOST


def test_a_motion_to_come_is_counted_down() -> None:
    assert lines(replace(EXECUTING, countdown_s=1.25), NOW)[1] == "the arms move in 1.2 s"


def test_what_is_not_known_yet_is_left_out() -> None:
    assert lines(MarkerState(heard_ns=NOW, state="WAITING"), NOW) == ["WAITING"]
