# SPDX-License-Identifier: Apache-2.0
"""Who commands, over the wire: actions, session, arms, joint_states; and whether robot and guard live."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from arm_builders import both_arms, outward
from arm_robot_stub import RobotStub
from arm_stage import Stage, quick_parameters
from sensor_msgs.msg import JointState
from unitree_hg.msg import LowCmd

from h1_training_bringup.arm_driver.joints import ARM_MOTORS, COUNT
from h1_training_msgs.msg import ArmStatus, GuardStatus, HandCommand, PolicyAction, SessionState
from h1_training_node import qos
from h1_training_node.stamps import to_stamp
from h1_training_testing import Graph


@pytest.fixture
def stage(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Stage:
    quick_parameters(monkeypatch)
    return Stage(graph)


def into_policy(stage: Stage) -> None:
    """HOLD to POLICY, with the peer's actions flowing."""
    stage.peer.acts = 0.1
    assert stage.peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).accepted
    stage.until(lambda: np.allclose(stage.peer.status.q, outward(0.1), atol=0.01), "the policy is followed, and there")


def stand_still(robot: RobotStub) -> None:
    robot.tick_step = 0


def go_back(robot: RobotStub) -> None:
    robot.tick_step = -1


def repeat_values(robot: RobotStub) -> None:
    robot.has_noise = False
    robot.holds_still = True


@pytest.mark.parametrize("freeze", [stand_still, go_back, repeat_values])
def test_a_robot_whose_states_come_but_do_not_live_is_damped_as_frozen_and_left_in_silence(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, freeze: Callable[[RobotStub], None]
) -> None:
    quick_parameters(monkeypatch, robot_timeout_s=1.0)
    stage = Stage(graph)
    stage.take()
    into_policy(stage)
    freeze(stage.robot)
    stage.until(lambda: stage.peer.status.fault == "robot_frozen", "seen")
    stage.until(lambda: stage.robot.is_damped, "compliant")
    stage.until(lambda: "robot_frozen" in stage.peer.reasons("arm_driver"), "reported")
    count = 0

    def silent() -> bool:
        nonlocal count
        before, count = count, len(stage.robot.commands)
        return before == count

    stage.until(lambda: np.abs([m.tau for m in stage.robot.commands[-1].motor_cmd[ARM_MOTORS]]).max() < 0.05, "faded")
    states = stage.robot.states
    stage.until(lambda: stage.robot.states > states + 100, "a while")
    count = len(stage.robot.commands)
    states = stage.robot.states
    stage.until(lambda: stage.robot.states > states + 100, "a while")
    assert silent(), "nothing is commanded on a state that nobody vouches for"
    answer = stage.peer.call("arm_driver/acknowledge")
    assert not answer.success and answer.message.startswith("robot_frozen: it lasts: ")
    assert stage.peer.reasons("arm_driver").count("robot_frozen") == 1


def test_actions_with_another_token_are_refused_whole_though_their_numbers_are_higher(stage: Stage) -> None:
    stage.take()
    into_policy(stage)
    actions = stage.peer.actions  # the same writer: only the token differs
    before = np.array(stage.peer.status.q_command)

    def intrude() -> bool:
        now_ns = stage.driver.now_ns()
        action = PolicyAction(seq=10**9, positions=outward(0.7).astype(np.float32), execution=1)
        action.header.stamp = action.observation_stamp = to_stamp(now_ns)
        actions.publish(action)
        return stage.peer.status.refused_actions > 3

    stage.until(intrude, "they are refused")
    stage.until(lambda: "action_of_another_execution" in stage.peer.reasons("arm_driver"), "reported")
    assert stage.peer.status.mode == ArmStatus.MODE_POLICY, "the one that drives goes on driving"
    np.testing.assert_allclose(stage.peer.status.q_command, before, atol=0.05)


def test_the_token_is_new_after_each_handover_and_the_last_one_is_no_key(stage: Stage) -> None:
    stage.take()
    first = stage.peer.status.execution
    assert first > 0
    into_policy(stage)
    assert stage.peer.status.execution == first
    assert stage.peer.ask(ArmStatus.MODE_HOLD, ArmStatus.MODE_POLICY).accepted
    stage.until(lambda: stage.peer.status.mode == ArmStatus.MODE_HOLD, "held")
    assert stage.peer.status.execution not in (0, first)


@pytest.mark.parametrize(
    ("topic", "kind"), [("policy/action", PolicyAction), ("hands/left/command", HandCommand)], ids=["actions", "hands"]
)
def test_a_second_publisher_of_what_the_policy_puts_out_ends_it_in_damping(
    stage: Stage, topic: str, kind: type
) -> None:
    stage.take()
    into_policy(stage)
    others = [stage.peer.create_publisher(kind, topic, qos.STATE) for _ in range(2)]
    stage.until(lambda: stage.peer.status.fault == "foreign_commander", "seen")
    assert stage.peer.status.mode == ArmStatus.MODE_DAMPING
    stage.until(lambda: any("where there may be one" in event.detail for event in stage.peer.events), "reported")
    for other in others:
        stage.peer.destroy_publisher(other)


def test_a_second_publisher_of_the_sessions_state_is_a_foreign_commander(stage: Stage) -> None:
    stage.take()
    other = stage.peer.create_publisher(SessionState, "session/state", qos.LATCHED)
    stage.until(lambda: stage.peer.status.fault == "foreign_commander", "seen")
    assert stage.peer.status.mode == ArmStatus.MODE_DAMPING
    stage.peer.destroy_publisher(other)


def test_a_second_guard_whose_heartbeat_would_hide_the_death_of_the_first_is_a_foreign_commander(stage: Stage) -> None:
    stage.take()
    others = [stage.peer.create_publisher(GuardStatus, "arm_guard/status", qos.STATE) for _ in range(2)]
    stage.until(lambda: stage.peer.status.fault == "foreign_commander", "seen")
    assert stage.peer.status.mode == ArmStatus.MODE_DAMPING
    for other in others:
        stage.peer.destroy_publisher(other)


def test_one_command_on_arm_sdk_that_is_not_the_drivers_damps_the_arms(stage: Stage) -> None:
    stage.take()
    intruder = stage.peer.create_publisher(LowCmd, "/arm_sdk", qos.STATE)
    stage.until(lambda: intruder.get_subscription_count() >= 2, "robot and driver listen")
    intruder.publish(LowCmd())
    stage.until(lambda: stage.peer.status.fault == "foreign_commander" and stage.robot.is_damped, "seen")
    assert stage.peer.status.mode == ArmStatus.MODE_DAMPING
    motors = [command.motor_cmd[ARM_MOTORS.start] for command in stage.robot.commands]
    foreign = max(n for n, motor in enumerate(motors) if motor.kp == motor.kd == 0.0)
    damped = next(n for n, motor in enumerate(motors) if motor.kp == 0.0 and motor.kd > 0.0 and n > foreign)
    assert damped - foreign <= 12, "50 ms of commands, whatever this machine is doing"
    stage.peer.destroy_publisher(intruder)


def test_a_publisher_of_the_robots_own_may_be_allowed_beside(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    quick_parameters(monkeypatch, arm_sdk_allowed=("peer",))
    stage = Stage(graph)
    own = stage.peer.create_publisher(LowCmd, "/arm_sdk", qos.STATE)
    stage.until(lambda: not stage.driver._content_identifies, "it is known")
    stage.take()
    sent = len(stage.robot.commands)
    own.publish(LowCmd())
    stage.until(lambda: len(stage.robot.commands) > sent + 300, "the driver goes on")
    stage.until(
        lambda: stage.peer.reasons("arm_driver").count("allowed_commander") == 1, "that it commands is reported"
    )
    assert stage.peer.status.mode == ArmStatus.MODE_HOLD and stage.peer.status.fault == ""
    stage.peer.destroy_publisher(own)


def test_joint_states_that_somebody_else_publishes_too_are_refused_with_the_way_out(stage: Stage) -> None:
    other = stage.peer.create_publisher(JointState, "joint_states", qos.STATE)
    stage.until(lambda: "joint_states_shared" in stage.peer.reasons("arm_driver"), "reported")
    stage.until(lambda: stage.peer.statuses and stage.peer.status.state_rate > 50, "the driver hears the robot")
    answer = stage.peer.ask(ArmStatus.MODE_HOLD, ArmStatus.MODE_RELEASED)
    assert not answer.accepted and "namespace" in answer.reason
    stage.peer.destroy_publisher(other)
    stage.until(lambda: stage.driver._controller.conditions.not_ours == "", "it is gone")
    stage.take()


@pytest.mark.parametrize("hangs", ["silent", "repeats"])
def test_a_guard_that_hangs_ends_the_policy_in_hold_and_nothing_new_is_granted(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    quick_parameters(monkeypatch, needs_guard=True)
    stage = Stage(graph)
    guard = stage.peer.create_publisher(GuardStatus, "arm_guard/status", qos.STATE)
    seq, lives = 0, True

    def heartbeat() -> None:
        nonlocal seq
        seq += lives
        if lives or hangs == "repeats":
            guard.publish(GuardStatus(seq=seq))

    stage.peer.create_timer(0.05, heartbeat)
    stage.take()
    into_policy(stage)
    lives = False
    stage.until(lambda: stage.peer.status.mode == ArmStatus.MODE_HOLD, "the arms hold")
    assert stage.peer.status.reason == "no_guard"
    stage.until(lambda: "no_guard" in stage.peer.reasons("arm_driver"), "reported")
    answer = stage.peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD)
    assert not answer.accepted and answer.reason.startswith("no_guard: ")
    lives = True
    stage.until(lambda: stage.driver._controller.conditions.guard_is_there, "it is back")
    assert stage.peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).accepted


def test_a_policy_that_would_drive_a_hand_into_the_chest_is_held_before_it(stage: Stage) -> None:
    stage.take()
    into_policy(stage)
    stage.peer.acts = None
    begin = len(stage.robot.commands)
    inward = both_arms((0.0, 0.0, -1.2, 0.6, 0.0, 0.0, -1.0)).astype(np.float32)
    sent = 10**6

    def act() -> bool:
        nonlocal sent
        sent += 1
        action = PolicyAction(seq=sent, positions=inward, execution=stage.peer.status.execution)
        action.header.stamp = action.observation_stamp = to_stamp(stage.driver.now_ns())
        stage.peer.actions.publish(action)
        return stage.peer.status.mode == ArmStatus.MODE_HOLD

    stage.until(act, "held", 30.0)
    assert stage.peer.status.reason == "collision_ahead"
    stage.until(lambda: stage.peer.reasons("arm_driver").count("collision_ahead") == 1, "reported once")
    collisions = stage.driver._controller.stiff.collisions
    lowest = min(
        collisions.distances(np.array([motor.q for motor in command.motor_cmd[ARM_MOTORS]]), 0.0).min()
        for command in stage.robot.commands[begin::5]
    )
    assert lowest >= 0.029
    stage.until(
        lambda: 0.0 < stage.peer.status.clearance < 0.06 and stage.peer.status.closest, "how near it is, is said"
    )
    assert len(stage.peer.status.q) == COUNT


def test_the_release_counts_down_in_arm_status(stage: Stage) -> None:
    stage.take()
    assert stage.peer.status.release_countdown == 0.0
    assert stage.peer.call("arm_driver/release").success
    stage.until(lambda: 0.0 < stage.peer.status.release_countdown <= 0.5, "announced")
    stage.until(lambda: stage.peer.status.release_countdown == 0.0 and stage.robot.weight < 1.0, "it falls")
