# SPDX-License-Identifier: Apache-2.0
"""One joint by a small angle and back: the motion, and the command against a running driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import StringIO

import numpy as np
import pytest
from arm_peer import Peer
from arm_robot_stub import RobotStub
from arm_stage import quick_parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.node import Node
from std_msgs.msg import String

from h1_training_bringup.arm_driver import arm_jog_node
from h1_training_bringup.arm_driver.arm_driver_node import ArmDriverNode
from h1_training_bringup.arm_driver.arm_guard_node import ArmGuardNode
from h1_training_bringup.arm_driver.arm_jog_node import ArmJogNode
from h1_training_bringup.arm_driver.jog import GREATEST_RAD, Jog, JogError, joint_index
from h1_training_bringup.arm_driver.joints import ARM_MOTORS, COUNT
from h1_training_msgs.msg import SessionState
from h1_training_node import qos
from h1_training_testing import Graph

ELBOW = joint_index("left_elbow")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, COUNT - 1), st.floats(0.001, GREATEST_RAD), st.sampled_from([-1, 1]))
def test_only_that_joint_moves_by_that_much_slowly_and_back(joint: int, size: float, sign: int) -> None:
    jog = Jog(joint, sign * size)
    start = np.linspace(-0.5, 0.5, COUNT)
    rows = np.array([jog.positions(start, n * 0.02) for n in range(round(jog.duration_s * 50) + 10)]) - start
    assert not np.delete(rows, joint, axis=1).any()
    np.testing.assert_allclose(np.abs(rows).max(), size, rtol=1e-6)
    assert (np.sign(rows[:, joint]) * sign >= 0).all() and abs(rows[-1, joint]) < 1e-9
    assert (np.abs(np.diff(rows[:, joint])) / 0.02).max() <= 0.6


@pytest.mark.parametrize("by", [0.0, 0.31, -1.0, float("nan"), float("inf")])
def test_a_way_that_is_too_far_or_none_is_refused(by: float) -> None:
    with pytest.raises(JogError, match="either way, and not 0"):
        Jog(0, by)


def test_an_unknown_joint_is_answered_with_those_that_there_are() -> None:
    assert joint_index("right_wrist_yaw_joint") == COUNT - 1
    with pytest.raises(JogError, match="left_shoulder_pitch, left_shoulder_roll"):
        joint_index("left_knee")


def test_the_report_names_a_joint_that_moved_though_it_was_to_be_held() -> None:
    measured = np.zeros((3, COUNT))
    measured[1, ELBOW], measured[2, 5] = 0.05, -0.03
    lines = Jog(ELBOW, 0.1).report(measured)
    assert lines[0] == "left_elbow_joint was sent +0.100 rad and went +0.050"
    assert lines[1:] == ["left_wrist_pitch_joint was to be held and went -0.030"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--joint", "left_elbow", "--byy", "0.01"], "unrecognized arguments: --byy"),
        (["--joint", "left_elbow", "--yse"], "unrecognized arguments: --yse"),
        (["--joint", "left_knee"], "no arm joint 'left_knee'"),
    ],
)
def test_an_option_that_there_is_not_moves_nothing(
    arguments: list[str], text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["arm_driver", *arguments, "--ros-args", "-r", "__ns:=/robot"])
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("it would go on"))
    with pytest.raises(SystemExit):
        arm_jog_node.main()
    assert text in capsys.readouterr().err


def test_without_a_terminal_to_answer_nothing_is_moved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["arm_driver", "--joint", "left_elbow"])
    monkeypatch.setattr("sys.stdin", StringIO(""))
    assert arm_jog_node.main() == 0
    assert "Nothing was moved." in capsys.readouterr().out


class Scene:
    """A robot, driver and guard."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.driver, self.guard = graph.add(ArmDriverNode()), graph.add(ArmGuardNode())
        self.robot = graph.add(RobotStub())

    def jog(self, by: float = 0.1) -> ArmJogNode:
        return self.graph.add(ArmJogNode(Jog(ELBOW, by)))

    def positions(self) -> np.ndarray:
        """Of all commands so far, (n, 14)."""
        return np.array([[motor.q for motor in command.motor_cmd[ARM_MOTORS]] for command in self.robot.commands])


@pytest.fixture
def scene(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    quick_parameters(monkeypatch, needs_guard=True, weight_limit=0.2)
    monkeypatch.setattr("h1_training_bringup.arm_driver.jog._SPEED_RAD_S", 0.2)
    monkeypatch.setattr("h1_training_bringup.arm_driver.jog._SHORTEST_S", 0.3)
    monkeypatch.setattr("h1_training_bringup.arm_driver.jog._STAY_S", 0.3)
    yield Scene(graph)


def test_the_command_acquires_the_arms_moves_the_joint_and_releases_them(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = scene.jog()
    scene.graph.spin_until(lambda: subject.exit_status is not None, "done", 40.0)
    output = capsys.readouterr()
    assert subject.exit_status == 0, output.err
    assert scene.robot.weight == 0.0 and max(c.motor_cmd[27].q for c in scene.robot.commands) == pytest.approx(0.2)
    ways = scene.positions() - 0.1
    assert ways[:, ELBOW].max() == pytest.approx(0.1, abs=0.01)
    assert np.abs(np.delete(ways, ELBOW, axis=1)).max() < 1e-3
    assert "left_elbow_joint was sent +0.100 rad and went +0." in output.out and "all other joints stood" in output.out


def test_asked_to_stop_it_damps_the_arms_and_releases_them(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    subject = scene.jog()
    scene.graph.spin_until(lambda: len(scene.robot.commands) and scene.robot.commands[-1].motor_cmd[16].q > 0.12, "out")
    subject.request_stop("SIGINT")
    scene.graph.spin_until(lambda: scene.robot.is_damped, "damped")
    scene.graph.spin_until(lambda: subject.exit_status is not None, "released", 40.0)
    assert subject.exit_status == 1 and scene.robot.weight == 0.0
    assert "stopped by SIGINT" in capsys.readouterr().err


def test_it_leaves_the_arms_of_a_running_session_alone(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    other = scene.graph.add(Node("session_manager"))
    other.create_publisher(SessionState, "session/state", qos.LATCHED)
    subject = scene.jog()
    scene.graph.spin_until(lambda: subject.exit_status is not None, "refused", 40.0)
    assert subject.exit_status == 1 and "a session manager runs" in capsys.readouterr().err
    assert len(scene.robot.commands) == 0


def test_a_motion_that_the_driver_stops_is_reported_and_the_arms_are_released(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.robot.holds_still = True
    subject = scene.jog(0.3)
    scene.graph.spin_until(lambda: subject.exit_status is not None, "released", 40.0)
    assert subject.exit_status == 1 and scene.robot.weight == 0.0
    assert "the driver stopped the motion: blocked" in capsys.readouterr().err


def stop_when(scene: Scene, condition: Callable[[], object], what: str) -> None:
    """Through the topic, as any program may."""
    publisher = scene.graph.add(Node("pedal")).create_publisher(String, "emergency_stop", qos.STATE)
    scene.graph.spin_until(publisher.get_subscription_count, "the driver listens")
    scene.graph.spin_until(condition, what, 40.0)
    publisher.publish(String(data="pedal: a test"))


def stays_stopped(scene: Scene, subject: ArmJogNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The jog ends, and for a while longer than warning and ramp the arms keep all of their weight."""
    scene.graph.spin_until(lambda: subject.exit_status is not None, "the jog ends", 40.0)
    assert subject.exit_status == 1
    assert "the arms stay in damping; `ros2 service call /arm_driver/release std_srvs" in capsys.readouterr().err
    count, weight = len(scene.robot.commands), scene.robot.weight
    scene.graph.spin_until(lambda: len(scene.robot.commands) > count + 400, "time passes", 40.0)
    assert scene.robot.is_damped and scene.robot.weight == weight > 0.0


def test_an_emergency_stop_is_left_to_a_person_to_lift(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    subject = scene.jog()
    stop_when(scene, lambda: len(subject._measured) > 5, "it moves")
    stays_stopped(scene, subject, capsys)


def test_an_emergency_stop_while_the_jog_releases_is_left_to_a_person_too(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = scene.jog(0.02)
    stop_when(scene, lambda: subject._measured and subject._now().transition, "people are warned")
    stays_stopped(scene, subject, capsys)


def test_arms_that_another_has_are_not_released_by_a_jog_that_is_refused(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = scene.graph.add(Peer(scene.graph, scene.driver.clock_ns))
    peer.begin_to_take()
    scene.graph.spin_until(lambda: scene.robot.weight == pytest.approx(0.2), "taken by another")
    subject = scene.jog()
    scene.graph.spin_until(lambda: subject.exit_status is not None, "refused", 40.0)
    assert subject.exit_status == 1 and "a session manager runs" in capsys.readouterr().err
    count = len(scene.robot.commands)
    scene.graph.spin_until(lambda: len(scene.robot.commands) > count + 100, "time passes")
    assert not scene.robot.is_damped and scene.robot.weight == pytest.approx(0.2)
