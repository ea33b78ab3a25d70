# SPDX-License-Identifier: Apache-2.0
"""Every fault over the wire: reason in arm_status, once as an event, once in the log; left only acknowledged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from arm_robot_stub import RobotStub
from arm_stage import Stage, quick_parameters

from h1_training_bringup.arm_driver.joints import ARM_MOTORS, REMOTE_BUTTONS, REMOTE_BUTTONS_OFFSET
from h1_training_msgs.msg import ArmStatus, Event
from h1_training_testing import Graph

ELBOW = ARM_MOTORS.start + 3


@pytest.fixture
def stage(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Stage:
    quick_parameters(monkeypatch)
    return Stage(graph)


def disable(robot: RobotStub) -> None:
    robot.state["motor_state"]["mode"][ELBOW] = 0


def enable(robot: RobotStub) -> None:
    robot.state["motor_state"]["mode"][ELBOW] = 1


def report(robot: RobotStub, code: int = 0x200) -> None:
    robot.state["motor_state"]["motorstate"][ELBOW] = code


def brake(robot: RobotStub) -> None:
    robot.state["motor_state"]["mode"][ELBOW] = 8


def misread(robot: RobotStub, radians: float = 3.6) -> None:
    robot.holds_still = True  # an encoder does not follow
    robot.state["motor_state"]["q"][ELBOW] = radians


def set_machine(robot: RobotStub, value: int = 9) -> None:
    robot.state["mode_machine"] = value


def lean(robot: RobotStub, radians: float = 0.6) -> None:
    robot.state["imu_state"]["quaternion"] = [np.cos(radians / 2), np.sin(radians / 2), 0.0, 0.0]


def heat(robot: RobotStub, celsius: int = 92) -> None:
    robot.state["motor_state"]["temperature"][ELBOW] = celsius


@pytest.mark.parametrize(
    ("fault", "break_it", "repair_it", "said"),
    [
        ("motor_fault", disable, enable, "is disabled"),
        ("motor_fault", report, lambda robot: report(robot, 0), "left_elbow_joint reports motorstate 0x200 (of a G1"),
        ("motor_fault", brake, enable, "left_elbow_joint is in mode 8"),
        ("joint_out_of_range", misread, lambda robot: misread(robot, 0.2), "left_elbow_joint is measured at 3.60 rad"),
        ("motor_fault", set_machine, lambda robot: set_machine(robot, 6), "mode_machine changed from 6 to 9"),
        ("motor_fault", lean, lambda robot: lean(robot, 0.0), "leans by more than 0.5 rad"),
        ("overheated", heat, lambda robot: heat(robot, 40), "left_elbow_joint at 92"),
    ],
)
def test_a_fault_of_the_robot_damps_with_its_reason_reported_once_until_acknowledged(
    stage: Stage,
    capfd: pytest.CaptureFixture[str],
    fault: str,
    break_it: Callable[[RobotStub], None],
    repair_it: Callable[[RobotStub], None],
    said: str,
) -> None:
    peer = stage.peer
    stage.take()
    break_it(stage.robot)
    stage.until(lambda: stage.robot.is_damped and peer.status.fault == fault, "damped, the reason reported")
    assert peer.status.mode == ArmStatus.MODE_DAMPING and peer.status.reason == fault and peer.status.acknowledge_needed
    stage.until(lambda: fault in peer.reasons("arm_driver"), "reported")
    refusal = peer.ask(ArmStatus.MODE_HOLD, ArmStatus.MODE_DAMPING)
    assert not refusal.accepted and refusal.reason.startswith("acknowledge_needed")
    assert said in peer.call("arm_driver/acknowledge").message
    repair_it(stage.robot)
    stage.until(lambda: peer.call("arm_driver/acknowledge").success, "acknowledged")
    assert peer.ask(ArmStatus.MODE_HOLD, ArmStatus.MODE_DAMPING).accepted
    (event,) = [event for event in peer.events if event.reason == fault]
    assert event.level == Event.ERROR and said in event.detail
    assert capfd.readouterr().err.count(f"{fault}: {event.detail}") == 1


def test_a_fault_that_the_configuration_names_as_harmless_is_reported_and_the_arms_go_on(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_parameters(monkeypatch, motorstate_ignored=("abnormal reset", "0x80000"))
    stage = Stage(graph)
    peer = stage.peer
    report(stage.robot, 0x84000)
    stage.take()
    (event,) = [event for event in peer.events if event.reason == "motorstate_ignored"]
    assert event.level == Event.WARN and "motorstate 0x84000 (of a G1: abnormal reset" in event.detail
    report(stage.robot, 0x84200)
    stage.until(lambda: stage.robot.is_damped and peer.status.fault == "motor_fault", "any other bit is a fault")
    assert "0x200 (of a G1: winding overheated)" in peer.call("arm_driver/acknowledge").message


def test_heat_comes_in_steps_and_above_the_last_the_arms_sink_after_a_warning(stage: Stage) -> None:
    peer, robot = stage.peer, stage.robot
    robot.state["motor_state"]["q"][ARM_MOTORS] = 0.0
    stage.take()
    heat(robot, 72)
    stage.until(lambda: "motor_warm" in peer.reasons("arm_driver"), "warned")
    assert peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).accepted
    assert peer.ask(ArmStatus.MODE_HOLD, ArmStatus.MODE_POLICY).accepted
    heat(robot, 82)
    stage.until(lambda: "motor_hot" in peer.reasons("arm_driver"), "reported")
    assert peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).reason.startswith("motor_hot: left_elbow_joint at 82")
    heat(robot, 92)
    stage.until(lambda: robot.is_damped and peer.status.fault == "overheated", "damped")
    heat(robot, 103)
    stage.until(lambda: "overheated_critical" in peer.reasons("arm_driver"), "people are warned")
    carried = [abs(motor.tau) for motor in robot.commands[-1].motor_cmd[ARM_MOTORS]]
    assert max(carried) > 2.0, "and the arms are still carried then"
    stage.until(lambda: abs(robot.commands[-1].motor_cmd[ELBOW].tau) < 0.8 * carried[3], "less is carried")
    torques = [abs(command.motor_cmd[ELBOW].tau) for command in robot.commands[-200:]]
    assert np.abs(np.diff(torques)).max() < 0.05, "slowly"
    assert peer.reasons("arm_driver").count("overheated_critical") == 1 and robot.weight == 1.0


def test_the_remotes_button_is_an_emergency_stop(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    stage.take()
    bit = REMOTE_BUTTONS.index("B")
    stage.robot.state["wireless_remote"][REMOTE_BUTTONS_OFFSET + bit // 8] = 1 << bit % 8
    stage.until(lambda: stage.robot.is_damped and stage.peer.status.fault == "emergency_stop", "damped")
    stage.until(lambda: "emergency_stop" in stage.peer.reasons("arm_driver"), "reported")
    assert [event.detail for event in stage.peer.events if event.reason == "emergency_stop"] == ["by remote: button B"]
    assert capfd.readouterr().err.count("emergency_stop: by remote: button B") == 1
    assert not stage.peer.call("arm_driver/acknowledge").success


@pytest.mark.parametrize("crc", [True, False])
def test_a_robot_that_is_not_heard_is_lost_damped_faded_and_left(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, crc: bool
) -> None:
    quick_parameters(monkeypatch, robot_timeout_s=1.0)
    stage = Stage(graph)
    stage.take()
    if crc:
        stage.robot.breaks_crc = True
    else:
        stage.robot.talks = False
    stage.until(lambda: stage.peer.status.fault == "robot_lost", "noticed")
    stage.until(lambda: stage.robot.is_damped, "damped")
    stage.until(lambda: max(abs(m.tau) for m in stage.robot.commands[-1].motor_cmd[ARM_MOTORS]) < 0.1, "faded")
    stage.until(lambda: stage.peer.reasons("arm_driver").count("robot_lost") == 1, "reported once")
    assert (stage.peer.status.crc_errors > 0) == crc == ("state_crc" in stage.peer.reasons("arm_driver"))
    seq, count = stage.peer.status.seq, len(stage.robot.commands)
    stage.until(lambda: stage.peer.status.seq > seq + 50, "a second passes")
    stage.until(lambda: stage.peer.status.kp.max() == 0.0 == stage.peer.status.kd.max(), "it says that nothing is sent")
    assert len(stage.robot.commands) - count <= 40, "then silence"


def test_states_at_a_low_rate_end_the_policy_and_are_reported_once(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_parameters(monkeypatch, min_state_rate_hz=60.0, robot_timeout_s=5.0)
    stage = Stage(graph)
    stage.take()
    stage.peer.acts = 0.1
    assert stage.peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).accepted
    stage.until(lambda: stage.peer.status.action_seq > 3, "followed")
    stage.robot.divisor = 20
    stage.until(lambda: stage.peer.status.mode == ArmStatus.MODE_HOLD, "the arms stop")
    assert stage.peer.status.reason == "state_slow"
    assert stage.peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).reason.startswith("state_slow: robot state at")
    stage.until(lambda: stage.peer.reasons("arm_driver").count("state_slow") == 1, "reported once")


def test_arms_are_not_acquired_from_the_robots_slow_state_topic_but_it_can_be_watched(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_parameters(monkeypatch, min_state_rate_hz=200.0, acquire_timeout_s=1.0)
    stage = Stage(graph)
    stage.robot.divisor = 10
    stage.until(lambda: len(stage.peer.statuses) > 40, "what it says is published all the same")
    assert stage.peer.status.q[0] == pytest.approx(0.1)
    assert stage.peer.ask(ArmStatus.MODE_HOLD, ArmStatus.MODE_RELEASED).accepted
    stage.until(lambda: "state_slow" in stage.peer.reasons("arm_driver"), "given up")
    stage.until(lambda: stage.peer.status.mode == ArmStatus.MODE_RELEASED, "and reported")
    assert stage.peer.status.reason == "state_slow" and len(stage.robot.commands) == 0


def test_a_joint_that_is_held_back_stops_the_policy(stage: Stage) -> None:
    stage.take()
    stage.robot.holds_still = True
    stage.peer.acts = 0.9
    assert stage.peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).accepted
    stage.until(lambda: stage.peer.status.reason == "blocked", "the policy is stopped")
    assert stage.peer.status.mode == ArmStatus.MODE_HOLD and stage.peer.status.fault == "blocked"
    stage.until(
        lambda: np.allclose(stage.peer.status.q_command, stage.peer.status.q, atol=0.02), "held at the measured pose"
    )
    stage.until(lambda: stage.peer.reasons("arm_driver").count("blocked") == 1, "reported once")
    assert stage.peer.call("arm_driver/acknowledge").success


def test_acquiring_that_is_disturbed_releases_with_the_warning(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    quick_parameters(monkeypatch, acquire_ramp_s=5.0, acquire_motion_limit_rad=0.05, release_warning_s=2.0)
    stage = Stage(graph)
    stage.robot.holds_still = True
    stage.peer.begin_to_take()
    stage.until(lambda: stage.robot.weight > 0.05, "the weight rises")
    stage.robot.state["motor_state"]["q"][ELBOW] += 0.1
    stage.until(lambda: stage.peer.status.reason == "moved_while_acquiring", "noticed")
    stage.until(lambda: stage.robot.is_damped, "compliant")
    stage.until(lambda: "release_warning" in stage.peer.reasons("arm_driver"), "people are warned")
    weight = stage.peer.status.weight
    assert 0.0 < weight < 1.0
    stage.until(lambda: stage.peer.status.mode == ArmStatus.MODE_RELEASED, "released")
    assert stage.peer.status.reason == "moved_while_acquiring" and stage.robot.weight == 0.0
    weights = [command.motor_cmd[27].q for command in stage.robot.commands]
    assert max(weights) == pytest.approx(weight) and weights.count(max(weights)) > 50, "kept until the ramp"


def test_states_of_which_none_can_be_used_are_not_reported_as_a_robot_that_is_silent(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("h1_training_bringup.arm_driver.arm_driver_node._NO_ROBOT_S", 0.5)
    quick_parameters(monkeypatch, robot_timeout_s=0.2)
    stage = Stage(graph)
    stage.robot.breaks_crc = True
    stage.until(lambda: "no_robot_state" in stage.peer.reasons("arm_driver"), "reported")
    (event,) = [event for event in stage.peer.events if event.reason == "no_robot_state"]
    refusal = stage.peer.ask(ArmStatus.MODE_HOLD, ArmStatus.MODE_RELEASED).reason
    for text in (event.detail, refusal):
        assert "has checksum 0x" in text and "nothing" not in text and "cable" not in text
    stage.robot.breaks_crc = False
    stage.take()
    stage.robot.breaks_crc = True
    stage.until(lambda: stage.peer.status.fault == "robot_lost", "lost")
    stage.until(lambda: "robot_lost" in stage.peer.reasons("arm_driver"), "reported")
    (event,) = [event for event in stage.peer.events if event.reason == "robot_lost"]
    assert "has checksum 0x" in event.detail and "cable" not in event.detail
