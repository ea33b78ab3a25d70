# SPDX-License-Identifier: Apache-2.0
"""The arm driver's node over real DDS, with a small robot that answers in the robot's own messages."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from arm_robot_stub import RobotStub
from arm_stage import Stage, quick_parameters
from rclpy.node import Node
from std_msgs.msg import Bool, String
from unitree_hg.msg import LowCmd
from visualization_msgs.msg import MarkerArray

from h1_training_bringup.arm_driver import arm_driver_node
from h1_training_bringup.arm_driver.joints import ARM_MOTORS, NAMES, URDF, WAIST_MOTOR
from h1_training_msgs.msg import ArmStatus
from h1_training_node import qos
from h1_training_node.stamps import to_ns
from h1_training_testing import Graph


@pytest.fixture
def stage(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Stage:
    quick_parameters(monkeypatch)
    return Stage(graph)


def test_commands_are_what_the_robot_expects(stage: Stage) -> None:
    stage.take()
    command = stage.robot.commands[-1]
    assert stage.robot.crc_failures == 0 and command.mode_machine == 6 and command.mode_pr == 0
    modes = [motor.mode for motor in command.motor_cmd]
    assert modes == [0] * 12 + [1] * 15 + [0] * 8, "waist and arms, nothing else"
    assert command.motor_cmd[WAIST_MOTOR].kp == 200.0
    assert all(motor.kp > 0 for motor in command.motor_cmd[ARM_MOTORS])
    assert not any(motor.kp or motor.tau for motor in command.motor_cmd[:WAIST_MOTOR]), "the legs are not ours"


def test_joint_states_and_arm_status_carry_the_same_stamps_and_the_measured_arms(stage: Stage) -> None:
    stage.robot.state["motor_state"]["q"][ARM_MOTORS] = np.linspace(-0.3, 0.3, 14)
    stage.until(lambda: len(stage.peer.joint_states) > 20 and len(stage.peer.statuses) > 20, "both come")
    joint_state = stage.peer.joint_states[-2]
    assert tuple(joint_state.name) == NAMES
    np.testing.assert_allclose(joint_state.position, np.linspace(-0.3, 0.3, 14), atol=1e-6)
    same = [status for status in stage.peer.statuses if status.header.stamp == joint_state.header.stamp]
    assert len(same) == 1
    np.testing.assert_allclose(same[0].q, joint_state.position, atol=1e-6)
    assert stage.peer.status.mode == ArmStatus.MODE_RELEASED and stage.peer.status.weight == 0.0
    assert stage.peer.status.q_command.tolist() == stage.peer.status.q.tolist()


def test_status_numbers_have_no_gap_and_stamps_rise(stage: Stage) -> None:
    stage.until(lambda: len(stage.peer.statuses) > 40, "statuses come")
    numbers = [status.seq for status in stage.peer.statuses]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    stamps = [to_ns(status.header.stamp) for status in stage.peer.statuses]
    assert stamps == sorted(set(stamps))


def test_without_a_robot_it_says_so_once_and_publishes_nothing(stage: Stage) -> None:
    stage.robot.talks = False
    stage.until(lambda: "no_robot_state" in stage.peer.reasons("arm_driver"), "the driver complains")
    assert stage.peer.statuses == []
    assert stage.peer.ask(ArmStatus.MODE_HOLD, ArmStatus.MODE_RELEASED).reason.startswith("no_robot_state")


def test_policy_actions_move_the_arms_and_a_key_damps_them(stage: Stage) -> None:
    stage.take()
    assert stage.peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).accepted
    assert stage.peer.status.mode == ArmStatus.MODE_POLICY, "the status was out before the answer"
    stage.peer.acts = 0.3
    stage.until(lambda: stage.robot.commands[-1].motor_cmd[16].q > 0.29, "the elbow follows")
    assert stage.peer.status.action_seq > 0
    assert stage.peer.ask(ArmStatus.MODE_DAMPING, ArmStatus.MODE_POLICY, why="operator").accepted
    stage.until(lambda: stage.robot.is_damped, "damped")
    assert stage.peer.status.reason == "operator" and not stage.peer.status.acknowledge_needed


def test_a_policy_that_falls_silent_leaves_the_arms_held_with_an_event(stage: Stage) -> None:
    stage.take()
    stage.peer.acts = 0.1
    assert stage.peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).accepted
    stage.until(lambda: stage.peer.status.action_seq > 3, "followed")
    stage.peer.acts = None
    stage.until(lambda: stage.peer.status.mode == ArmStatus.MODE_HOLD, "held")
    assert stage.peer.status.reason == "stale_action"
    stage.until(lambda: stage.peer.reasons("arm_driver").count("stale_action") == 1, "reported once")


def test_a_session_that_falls_silent_damps_the_arms_until_acknowledged(stage: Stage) -> None:
    stage.take()
    stage.peer.sends_heartbeat = False
    stage.until(lambda: stage.peer.status.fault == "session_lost", "noticed")
    stage.until(lambda: stage.robot.is_damped, "damped")
    assert stage.peer.status.acknowledge_needed
    assert not stage.peer.call("arm_driver/acknowledge").success
    stage.peer.sends_heartbeat = True
    stage.until(lambda: stage.peer.call("arm_driver/acknowledge").success, "acknowledged")
    stage.until(lambda: not stage.peer.status.acknowledge_needed, "the status says so")


def test_messages_that_cannot_be_read_are_dropped_and_reported_once(stage: Stage) -> None:
    stage.take()
    stage.peer.acts = 0.1
    assert stage.peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).accepted
    for _ in range(3):
        for publisher in (stage.peer.actions, stage.peer.session):
            publisher.publish(b"\x00\x01\x00\x00" + bytes(12))
    stage.until(lambda: "unreadable_message" in stage.peer.reasons("arm_driver"), "reported")
    seq = stage.peer.status.action_seq
    stage.until(lambda: stage.peer.status.action_seq > seq + 20, "the policy is followed on")
    reports = [event.detail for event in stage.peer.events if event.reason == "unreadable_message"]
    assert sorted(detail.partition(":")[0] for detail in reports) == ["policy/action", "session/state"]
    assert stage.peer.status.mode == ArmStatus.MODE_POLICY


def test_the_emergency_stop_topic_damps_and_names_who_and_why(stage: Stage) -> None:
    stage.take()
    stage.peer.stop.publish(String(data="pedal: stepped on"))
    stage.until(lambda: stage.robot.is_damped, "damped")
    stage.until(lambda: "by pedal: stepped on" in [event.detail for event in stage.peer.events], "reported")
    stage.until(lambda: stage.peer.status.fault == "emergency_stop", "reported")


def test_an_emergency_stop_is_heard_of_a_publisher_that_offers_best_effort_only(stage: Stage) -> None:
    stage.take()
    pedal = stage.peer.create_publisher(String, "emergency_stop", qos.LATEST)
    stage.until(pedal.get_subscription_count, "the driver listens")
    pedal.publish(String(data="pedal: stepped on"))
    stage.until(lambda: stage.robot.is_damped, "damped")
    stage.until(lambda: stage.peer.status.fault == "emergency_stop", "reported")


def test_the_emergency_stop_service_stays_until_release_and_release_ends_at_weight_zero(stage: Stage) -> None:
    stage.take()
    assert stage.peer.call("arm_driver/emergency_stop").success
    stage.peer.stop.publish(String(data="session_manager: key q"))
    stage.until(lambda: stage.robot.is_damped, "damped")
    stage.until(lambda: any("key q" in event.detail for event in stage.peer.events), "the slower one, too, is reported")
    refusal = stage.peer.call("arm_driver/acknowledge")
    assert not refusal.success and "arm_driver/release" in refusal.message
    assert stage.peer.call("arm_driver/release").success
    stage.until(lambda: stage.peer.status.mode == ArmStatus.MODE_RELEASED, "released")
    assert stage.robot.weight == 0.0 and "release_warning" in stage.peer.reasons("arm_driver")


def test_another_publisher_of_commands_is_named_and_damps(stage: Stage, graph: Graph) -> None:
    stage.take()
    intruder = graph.add(Node("teleop"))
    intruder.create_publisher(LowCmd, "/arm_sdk", 10)
    stage.until(lambda: stage.peer.status.fault == "foreign_commander", "noticed")
    assert stage.robot.is_damped or stage.peer.status.mode == ArmStatus.MODE_DAMPING
    stage.until(lambda: any("teleop" in event.detail for event in stage.peer.events), "named")


def test_a_second_robot_in_the_domain_is_noticed(stage: Stage, graph: Graph) -> None:
    stage.take()
    graph.add(RobotStub())
    stage.until(lambda: stage.peer.status.fault == "foreign_commander", "noticed")


def test_when_the_guard_has_taken_over_the_driver_is_silent(stage: Stage, graph: Graph) -> None:
    stage.take()
    guard = graph.add(Node("arm_guard"))
    guard.create_publisher(Bool, "arm_guard/active", qos.LATCHED).publish(Bool(data=True))
    stage.until(lambda: stage.peer.status.fault == "guard_took_over", "given way")
    count = len(stage.robot.commands)
    seq = stage.peer.status.seq
    stage.until(lambda: stage.peer.status.seq > seq + 10, "time passes")
    assert len(stage.robot.commands) <= count + 2


def test_the_shapes_that_keep_clear_of_each_other_are_there_for_rviz2_in_the_frames_of_the_model(stage: Stage) -> None:
    shapes: list[MarkerArray] = []
    stage.peer.create_subscription(MarkerArray, "arm_driver/collision_shapes", shapes.append, qos.LATCHED)
    stage.until(lambda: shapes, "they are latched")
    links = {link.get("name") for link in ElementTree.parse(URDF).iter("link")}
    assert {marker.header.frame_id for marker in shapes[0].markers} <= links
    assert {"left_elbow_link", "right_wrist_yaw_link", "torso_link"} <= {m.header.frame_id for m in shapes[0].markers}


@pytest.mark.parametrize("arguments", [["wiegh"], ["--joint", "left_elbow"], ["--ros-args", "-r", "a:=b", "--", "jgo"]])
def test_a_command_that_there_is_not_starts_no_second_driver(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["arm_driver", *arguments])
    monkeypatch.setattr(arm_driver_node, "run_node", lambda _: pytest.fail("a driver was started"))
    assert arm_driver_node.main() == 2
    word = arguments[-1] if "--ros-args" in arguments else arguments[0]
    assert f"no command '{word}'; there are jog, weigh" in capsys.readouterr().err


def test_what_ros_adds_to_its_line_is_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["arm_driver", "--ros-args", "-r", "/lowstate:=sim/lowstate", "-p", "hung_s:=2.0"])
    monkeypatch.setattr(arm_driver_node, "run_node", lambda _: 0)
    assert arm_driver_node.main() == 0
