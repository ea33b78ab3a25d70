"""The arm guard's core: it speaks when the driver has fallen silent, only then, and for good."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import MS, START_NS, S, joint_settings

from h1_training_bringup.arms.command import ArmCommand, CommandEncoder
from h1_training_bringup.arms.guard import ArmGuard
from h1_training_bringup.arms.joints import COUNT
from h1_training_bringup.arms.settings import GuardParameters
from h1_training_bringup.arms.wire import encode_low_state, new_low_state

ZEROS = np.zeros(COUNT)


class Scene:
    """A guard, a robot that tells its state, and a driver that may fall silent; 20 ms a step while it listens."""

    def __init__(self) -> None:
        joints = joint_settings()
        self.guard = ArmGuard(joints, GuardParameters())
        self.encoder = CommandEncoder(joints.waist_kp, joints.waist_kd)
        self.now_ns = START_NS
        self.robot_talks = True
        self.spoken: list[ArmCommand | None] = []
        self.notices: list[str] = []

    def state(self) -> bytes:
        record = new_low_state()
        record["imu_state"]["quaternion"] = [1, 0, 0, 0]
        record["motor_state"]["mode"] = 1
        record["mode_machine"] = 6
        return encode_low_state(record)

    def command(self, weight: float) -> bytes:
        return self.encoder.encode(ArmCommand(ZEROS, ZEROS, ZEROS, ZEROS, ZEROS, weight, 0.3, 6))

    def drive(self, seconds: float, weight: float = 1.0) -> None:
        for _ in range(round(seconds * 50)):
            self.guard.hear(self.command(weight))
            self.step(0.02)

    def lose_robot(self, seconds: float) -> None:
        """No state for so long, and no command: its driver is silent too."""
        self.robot_talks = False
        self.step(seconds)
        self.robot_talks = True

    def step(self, seconds: float) -> None:
        period_ns = 4 * MS if self.guard.is_speaking else 20 * MS
        for _ in range(round(seconds * S / period_ns)):
            self.now_ns += period_ns
            if self.robot_talks:
                self.guard.intake.receive(self.state(), self.now_ns - MS)
            if self.guard.is_speaking:
                self.spoken.append(self.guard.speak(self.now_ns))
            else:
                self.guard.watch(self.now_ns)
        self.notices += [notice.reason for notice in self.guard.notices]
        self.guard.notices.clear()


def test_it_says_nothing_while_the_driver_lives() -> None:
    scene = Scene()
    scene.drive(2.0)
    assert not scene.guard.is_speaking and scene.spoken == []


def test_it_says_nothing_before_the_driver_ever_spoke() -> None:
    scene = Scene()
    scene.step(2.0)
    assert not scene.guard.is_speaking


def test_it_says_nothing_after_a_driver_that_had_given_the_arms_back() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.drive(0.1, weight=0.0)
    scene.step(2.0)
    assert not scene.guard.is_speaking


def test_after_100_ms_of_silence_it_damps_with_the_weight_and_the_waist_as_they_were() -> None:
    scene = Scene()
    scene.drive(0.5, weight=0.7)
    silent_since_ns = scene.now_ns - 20 * MS
    while not scene.guard.is_speaking:
        scene.step(0.02)
    assert 100 * MS <= scene.now_ns - silent_since_ns <= 140 * MS
    scene.step(0.1)
    command = scene.spoken[-1]
    assert command is not None
    assert command.weight == pytest.approx(0.7) and command.waist_q == pytest.approx(0.3)
    assert not command.kp.any() and (command.kd > 0).all() and command.mode_machine == 6
    np.testing.assert_allclose(command.tau[[0, 3]], [-3.1, -3.0], atol=0.1)
    assert scene.notices == ["guard_took_over"]


def test_once_it_has_spoken_it_stays_though_the_driver_comes_back() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.step(0.2)
    scene.drive(1.0)
    assert scene.guard.is_speaking and scene.spoken[-1] is not None
    assert scene.spoken[-1].weight == 1.0


def test_a_pause_of_the_guard_itself_is_not_taken_for_silence() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.now_ns += 500 * MS  # not scheduled; meanwhile commands queued up
    scene.guard.watch(scene.now_ns)
    assert not scene.guard.is_speaking
    scene.drive(0.5)
    assert not scene.guard.is_speaking


def test_a_driver_that_asks_after_a_pause_has_shown_that_it_lives() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.step(0.08)
    assert scene.guard.is_asked()
    scene.step(0.08)
    assert not scene.guard.is_speaking
    scene.step(0.06)
    assert scene.guard.is_speaking and not scene.guard.is_asked()


def test_periods_in_which_the_robot_was_not_heard_count_for_nothing() -> None:
    scene = Scene()
    scene.drive(0.5)
    for _ in range(4):
        scene.step(0.02)
        scene.lose_robot(0.04)
    assert not scene.guard.is_speaking
    scene.step(0.04)
    assert scene.guard.is_speaking


def test_a_command_that_no_driver_sends_is_no_sign_of_life() -> None:
    scene = Scene()
    scene.drive(0.5)
    for _ in range(8):
        scene.guard.hear(scene.command(float("nan")))
        scene.step(0.02)
    assert scene.guard.is_speaking and scene.spoken[-1] is not None and scene.spoken[-1].weight == 1.0


def test_a_guard_that_gets_little_time_is_not_much_slower() -> None:
    scene = Scene()
    scene.drive(0.5)
    begin_ns = scene.now_ns
    while not scene.guard.is_speaking:
        scene.now_ns += 100 * MS
        scene.step(0.02)
    assert scene.now_ns - begin_ns <= 400 * MS


def test_it_says_nothing_while_the_robot_is_silent_too() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.robot_talks = False
    scene.step(2.0)
    assert not scene.guard.is_speaking
    scene.robot_talks = True
    scene.drive(0.5)
    assert not scene.guard.is_speaking, "the driver resumed first"


@pytest.mark.parametrize("away_s", [1.06, 4.0])
def test_a_driver_that_fell_silent_because_the_robot_was_lost_is_not_taken_for_dead(away_s: float) -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.robot_talks = False
    scene.drive(1.06)
    scene.step(away_s - 1.06)
    scene.robot_talks = True
    scene.step(1.0)
    assert not scene.guard.is_speaking, "its own controller may have the arms"
    scene.drive(0.1)
    scene.step(0.2)
    assert scene.guard.is_speaking, "the driver had spoken again"


def test_a_driver_that_outlived_a_lost_robot_without_falling_silent_is_watched_as_ever() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.robot_talks = False
    scene.drive(1.5)
    scene.robot_talks = True
    scene.drive(0.1)
    scene.step(0.2)
    assert scene.guard.is_speaking


@pytest.mark.parametrize("pause_s", [1.2, 10.0])
def test_a_pause_of_the_guard_itself_is_not_taken_for_a_lost_robot(pause_s: float) -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.now_ns += round(pause_s * S)
    scene.step(0.2)
    assert scene.guard.is_speaking, "the driver stood still as well, and is silent for good"


def test_it_fades_and_stays_silent_when_the_robot_was_lost_until_a_person_releases_the_arms() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.step(0.5)
    scene.robot_talks = False
    scene.step(0.2)
    assert scene.guard.release(scene.now_ns).reason.startswith("robot_lost")
    scene.step(2.0)
    assert scene.spoken[-1] is None and scene.notices == ["guard_took_over", "robot_lost"]
    scene.robot_talks = True
    begin = len(scene.spoken)
    scene.step(3.0)
    assert scene.spoken[begin:] == [None] * (len(scene.spoken) - begin)
    begin = len(scene.spoken)
    assert scene.guard.release(scene.now_ns).accepted
    scene.step(7.0)
    first = scene.spoken[begin]
    assert first is not None and first.weight == 1.0 and (first.kd > 3 * joint_settings().kd_damping).all()
    assert np.abs(first.tau).max() > 1.0
    assert first.waist_q == 0.0, "where the waist is now, not where it was once commanded"
    weights = [command.weight for command in scene.spoken[begin:] if command is not None]
    assert weights[740] == 1.0 and weights[-1] == 0.0 and scene.notices[-1] == "release_warning"


def test_a_robot_that_is_lost_while_the_guard_gives_it_back_needs_a_person_again() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.step(0.5)
    assert scene.guard.release(scene.now_ns).accepted
    scene.step(4.0)
    scene.lose_robot(2.0)
    scene.step(2.0)
    assert scene.spoken[-1] is None and "release_stopped" in scene.notices
    assert scene.guard.release(scene.now_ns).accepted
    scene.step(7.0)
    assert [command.weight for command in scene.spoken if command is not None][-1] == 0.0


def test_at_the_end_of_the_graph_it_sees_through_a_driver_that_was_silent_for_a_lost_robot() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.lose_robot(2.0)
    scene.step(1.0)
    scene.guard.end(scene.now_ns)
    scene.step(0.3)
    assert not scene.guard.has_ended
    scene.drive(4.0, weight=0.5)
    assert not scene.guard.has_ended
    scene.step(0.2)
    assert scene.guard.is_speaking, "the driver died on its way"


def test_a_person_releases_the_arms_with_warning_and_ramp() -> None:
    scene = Scene()
    assert scene.guard.release(scene.now_ns).reason.startswith("not_speaking")
    scene.drive(0.5)
    scene.step(0.5)
    begin = len(scene.spoken)
    assert scene.guard.release(scene.now_ns).accepted
    scene.step(7.0)
    assert not scene.guard.release(scene.now_ns).accepted
    weights = [command.weight for command in scene.spoken[begin:] if command is not None]
    assert weights[740] == 1.0 and weights[-1] == 0.0 and scene.spoken[-1] is None
    assert np.abs(np.diff(weights)).max() <= 1 / 750 + 1e-9
    assert scene.notices == ["guard_took_over", "release_warning"]
    assert not scene.guard.has_ended, "it stays until the graph ends"


def test_at_the_end_of_the_graph_it_outlives_the_drivers_own_ending() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.guard.end(scene.now_ns)
    scene.drive(4.0, weight=0.5)
    assert not scene.guard.has_ended
    scene.drive(0.04, weight=0.0)
    assert scene.guard.has_ended and not scene.guard.is_speaking


def test_at_the_end_of_the_graph_it_ends_at_once_if_nobody_had_the_arms() -> None:
    scene = Scene()
    scene.step(0.5)
    scene.guard.end(scene.now_ns)
    scene.step(0.02)
    assert scene.guard.has_ended


@pytest.mark.parametrize("spoken_before", [True, False])
def test_at_the_end_of_the_graph_it_gives_back_what_a_dead_driver_left(spoken_before: bool) -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.step(0.5 if spoken_before else 0.02)
    scene.guard.end(scene.now_ns)
    scene.step(0.2)
    begin_ns = scene.now_ns
    while not scene.guard.has_ended:
        scene.step(0.02)
        assert scene.now_ns - begin_ns < 8 * S
    assert [command.weight for command in scene.spoken if command is not None][-1] == 0.0


def test_a_robot_that_is_gone_does_not_keep_it_from_ending() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.robot_talks = False
    scene.guard.end(scene.now_ns)
    scene.step(4.0)
    assert scene.guard.has_ended
