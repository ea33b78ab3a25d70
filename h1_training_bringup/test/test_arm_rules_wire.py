# SPDX-License-Identifier: Apache-2.0
"""Rules that hold in every mode, over the wire: what is refused whole, the waist, the handover, and whose topics."""

from __future__ import annotations

import numpy as np
import pytest
from arm_stage import Stage, quick_parameters

from h1_training_bringup.arm_driver.joints import ARM_MOTORS, COUNT, WAIST_MOTOR, WEIGHT_MOTOR
from h1_training_bringup.arm_driver.trajectory import PERIOD_S
from h1_training_msgs.msg import ArmStatus, PolicyAction
from h1_training_node.stamps import to_stamp
from h1_training_testing import Graph


@pytest.fixture
def stage(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Stage:
    quick_parameters(monkeypatch)
    return Stage(graph)


@pytest.mark.parametrize(
    ("positions", "seen_s_ago", "reason"),
    [
        ([0.5] * 13, 0.0, "action_length"),
        ([0.5] * 13 + [float("nan")], 0.0, "action_not_finite"),
        ([0.5] * 13 + [float("inf")], 0.0, "action_not_finite"),
        ([0.5] * COUNT, 60.0, "action_too_old"),
    ],
)
def test_a_bad_action_is_refused_whole_reported_once_and_the_arms_hold(
    stage: Stage, positions: list[float], seen_s_ago: float, reason: str
) -> None:
    peer, robot = stage.peer, stage.robot
    stage.take()
    actions = peer.actions
    held = [motor.q for motor in robot.commands[-1].motor_cmd[ARM_MOTORS]]
    assert peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).accepted
    sent = 0

    def refused() -> bool:
        nonlocal sent
        sent += 1
        now_ns = stage.driver.now_ns()
        action = PolicyAction(seq=sent, positions=positions, execution=peer.status.execution)
        action.header.stamp = to_stamp(now_ns)
        action.observation_stamp = to_stamp(now_ns - round(seen_s_ago * 1e9))
        actions.publish(action)
        return peer.status.refused_actions >= 1

    begin = len(robot.commands)
    stage.until(refused, "it is refused")
    stage.until(lambda: reason in peer.reasons("arm_driver"), "reported")
    stage.until(lambda: peer.status.mode == ArmStatus.MODE_HOLD, "without a good one the arms hold")
    assert peer.status.reason == "stale_action" and peer.reasons("arm_driver").count(reason) == 1
    for command in robot.commands[begin:]:
        np.testing.assert_allclose([motor.q for motor in command.motor_cmd[ARM_MOTORS]], held, atol=1e-6)


def test_the_waist_is_held_where_it_was_measured_whenever_the_weight_is_above_zero(stage: Stage) -> None:
    robot = stage.robot
    robot.state["motor_state"]["q"][WAIST_MOTOR] = 0.15
    stage.take()
    assert stage.peer.ask(ArmStatus.MODE_DAMPING, ArmStatus.MODE_HOLD).accepted
    stage.until(lambda: robot.is_damped, "damped")
    assert stage.peer.call("arm_driver/release").success
    stage.until(lambda: robot.weight == 0.0, "released")
    weighted = [command for command in robot.commands if command.motor_cmd[WEIGHT_MOTOR].q > 0]
    assert len(weighted) > 100
    for command in weighted:
        waist = command.motor_cmd[WAIST_MOTOR]
        assert waist.mode == 1 and waist.kp > 0 and waist.kd > 0
        assert waist.q == pytest.approx(0.15)


def test_from_where_a_person_left_the_arms_the_policy_goes_on_within_the_limits(stage: Stage) -> None:
    """However far its first target is; each command is one period after the one before it."""
    peer, robot = stage.peer, stage.robot
    stage.take()
    assert peer.ask(ArmStatus.MODE_DAMPING, ArmStatus.MODE_HOLD).accepted
    stage.until(lambda: robot.is_damped, "damped")
    left_at = np.array([0.3, 0.4, -0.2, 0.5, 0.1, 0.1, -0.1] * 2) * np.r_[np.ones(7), [1, -1, -1, 1, -1, 1, -1]]
    robot.holds_still = True  # moved by a person, not by commands
    for share in np.linspace(0.05, 1.0, 60):  # faster than this a joint is taken for a wrong reading
        robot.state["motor_state"]["q"][ARM_MOTORS] = 0.1 + share * (left_at - 0.1)
        states = robot.states
        stage.until(lambda states=states: robot.states > states + 1, "the robot publishes it")  # type: ignore[misc]
    stage.until(lambda: np.allclose(peer.status.q, left_at, atol=1e-5), "the arms are where the person left them")
    robot.holds_still = False
    begin = len(robot.commands)
    assert peer.ask(ArmStatus.MODE_HOLD, ArmStatus.MODE_DAMPING, why="resume").accepted
    stage.until(lambda: any(motor.kp for motor in robot.commands[-1].motor_cmd[ARM_MOTORS]), "held")
    peer.acts = -1.0
    assert peer.ask(ArmStatus.MODE_POLICY, ArmStatus.MODE_HOLD).accepted
    stage.until(lambda: peer.status.q[0] < -0.9, "the policy has them")
    stiff = [command for command in robot.commands[begin:] if command.motor_cmd[ARM_MOTORS.start].kp > 0]
    q = np.array([[motor.q for motor in command.motor_cmd[ARM_MOTORS]] for command in stiff])
    np.testing.assert_allclose(q[0], left_at, atol=0.002)
    speed = np.array([1.5, 1.5, 1.5, 1.5, 2.5, 2.5, 2.5] * 2)
    acceleration = np.array([15.0, 15.0, 15.0, 15.0, 25.0, 25.0, 25.0] * 2)
    steps = np.diff(q, axis=0)
    assert (np.abs(steps) <= speed * PERIOD_S * 1.01 + 1e-6).all()
    assert (np.abs(np.diff(steps, axis=0)) <= acceleration * PERIOD_S**2 * 1.01 + 1e-6).all()


def test_nothing_is_ever_published_on_lowcmd(stage: Stage) -> None:
    stage.take()
    driver = [name for name, _ in stage.driver.get_publisher_names_and_types_by_node("arm_driver", "/")]
    assert "/arm_sdk" in driver
    topics = [name for name, _ in stage.driver.get_topic_names_and_types()]
    assert not [name for name in topics if "lowcmd" in name]
