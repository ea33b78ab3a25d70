# SPDX-License-Identifier: Apache-2.0
"""Arm driver and arm guard as real processes: the driver is killed, or stopped and continued, while it has the arms.

Time is the robot's: it counts its states. A machine that stands still makes the robot stand still, too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from arm_peer import Peer
from arm_robot_stub import RobotStub
from rclpy.node import Node
from std_msgs.msg import Bool
from unitree_hg.msg import LowCmd

from h1_training_bringup.arm_driver.joints import ARM_MOTORS
from h1_training_msgs.msg import ArmStatus
from h1_training_node import qos
from h1_training_node.clock import SessionClock
from h1_training_node.domain import DomainClaim
from h1_training_node.process import PRIORITY_VARIABLE, REALTIME_IF_ALLOWED
from h1_training_testing import Graph

pytestmark = [pytest.mark.graph, pytest.mark.timeout(240)]

PROGRAM = """
import sys
import h1_training_bringup.arm_driver.{name}_node as program
from arm_builders import {quick}
class Parameters({quick}):
    def __init__(self, **values):
        super().__init__(**(values | {changes}))
program.{parameters} = Parameters
sys.exit(program.main())
"""
RATE, SAFE_STATES = 100.0, 50
"""Of the robot's states, Hz; and 500 ms reckoned in them."""
ATTEMPTS = 4
"""A driver that stands still for 100 ms on a busy machine is rightly followed by the guard before it is touched."""


class TookOverEarlyError(Exception):
    """The guard has taken over before the driver was touched."""


class Programs:
    """Both programs in a domain of their own, and everybody else in this process.

    Args:
        driver_topic: what the driver's /arm_sdk is called.
        changes: parameters of the driver; the robot's time-out is the guard's as well.
    """

    def __init__(self, driver_topic: str = "/arm_sdk", **changes: float) -> None:
        changes = {"needs_guard": True} | changes
        # A killed driver stays in discovery for 20 s and would be a foreign commander in the next graph.
        self._claim = DomainClaim()
        clock = SessionClock.from_environment()
        environment = dict(os.environ) | {
            "ROS_DOMAIN_ID": str(self._claim.domain_id),
            PRIORITY_VARIABLE: REALTIME_IF_ALLOWED,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # the tests' own modules among them
        }
        clock.export(environment)
        self.driver = _start("arm_driver", "ArmParameters", "QuickParameters", changes, environment, driver_topic)
        both = {name: value for name, value in changes.items() if name == "robot_timeout_s"}
        quick = {"silence_s": 0.1} | both
        self._guard = _start("arm_guard", "GuardParameters", "QuickGuardParameters", quick, environment)
        self.graph = Graph(self._claim.domain_id)
        self.robot = self.graph.add(RobotStub(RATE))
        self.peer = self.graph.add(Peer(self.graph, clock))
        self._guard_says: list[bool] = []
        self.peer.create_subscription(
            Bool, "arm_guard/active", lambda message: self._guard_says.append(message.data), qos.LATCHED
        )
        self.is_touched = False

    @property
    def guard_has_taken_over(self) -> bool:
        """Whether the guard has said that it commands the arms."""
        return self._guard_says[-1:] == [True]

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Spin until `condition()` holds.

        Raises:
            TookOverEarlyError: the guard has taken over, though nobody touched the driver.
        """
        self.graph.spin_until(lambda: condition() or (self.guard_has_taken_over and not self.is_touched), what, 40.0)
        if self.guard_has_taken_over and not self.is_touched:
            raise TookOverEarlyError

    def touch(self, number: signal.Signals) -> None:
        """Send the driver a signal that keeps it from commanding."""
        self.is_touched = True
        self.driver.send_signal(number)

    def take(self) -> None:
        """From the start to HOLD with all of the weight."""
        self.until(lambda: self._guard_says, "the guard is there")
        self.peer.begin_to_take()
        self.until(lambda: self.robot.weight == 1.0 and not self.peer.status.transition, "taken")

    def close(self) -> None:
        for program in (self.driver, self._guard):
            program.kill()
            program.wait()
        self.graph.close()
        self._claim.release()


def _start(
    name: str,
    parameters: str,
    quick: str,
    changes: dict[str, float],
    environment: dict[str, str],
    topic: str = "/arm_sdk",
) -> subprocess.Popen[bytes]:
    """The program as it is, with parameters that go beyond what a robot's may be (see `arm_builders`)."""
    code = PROGRAM.format(name=name, parameters=parameters, quick=quick, changes=changes)
    command = [sys.executable, "-c", code, "--ros-args", "-r", f"/arm_sdk:={topic}"]
    return subprocess.Popen(command, env=environment, cwd=Path(__file__).parent)


def attempt(scenario: Callable[[Programs], None], **settings: object) -> None:
    """Play `scenario`; again if the machine stood still in its beginning."""
    for number in range(ATTEMPTS):
        at = Programs(**settings)  # type: ignore[arg-type]
        try:
            scenario(at)
            return
        except TookOverEarlyError:
            assert number < ATTEMPTS - 1, "the guard has taken over each time before the driver was touched"
        finally:
            at.close()


def bring_into(mode: str, at: Programs) -> None:
    """The arms are in `mode`, as their commands show."""
    peer, robot = at.peer, at.robot
    if mode == "acquiring":
        at.until(lambda: at.peer.statuses, "the driver is there")
        peer.begin_to_take()
        at.until(lambda: robot.weight > 0.05, "the weight rises")
        return
    at.take()
    if mode == "releasing":
        assert peer.call("arm_driver/release").success
        at.until(lambda: robot.weight < 0.97, "the weight falls")
        return
    wanted = getattr(ArmStatus, f"MODE_{mode}")
    peer.acts = 0.5 if mode == "POLICY" else None
    if mode != "HOLD":
        assert peer.ask(wanted, ArmStatus.MODE_HOLD).accepted
    at.until(lambda: peer.status.mode == wanted, "in that mode")
    at.until(lambda: mode != "POLICY" or abs(robot.commands[-1].motor_cmd[ARM_MOTORS.start].dq) > 0.1, "under way")


@pytest.mark.parametrize("mode", ["HOLD", "HOME", "POLICY", "DAMPING", "acquiring", "releasing"])
def test_after_kill_9_of_the_driver_the_guard_damps_the_arms_within_500_ms(mode: str) -> None:
    def scenario(at: Programs) -> None:
        bring_into(mode, at)
        at.touch(signal.SIGKILL)
        at.driver.wait()
        killed_at, received, weight = at.robot.states, len(at.robot.commands), at.robot.weight
        at.until(lambda: at.guard_has_taken_over and len(at.robot.commands) > received + 20, "the guard takes over")
        first = at.robot.states_before_first(lambda command: command.motor_cmd[ARM_MOTORS.start].kp == 0.0, received)
        assert first - killed_at <= SAFE_STATES
        assert at.robot.is_damped and at.robot.crc_failures == 0
        assert at.robot.weight == weight or mode in ("acquiring", "releasing")
        assert at.robot.weight == pytest.approx(weight, abs=0.2), "but for commands that were on their way"
        at.until(lambda: "guard_took_over" in at.peer.reasons("arm_guard"), "reported")
        kept, count = at.robot.weight, len(at.robot.commands)
        at.until(lambda: len(at.robot.commands) > count + 50, "it goes on")
        assert at.robot.is_damped and at.robot.weight == kept, "until a person releases"

    # So slowly that the weight hardly differs between what was sent last and what was received last.
    attempt(scenario, release_ramp_s=20.0, acquire_ramp_s=10.0 if mode == "acquiring" else 0.5)


@pytest.mark.parametrize("fate", ["hung", "killed"])
def test_arms_left_behind_a_lost_robot_by_a_driver_that_hung_or_died_are_released_by_the_guard(fate: str) -> None:
    def scenario(at: Programs) -> None:
        peer, robot = at.peer, at.robot
        at.take()
        at.is_touched = True  # from here on a guard that takes over is a failure, not a machine that stood still
        robot.talks = False
        at.until(lambda: peer.status.fault == "robot_lost" and not peer.status.kd.any(), "lost, faded, silent")
        tick = int(robot.state["tick"])
        at.driver.send_signal(signal.SIGSTOP if fate == "hung" else signal.SIGKILL)
        at.until(lambda: int(robot.state["tick"]) > tick + 1.5 * RATE, "more than a second passes")
        blind = "robot_lost: nobody would see"
        at.until(lambda: peer.call("arm_guard/release").message.startswith(blind), "the guard has let them go, too")
        robot.talks = True
        if fate == "hung":
            at.driver.send_signal(signal.SIGCONT)
            at.until(lambda: peer.status.reason == "driver_hung", "it has noticed")
            assert "arm_guard/release" in peer.call("arm_driver/release").message
        received, states = len(robot.commands), robot.states
        at.until(lambda: robot.states > states + RATE, "a second passes")
        assert len(robot.commands) == received and not at.guard_has_taken_over, "nobody tears the arms from the robot"
        at.until(lambda: peer.call("arm_guard/release").success, "a person says so; the guard hears the robot")
        at.until(lambda: len(robot.commands) > received + 10, "the guard takes over")
        assert (
            robot.is_damped and robot.weight == 1.0 and max(abs(m.tau) for m in robot.commands[received].motor_cmd) > 1
        )
        at.until(lambda: robot.weight == 0.0, "released")
        assert {"guard_took_over", "release_warning"} <= set(peer.reasons("arm_guard"))

    attempt(scenario, robot_timeout_s=0.5, hung_s=1.0)


@pytest.mark.parametrize("long", [False, True])
def test_a_driver_that_was_stopped_and_is_continued_stays_silent_once_the_guard_has_taken_over(long: bool) -> None:
    commands: list[LowCmd] = []

    def scenario(at: Programs) -> None:
        relay = at.graph.add(Node("relay"))
        onward = relay.create_publisher(LowCmd, "/arm_sdk", 10)

        def pass_on(sample: bytes) -> None:
            commands.append(sample)
            onward.publish(sample)

        relay.create_subscription(LowCmd, "voice_of_the_driver", pass_on, 10, raw=True)
        at.take()
        at.touch(signal.SIGSTOP)
        at.until(lambda: at.guard_has_taken_over and at.robot.is_damped, "the guard takes over")
        # What it said before is received by then; and more than a second passes, if it must.
        enough = at.robot.states + (1.5 if long else 0.3) * RATE
        at.until(lambda: at.robot.states > enough, "time passes")
        sent_before, statuses = len(commands), len(at.peer.statuses)
        at.driver.send_signal(signal.SIGCONT)
        at.until(lambda: len(at.peer.statuses) > statuses + 50, "the driver lives again for a second")
        assert len(commands) <= sent_before + 1, "silent, but for a command that was on its way when it was stopped"
        assert at.robot.is_damped
        if long:
            assert at.peer.status.fault in ("driver_hung", "guard_took_over"), "whichever it found out first"
        assert at.peer.call("arm_guard/release").success
        at.until(lambda: at.robot.weight == 0.0, "released by the guard")

    attempt(scenario, driver_topic="voice_of_the_driver", **({"hung_s": 1.0} if long else {}))
