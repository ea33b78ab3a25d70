# SPDX-License-Identifier: Apache-2.0
"""The simulated hands: fingers that move as the manual says, behind the real register map."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h1_inspire_driver.hand_link import HandLink, HandLostError
from h1_inspire_driver.hand_state import Timed, hand_state
from h1_inspire_driver.registers import (
    ANGLE_ACT,
    ANGLE_SET,
    CLEAR_ERROR,
    FORCE_ACT,
    FORCE_SET,
    SECONDARY,
    SPEED_SET,
    Block,
    angles_of,
)
from h1_training_bringup.sim.hand_registers import (
    FORCE_REACHED,
    GRASPING,
    HAND_ID,
    POS_ACT,
    POS_SET,
    REACHED,
    RELEASING,
    TOUCH,
    Finger,
    Fingers,
    HandDevice,
)
from h1_training_testing import wait_until


def a_finger(**values: float) -> Finger:
    return Finger(**values)  # type: ignore[arg-type]


def test_full_travel_takes_600_ms_at_full_speed_and_twice_that_at_half() -> None:
    for speed, seconds in ((1000.0, 0.6), (500.0, 1.2)):
        finger = a_finger(target=0.0, speed=speed)
        finger.advance(seconds / 2)
        assert finger.angle == pytest.approx(500)
        assert finger.status == GRASPING
        finger.advance(seconds / 2)
        assert finger.angle == pytest.approx(0)
        assert finger.status == REACHED


def test_an_opening_finger_says_so() -> None:
    finger = a_finger(angle=0.0, target=1000.0)
    finger.advance(0.1)
    assert finger.status == RELEASING
    assert finger.current > a_finger().current


def test_a_finger_stops_at_an_object_with_the_force_that_was_set() -> None:
    finger = a_finger(target=0.0, contact=600.0, force_limit=400.0)
    finger.advance(2.0)
    assert finger.force == pytest.approx(400.0)
    assert finger.status == FORCE_REACHED
    assert finger.angle == pytest.approx(580.0)


def test_a_finger_lets_go_of_an_object() -> None:
    finger = a_finger(target=0.0, contact=600.0, force_limit=400.0)
    finger.advance(2.0)
    finger.target = 1000.0
    finger.advance(2.0)
    assert finger.force == 0.0
    assert finger.angle == pytest.approx(1000.0)


def test_minus_one_leaves_a_finger_where_it_is_going() -> None:
    fingers = Fingers()
    fingers.set_angles((0, 0, 0, 0, 0, 0))
    fingers.set_angles((-1, 500, -1, -1, -1, -1))
    assert [finger.target for finger in fingers.fingers] == [0, 500, 0, 0, 0, 0]


@given(
    st.lists(st.tuples(st.integers(-1, 1000), st.integers(0, 1000), st.floats(0, 1)), max_size=20),
    st.none() | st.floats(0, 1000),
)
def test_no_finger_ever_leaves_its_range_or_outruns_its_speed(
    orders: list[tuple[int, int, float]], contact: float | None
) -> None:
    fingers = Fingers(contact)
    for target, speed, seconds in orders:
        before = [finger.angle for finger in fingers.fingers]
        fingers.set_angles((target,) * 6)
        fingers.set_speeds((speed,) * 6)
        fingers.advance(seconds)
        for finger, was in zip(fingers.fingers, before, strict=True):
            assert -1e-6 <= finger.angle <= 1000 + 1e-6
            assert abs(finger.angle - was) <= speed / 0.6 * seconds + 1e-6
            assert 0 <= finger.temperature < 100
            assert 0 <= finger.current <= 2000


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    """A pair of simulated hands in a process of its own, as the graph starts it."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        left, right = one.getsockname()[1], other.getsockname()[1]
    process = _started(left, right, "--ros-args", "-r", "__node:=sim_hands", "--params-file", "x.yaml")
    try:
        wait_until(lambda: _answers(left) and _answers(right), "both hands answer")
        yield left, right
        process.send_signal(signal.SIGINT)
        assert _answers(left), "a simulated peer tolerates the terminal's SIGINT"
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def _started(left: int, right: int, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "h1_training_bringup.sim.hands", f"--left-port={left}", f"--right-port={right}"]
    return subprocess.Popen([*command, *more], stderr=subprocess.PIPE)


def _link(port: int) -> HandLink:
    link = HandLink("127.0.0.1", port, unit_id=1, timeout_s=5.0)
    link.connect()
    return link


def _answers(port: int) -> bool:
    try:
        link = _link(port)
    except HandLostError:
        return False
    link.close()
    return True


def test_every_register_that_the_driver_reads_makes_a_state(ports: tuple[int, int]) -> None:
    link = _link(ports[0])
    others = {block: Timed(link.read(block), 0) for block in SECONDARY}
    angles = angles_of(link.read(ANGLE_ACT))
    state = hand_state(0, angles, others, command=(1.0,) * 6, gated="", bytes_high_first=True)
    assert state.angle == (1.0,) * 6
    assert state.status == (2,) * 6
    assert state.error == (0,) * 6
    assert all(20 <= celsius <= 60 for celsius in state.temperature)
    assert state.degraded == ""
    link.close()


def test_fingers_move_to_where_they_are_reported_over_the_wire(ports: tuple[int, int]) -> None:
    link = _link(ports[1])
    link.write(SPEED_SET, (1000,) * 6)
    link.write(FORCE_SET, (500,) * 6)
    link.write(ANGLE_SET, (100, 200, 300, 400, 500, -1))
    wait_until(lambda: angles_of(link.read(ANGLE_ACT)) == (100, 200, 300, 400, 500, 1000), "the fingers have arrived")
    link.write(CLEAR_ERROR, (1,))
    link.close()


def test_the_hands_are_two(ports: tuple[int, int]) -> None:
    left, right = _link(ports[0]), _link(ports[1])
    right.write(ANGLE_SET, (0,) * 6)
    wait_until(lambda: angles_of(right.read(ANGLE_ACT)) == (0,) * 6, "the right hand is closed")
    assert angles_of(left.read(ANGLE_ACT)) == (1000,) * 6
    left.close()
    right.close()


def test_what_is_measured_cannot_be_written(ports: tuple[int, int]) -> None:
    link = _link(ports[0])
    with pytest.raises(HandLostError, match="refuses FORCE_ACT"):
        link.write(FORCE_ACT, (0,) * 6)


def test_a_taken_port_is_reported_with_what_to_do(ports: tuple[int, int]) -> None:
    process = _started(ports[0], ports[1])
    _, text = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{ports[0]}" in text.decode()
    assert "Choose another port" in text.decode()


def test_every_block_of_the_vendors_map_is_answered_as_its_sdk_reads_it(ports: tuple[int, int]) -> None:
    link = _link(ports[0])
    link.write(FORCE_SET, (300,) * 6)
    for block in (HAND_ID, POS_SET, POS_ACT, *TOUCH):
        assert len(link.read(block)) == block.count, block.name
    link.write(POS_SET, (1000, -1, 2000, 0, -1, -1))
    wait_until(lambda: link.read(POS_ACT)[0] == 1000 and link.read(POS_ACT)[2] == 2000, "the fingers are there")
    assert link.read(ANGLE_ACT)[:4] == [500, 1000, 0, 1000]
    for block in (Block("SAVE", 1005, 1), Block("GESTURE_FORCE_CLB", 1009, 1)):
        link.write(block, [1])
    link.write(ANGLE_SET, (1000,) * 6)
    link.close()


def test_touch_feels_what_a_finger_presses_with() -> None:
    device = HandDevice(Fingers(contact=600.0), clock_ns=lambda: 0)
    device.fingers.set_forces((400,) * 6)
    device.fingers.set_angles((0,) * 6)
    device.fingers.advance(2.0)
    felt = {block.name: values for block, values in device._touched().items()}
    assert felt["TOUCH index tip"] == [400] * 9 and felt["TOUCH thumb tip"] == [0] * 9
    assert felt["TOUCH palm"] == [1600] * 112
