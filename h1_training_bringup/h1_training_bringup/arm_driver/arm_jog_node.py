# SPDX-License-Identifier: Apache-2.0
"""`arm_driver jog`: acquire arm control, move one joint by a small angle and back, releases arm control.

It plays session manager and policy to a running arm driver, whose limits and watchdogs hold as ever; the arm guard
must run, too. Nothing else of a session may.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from rclpy.client import Client
from rclpy.utilities import remove_ros_args
from std_srvs.srv import Trigger

from h1_training_bringup.arm_driver.faults import RELEASED_BY
from h1_training_bringup.arm_driver.jog import Jog, JogError, joint_index
from h1_training_msgs.msg import ArmStatus, PolicyAction, SessionState
from h1_training_msgs.srv import SetArmMode
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.node_main import run_node
from h1_training_node.stamps import to_ns

_PERIOD_S, _HEARTBEAT_PERIODS = 0.02, 5
_PATIENCE_S = 20.0
Condition = Callable[[], object]


class ArmJogNode(BaseNode):
    """Goes through `_steps`, one condition after the other, 50 times a second."""

    def __init__(self, jog: Jog) -> None:
        super().__init__("arm_jog")
        self._jog = jog
        self._status: ArmStatus | None = None
        self._heartbeats = self._ticks = self._actions = 0
        self._measured: list[np.ndarray] = []  # type: ignore[type-arg]
        self._waits_until = 0.0
        self._failed = self._has_asked = False
        # Made once nobody else has the arms: a second publisher of either stops a session that runs.
        self._session: Any = None
        self._action: Any = None
        self._set_mode = self.create_client(SetArmMode, "arm_driver/set_mode")
        self._release = self.create_client(Trigger, "arm_driver/release")
        self.create_subscription(ArmStatus, "arm_status", self._on_status, qos.STATE)
        self._steps = self._all_steps()
        self._condition: Condition = next(self._steps)
        self.every(_PERIOD_S, self._on_tick)

    def request_stop(self, why: str) -> None:
        """Release arm control, if they are here."""
        self._fail(f"stopped by {why}")

    def _on_status(self, status: ArmStatus) -> None:
        self._status = status

    def _on_tick(self) -> None:
        if self.exit_status is not None:
            return
        self._ticks += 1
        if self._session is not None and self._ticks % _HEARTBEAT_PERIODS == 0:
            self._heartbeats += 1
            self._session.publish(SessionState(header=self.header(), seq=self._heartbeats, state="JOG"))
        if self._has_asked and (stop := self._stop()):
            self._leave_stopped(stop)
            return
        try:
            if self._condition():
                self._condition = next(self._steps)
            elif time.monotonic() > self._waits_until:
                self._fail(f"not within {_PATIENCE_S:.0f} s; the arms are in {self._where()}")
        except JogError as error:
            self._fail(str(error))
        except StopIteration:
            self.end(1 if self._failed else 0)

    def _fail(self, why: str) -> None:
        print(f"jog: {why}", file=sys.stderr, flush=True)
        if self._failed or not self._has_asked or not self._has_arms():
            self.end(1)
            return
        if stop := self._stop():
            self._leave_stopped(stop)
            return
        self._failed = True
        self._steps = self._releasing(ArmStatus.MODE_DAMPING)
        self._condition = next(self._steps)

    def _leave_stopped(self, stop: str) -> None:
        """A stop is lifted by a person: ending the jog must not set the arms in motion."""
        service = RELEASED_BY[stop]
        text = f"the arms stay in damping; `ros2 service call /{service} std_srvs/srv/Trigger` releases them"
        print(f"jog: {stop}: {text}", file=sys.stderr, flush=True)
        self.end(1)

    # ---- the steps ------------------------------------------------------------------------------------------------

    def _all_steps(self) -> Iterator[Condition]:
        yield self._wait(lambda: self._status is not None and self._set_mode.service_is_ready())
        if self.count_publishers("session/state"):
            raise JogError("a session manager runs; end the session first (its arms are not ours to move)")
        if self._has_arms():
            raise JogError(f"the arms are in {self._where()}; they must be with the robot's own controller")
        self._session = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self._action = self.create_publisher(PolicyAction, "policy/action", qos.STATE)
        heartbeats = self._heartbeats
        yield self._wait(lambda: self._heartbeats > heartbeats + 3)
        self._has_asked = True
        yield from self._enter(ArmStatus.MODE_HOLD)
        yield self._wait(lambda: not self._now().transition)
        if not self._has_arms():
            raise JogError(f"arm control was not acquired: {self._now().reason}")
        yield from self._enter(ArmStatus.MODE_POLICY)
        yield from self._move()
        for line in self._jog.report(np.array(self._measured)):
            print(line, flush=True)
        yield from self._releasing(ArmStatus.MODE_HOLD)

    def _move(self) -> Iterator[Condition]:
        start = np.array(self._now().q_command, float)
        hold_ns, begin_ns = to_ns(self._now().mode_since), self.now_ns()

        def act() -> bool:
            status = self._now()
            if status.mode != ArmStatus.MODE_POLICY and to_ns(status.mode_since) > hold_ns:
                raise JogError(f"the driver stopped the motion: {status.fault or status.reason}")
            elapsed_s = (self.now_ns() - begin_ns) / 1e9
            self._measured.append(np.array(status.q, float))
            self._actions += 1
            positions = self._jog.positions(start, elapsed_s).astype(np.float32)
            action = PolicyAction(header=self.header(), seq=self._actions, positions=positions)
            action.execution = status.execution
            action.observation_stamp = status.header.stamp
            self._action.publish(action)
            return elapsed_s > self._jog.duration_s

        yield self._wait(act)

    def _enter(self, mode: int) -> Iterator[Condition]:
        request = SetArmMode.Request(who="arm_jog", why="jog", mode=mode, expected_mode=self._now().mode)
        yield from self._ask(self._set_mode, request, lambda answer: (answer.accepted, answer.reason))
        yield self._wait(lambda: self._now().mode == mode)

    def _releasing(self, mode: int) -> Iterator[Condition]:
        if self._now().mode != mode:
            yield from self._enter(mode)
        yield from self._ask(self._release, Trigger.Request(), lambda answer: (answer.success, answer.message))
        print("the arms return to the robot's own controller: stand clear", flush=True)
        yield self._wait(lambda: not self._has_arms())

    def _wait(self, condition: Condition) -> Condition:
        self._waits_until = time.monotonic() + _PATIENCE_S + self._jog.duration_s
        return condition

    def _ask(self, service: Client, request: Any, read: Callable[[Any], tuple[bool, str]]) -> Iterator[Condition]:
        """Call `service`; `read` takes from its answer whether it was granted, and if not, why."""
        future = service.call_async(request)
        yield self._wait(future.done)
        granted, reason = read(future.result())
        if not granted:
            raise JogError(f"the arm driver refuses: {reason}")

    def _now(self) -> ArmStatus:
        assert self._status is not None, "waited for at the start"
        return self._status

    def _has_arms(self) -> bool:
        return self._status is not None and self._status.mode != ArmStatus.MODE_RELEASED

    def _stop(self) -> str:
        """The stop that the arms are in, which is left by a person's release only; empty if there is none.

        A stop that was not the first fault is named by the reason.
        """
        reported = (self._now().fault, self._now().reason) if self._has_arms() else ()
        return next((reason for reason in RELEASED_BY if reason in reported), "")

    def _where(self) -> str:
        if self._status is None:
            return "nobody's hands: there is no arm_status; start arm_driver and arm_guard (robot.launch.py)"
        return f"mode {self._status.mode} ({self._status.fault or self._status.reason})"


def main() -> int:
    """Entry point of `arm_driver jog`."""
    parser = argparse.ArgumentParser(prog="arm_driver jog", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--joint", required=True, help="left_elbow, right_wrist_yaw, ...")
    parser.add_argument("--by", type=float, default=0.05, help="rad, up to 0.3 either way (default 0.05)")
    parser.add_argument("--yes", action="store_true", help="do not ask before the arms move")
    options = parser.parse_args(remove_ros_args(sys.argv)[1:])
    try:
        jog = Jog(joint_index(options.joint), options.by)
    except JogError as error:
        parser.error(str(error))
    if not options.yes:
        print(f"Arm control is acquired, {options.joint} moves by {options.by} rad and back, arm control is released.")
        try:
            key = input("Stand clear. Press 'y' and Enter to begin: ")
        except EOFError:  # no terminal to answer at
            key = ""
        if key.strip().lower() != "y":
            print("Nothing was moved.")
            return 0
    return run_node(lambda: ArmJogNode(jog))
