# SPDX-License-Identifier: Apache-2.0
"""One hand's thread: what it reads, which commands it follows, when it makes the fingers stay. Without ROS."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest
from inspire_rig import a_rig
from quirky_hand import ANGLE_ACT, ANGLE_SET, CLEAR_ERROR, FORCE_SET, SPEED_SET, QuirkyHand

from h1_inspire_driver.grip import Command
from h1_training_node.message_numbers import Level
from h1_training_testing import wait_until

MS = 1_000_000


@pytest.fixture
def hand() -> Iterator[QuirkyHand]:
    hand = QuirkyHand()
    yield hand
    hand.close()


def test_a_hand_is_read_in_the_units_of_the_graph(hand: QuirkyHand) -> None:
    hand.registers.update({1582: [100, -200, 0, 0, 0, 4000], 1594: [500, 0, 0, 0, 0, 2000]})
    hand.registers.update({1606: [0x0001, 0, 0], 1612: [0x0203, 0x0202, 0x0202], 1618: [0x1F20, 0x2122, 0x2324]})
    with a_rig(hand.port) as rig:
        wait_until(lambda: rig.states, "a state")
    state = rig.states[0]
    assert state.angle == (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
    assert state.force == pytest.approx((0.981, -1.962, 0, 0, 0, 39.24))
    assert state.current == pytest.approx((0.5, 0, 0, 0, 0, 2.0))
    assert state.error == (0, 1, 0, 0, 0, 0)
    assert state.status == (2, 3, 2, 2, 2, 2)
    assert state.temperature == (31, 32, 33, 34, 35, 36)
    assert state.reason == "no session/state yet; ring stalled"


def test_speed_and_force_are_bounded_before_anything_moves(hand: QuirkyHand) -> None:
    with a_rig(hand.port, speed_raw=300, force_g=400) as rig:
        wait_until(lambda: rig.states, "a state")
    assert [write.address for write in hand.writes[:2]] == [SPEED_SET, FORCE_SET]
    assert hand.written(SPEED_SET) == [(300,) * 6]
    assert hand.written(FORCE_SET) == [(400,) * 6]


def test_fingers_that_somebody_left_moving_are_stopped_at_the_start(hand: QuirkyHand) -> None:
    with a_rig(hand.port):
        wait_until(lambda: hand.written(ANGLE_SET), "a write")
    assert hand.written(ANGLE_SET) == [(1000, 900, 800, 700, 600, 500)]


def test_commands_are_followed_in_executing(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        rig.drive(0.25, lambda: (250,) * 6 in hand.written(ANGLE_SET), "the command was written")
        rig.drive(0.25, lambda: rig.states and rig.states[-1].command == (0.25,) * 6, "the state says so")
        assert rig.states[-1].gated == ""


def test_commands_are_ignored_outside_executing(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        wait_until(lambda: hand.written(ANGLE_SET), "the hold at the start")
        rig.session("READY")
        rig.command(0.1)
        before = len(rig.states)
        wait_until(lambda: len(rig.states) > before + 5, "some rounds")
        assert hand.written(ANGLE_SET) == [(1000, 900, 800, 700, 600, 500)]
        assert rig.states[-1].gated == "session is READY"


def test_a_command_older_than_200_ms_is_ignored_and_reported(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        wait_until(lambda: hand.written(ANGLE_SET), "the hold at the start")
        rig.session("EXECUTING")
        rig.thread.command(Command(time.monotonic_ns() - 201 * MS, (100,) * 6))
        wait_until(lambda: "hand_command_old" in rig.reasons(), "the refusal")
    assert (100,) * 6 not in hand.written(ANGLE_SET)


def test_leaving_executing_makes_the_fingers_stay_where_they_are_once(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        rig.drive(0.0, lambda: (0,) * 6 in hand.written(ANGLE_SET), "the command was written")
        hand.registers[ANGLE_ACT] = [500, 510, 520, 530, 540, 1003]
        rig.session("DAMPING")
        wait_until(lambda: hand.written(ANGLE_SET)[-1] == (500, 510, 520, 530, 540, 1000), "the hold")
        hand.registers[ANGLE_ACT] = [400] * 6
        before = len(rig.states)
        wait_until(lambda: len(rig.states) > before + 5, "some rounds")
        assert hand.written(ANGLE_SET)[-1] == (500, 510, 520, 530, 540, 1000)


def test_a_lost_heartbeat_makes_the_fingers_stay(hand: QuirkyHand) -> None:
    with a_rig(hand.port, heartbeat_s=0.5) as rig:
        rig.drive(0.0, lambda: (0,) * 6 in hand.written(ANGLE_SET), "the command was written")
        wait_until(lambda: hand.written(ANGLE_SET)[-1] == (1000, 900, 800, 700, 600, 500), "the hold")
        wait_until(lambda: rig.states[-1].gated == "session heartbeat lost", "the state says so")


def test_the_end_of_the_process_makes_the_fingers_stay(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        rig.drive(0.0, lambda: (0,) * 6 in hand.written(ANGLE_SET), "the command was written")
    assert hand.written(ANGLE_SET)[-1] == (1000, 900, 800, 700, 600, 500)


def test_a_finger_left_alone_gets_minus_one_and_keeps_its_target(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        rig.drive(0.5, lambda: (500,) * 6 in hand.written(ANGLE_SET), "the first command was written")
        rig.session("EXECUTING")
        rig.command(0.1, math.nan, 0.1, 0.1, 0.1, 0.1)
        wait_until(lambda: (100, -1, 100, 100, 100, 100) in hand.written(ANGLE_SET), "the second command was written")
        wait_until(lambda: rig.states[-1].command == (0.1, 0.5, 0.1, 0.1, 0.1, 0.1), "the state says so")


def test_writes_keep_50_ms_apart_however_many_commands_come(hand: QuirkyHand) -> None:
    openings = iter(range(1, 10_000))
    with a_rig(hand.port) as rig:

        def step() -> bool:
            rig.session("EXECUTING")
            rig.command(next(openings) * 7 % 1000 / 1000)
            return len(hand.writes) >= 12

        wait_until(step, "ten writes")
    gaps = [b.time_ns - a.time_ns for a, b in zip(hand.writes, hand.writes[1:], strict=False)]
    assert min(gaps) >= 49 * MS


def test_the_same_command_again_is_not_written_again(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        rig.drive(0.25, lambda: (250,) * 6 in hand.written(ANGLE_SET), "the command was written")
        before = len(rig.states)
        rig.drive(0.252, lambda: len(rig.states) > before + 10, "some rounds")
        assert hand.written(ANGLE_SET).count((250,) * 6) == 1
        assert (252,) * 6 not in hand.written(ANGLE_SET)


def test_errors_are_cleared_when_asked_and_reported(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        wait_until(lambda: rig.thread.is_connected, "the connection")
        rig.thread.clear_error()
        wait_until(lambda: "hand_errors_cleared" in rig.reasons(), "the event")
    assert hand.written(CLEAR_ERROR) == [(1,)]


def test_an_over_current_is_reported_once_with_its_finger(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        wait_until(lambda: rig.states, "a state")
        hand.registers[1606] = [0, 0x0004, 0]
        wait_until(lambda: "hand_fault" in rig.reasons(), "the event")
        before = len(rig.states)
        wait_until(lambda: len(rig.states) > before + 5, "some rounds")
    faults = [event for event in rig.events if event[1] == "hand_fault"]
    assert faults == [
        (Level.WARN, "hand_fault", "left hand: index over-current; clear with the service hands/left/clear_error")
    ]
