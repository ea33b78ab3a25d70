# SPDX-License-Identifier: Apache-2.0
"""The arm loop on the wire: period, CPU, key to damping, and the guard after `kill -9`.

    python h1_training_bringup/bench/bench_arm_loop.py

Starts robot, arm driver and arm guard as processes of their own, in a domain of their own, and plays the session
manager itself: a key is a message on `keyboard`, answered with `set_mode` by the very callback that hears it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import rclpy
from ament_index_python.packages import get_package_prefix
from arm_figures import loaded as loaded_names
from arm_figures import percentiles, plot, save, show
from std_msgs.msg import String
from std_srvs.srv import Trigger
from unitree_hg.msg import LowCmd, LowState

from h1_training_bringup.arm_driver.joints import ARM_MOTORS, WEIGHT_MOTOR
from h1_training_bringup.arm_driver.wire import decode_low_cmd, decode_low_state
from h1_training_msgs.msg import ArmStatus, PolicyAction, SessionState
from h1_training_msgs.srv import SetArmMode
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.clock import SessionClock
from h1_training_node.domain import DomainClaim
from h1_training_node.polled_subscription import PolledSubscription
from h1_training_node.process import PRIORITY_VARIABLE, REALTIME_IF_ALLOWED, take_priority
from h1_training_node.spinner import Spinner
from h1_training_node.stamps import to_stamp

BIN = f"{get_package_prefix('h1_training_bringup')}/lib/h1_training_bringup"
REMAP = ("--ros-args", "-r", "/lowstate:=sim/lowstate", "-r", "/arm_sdk:=sim/arm_sdk")
PRESSES = 200
_LISTEN_S = 0.02
IDLE_S, LOADED_S = 15.0, 8.0
_ATTEMPTS = 5
_FREE = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0] * 2)
"""Joints that the policy moves: forearms and wrists in front of the body, clear of it."""
MODES = {"HOLD": ArmStatus.MODE_HOLD, "HOME": ArmStatus.MODE_HOME, "POLICY": 3, "DAMPING": ArmStatus.MODE_DAMPING}
_CLAIMS: list[DomainClaim] = []


class SessionStub(BaseNode):
    """Heartbeat, session manager, policy and observer in one."""

    def __init__(self) -> None:
        super().__init__("arm_bench")
        self._seq = self._action_seq = 0
        self.status: ArmStatus | None = None
        self.samples: list[tuple[float, bytes]] = []
        self.states: list[tuple[float, bytes]] = []
        self.acts = False
        self._take_int = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self._actions = self.create_publisher(PolicyAction, "policy/action", qos.STATE)
        self.keyboard = self.create_publisher(String, "keyboard", qos.STATE)
        self.fault = self.create_publisher(String, "sim/robot/fault", qos.STATE)
        self.set_mode = self.create_client(SetArmMode, "arm_driver/set_mode")
        self.acknowledge = self.create_client(Trigger, "arm_driver/acknowledge")
        self.create_subscription(String, "keyboard", lambda _: self.ask(ArmStatus.MODE_DAMPING), qos.STATE)
        self.create_subscription(ArmStatus, "arm_status", self._on_status, qos.STATE)
        self._commands: PolledSubscription | None = None
        self.listen()
        self.every(_LISTEN_S, self._take_in)
        self.every(0.1, self._heartbeat)
        self.every(0.02, self._act)

    def listen(self) -> None:
        """Keep the commands from now on, stamped where they come off the wire."""
        self._commands = PolledSubscription(self, LowCmd, "sim/arm_sdk", depth=200, suffix="arm_sdk")

    def stop_listening(self) -> None:
        """Only those listen to the driver who do in a session."""
        if self._commands is not None:
            self._commands.close()
            self._commands = None

    def close(self) -> None:
        """Leave the graph."""
        self.stop_listening()
        self.destroy_node()

    def watch_states(self) -> None:
        """Keep the robot's states from now on, for a figure."""
        self.create_subscription(
            LowState, "sim/lowstate", lambda sample: self.states.append((time.monotonic(), sample)), qos.STATE, raw=True
        )

    def ask(self, mode: int) -> rclpy.task.Future:
        expected = self.status.mode if self.status else 0
        return self.set_mode.call_async(
            SetArmMode.Request(who="bench", why="requested", mode=mode, expected_mode=expected)
        )

    def _on_status(self, message: ArmStatus) -> None:
        self.status = message

    def _take_in(self) -> None:
        if self._commands is None:
            return
        for sample, stamp_ns in self._commands.samples(self.now_ns()):
            self.samples.append(((stamp_ns - self.clock_ns.offset_ns) / 1e9, sample))

    def _heartbeat(self) -> None:
        self._seq += 1
        self._take_int.publish(SessionState(seq=self._seq, state="EXECUTING"))

    def _act(self) -> None:
        if self.acts and self.status is not None and self.status.mode == ArmStatus.MODE_POLICY:
            self._action_seq += 1
            now_ns = self.now_ns()
            action = PolicyAction(
                seq=self._action_seq, positions=(0.2 * np.sin(self._action_seq / 25) * _FREE).tolist()
            )
            action.execution = self.status.execution
            action.header.stamp, action.observation_stamp = to_stamp(now_ns), to_stamp(now_ns - 20_000_000)
            self._actions.publish(action)


def moving(number: int) -> list[float]:
    """The n-th action of a policy that moves forearms and wrists."""
    positions: list[float] = (0.2 * np.sin(number / 25) * _FREE).tolist()
    return positions


class Stage:
    """The processes, and an executor for the bench's own node."""

    def __init__(self) -> None:
        # A killed driver stays in discovery for 20 s and would be a foreign commander in the next stage: a domain each.
        claim = DomainClaim()
        _CLAIMS.append(claim)
        os.environ |= {"ROS_DOMAIN_ID": str(claim.domain_id), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        SessionClock.from_environment().export(os.environ)
        # With the priority that the graph gives them.
        os.environ[PRIORITY_VARIABLE] = REALTIME_IF_ALLOWED
        self.processes = {
            name: subprocess.Popen([f"{BIN}/{name}", *arguments], stderr=subprocess.DEVNULL)
            for name, arguments in (("sim_robot", ()), ("arm_driver", REMAP), ("arm_guard", REMAP))
        }
        # The robot's own side would not be held up by this machine: the observer is to add nothing to the figures.
        take_priority()
        rclpy.init(args=[])
        self.session = SessionStub()
        self._spinner = Spinner()
        self._spinner.add(self.session)

    def until(self, condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                status = self.session.status
                arms = f"{status.reason} {status.fault}" if status is not None else "no arm_status"
                raise TimeoutError(f"not within {timeout_s} s: {what} (arms: {arms})")
            self._spinner.spin_once(0.01)

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end, "time passes", seconds + 5)

    def enter(self, mode: int) -> None:
        """Ask for a mode; what a machine that is too busy has forced meanwhile is acknowledged, and said."""
        for _ in range(_ATTEMPTS):
            answer = self.answer(self.session.ask(mode))
            if answer.accepted:
                return
            print(f"refused: {answer.reason}", flush=True)
            self.spin(0.3)
            self.answer(self.session.acknowledge.call_async(Trigger.Request()))
        raise RuntimeError(f"arm_driver refused mode {mode}: {answer.reason}")

    def acknowledged(self) -> str:
        """Why the last fault is not acknowledged; empty once it is."""
        return str(self.answer(self.session.acknowledge.call_async(Trigger.Request())).message)

    def answer(self, future: rclpy.task.Future) -> Any:
        self.until(future.done, "the driver answers")
        return future.result()

    def take(self) -> None:
        session = self.session
        self.until(session.set_mode.service_is_ready, "arm_driver is there")
        self.until(lambda: session.status is not None and session.status.state_rate > 400, "the robot is heard")
        self.until(lambda: session.get_subscriptions_info_by_topic("session/state"), "the driver listens")
        self.spin(0.5)
        for _ in range(_ATTEMPTS):
            self.enter(ArmStatus.MODE_HOLD)
            self.until(lambda: session.status.weight == 1.0 or session.status.fault, "arm control is acquired")
            if not session.status.fault:
                return
            print(f"while acquiring: {session.status.fault}", flush=True)
        raise RuntimeError(f"arm control was not acquired: {session.status.fault}")

    def close(self) -> None:
        """Everything that is left ends at once: nobody's arms are at stake here."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        self._spinner.close()
        self.session.close()
        rclpy.try_shutdown()


@contextmanager
def stage() -> Iterator[Stage]:
    built = Stage()
    try:
        built.take()
        yield built
    finally:
        built.close()


@contextmanager
def both_cores_busy() -> Iterator[None]:
    program = "import os; os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))\nwhile True: pass"
    burners = [subprocess.Popen([sys.executable, "-c", program]) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def measure_loop(at: Stage, seconds: float) -> dict[str, float]:
    """Period of the commands on the wire, ms, then CPU of driver and guard without that observer, % of a core."""
    session = at.session
    at.spin(1.0)
    session.samples.clear()
    at.spin(seconds)
    p50, p99, largest = percentiles(np.diff([when for when, _ in session.samples]) * 1e3)
    session.stop_listening()
    at.spin(1.0)
    programs = [psutil.Process(at.processes[name].pid) for name in ("arm_driver", "arm_guard")]
    for program in programs:
        program.cpu_percent()
    at.spin(seconds)
    cpu, guard_cpu = (program.cpu_percent() for program in programs)
    session.samples.clear()
    session.listen()
    at.until(lambda: session.samples, "the commands are heard again")
    return {
        "arm_period_p50_ms": p50,
        "arm_period_p99_ms": p99,
        "arm_period_max_ms": largest,
        "arm_cpu_percent": cpu,
        "guard_cpu_percent": guard_cpu,
    }


def measure_keys(at: Stage, presses: int) -> dict[str, float]:
    """From the key's message to the first command without stiffness, ms."""
    session, latencies = at.session, []
    for _ in range(presses):
        at.enter(ArmStatus.MODE_HOLD)
        at.spin(0.03)
        session.samples.clear()
        pressed = time.monotonic()
        session.keyboard.publish(String(data="s"))
        at.until(lambda: session.samples and not stiffness(session.samples[-1][1]), "damped")
        first = next(when for when, sample in session.samples if not stiffness(sample))
        latencies.append((first - pressed) * 1e3)
        at.until(lambda: session.status is not None and session.status.mode == ArmStatus.MODE_DAMPING, "reported")
    p50, p99, largest = percentiles(latencies)
    return {"key_to_damping_p50_ms": p50, "key_to_damping_p99_ms": p99, "key_to_damping_max_ms": largest}


def stiffness(sample: bytes) -> float:
    return float(decode_low_cmd(sample)["motor_cmd"]["kp"][ARM_MOTORS].max())


def measure_guard(name: str) -> float:
    """`kill -9` of the arm driver in a mode: until the first command of the guard, ms."""
    with stage() as at:
        session = at.session
        session.acts = True
        if MODES[name] != ArmStatus.MODE_HOLD:
            at.enter(MODES[name])
        if name == "POLICY":
            session.watch_states()
        at.spin(0.6)
        session.samples.clear()
        session.states.clear()
        at.spin(0.5)
        at.processes["arm_driver"].kill()
        killed = time.monotonic()
        at.spin(1.5)
        # The driver's last samples may still be under way; the guard's come after the longest silence since the kill.
        before = max(index for index, (when, _) in enumerate(session.samples) if when <= killed)
        late = session.samples[before:]
        silence = int(np.argmax(np.diff([when for when, _ in late])))
        when, first = late[silence + 1]
        if stiffness(first) or decode_low_cmd(first)["motor_cmd"]["q"][WEIGHT_MOTOR] < 1.0:
            raise RuntimeError(f"after a kill in {name} the first command was not the guard's: {(when - killed):.3f} s")
        if name == "POLICY":
            draw_killed(session, killed, when)
        return (when - killed) * 1e3


def draw_killed(session: SessionStub, killed: float, first: float) -> None:
    """The left elbow as it was commanded, and as it went."""
    elbow = ARM_MOTORS.start + 3
    commands = [(when - killed, decode_low_cmd(sample)["motor_cmd"][elbow]) for when, sample in session.samples]
    states = [(when - killed, decode_low_state(sample)["motor_state"]["q"][elbow]) for when, sample in session.states]
    seconds = [when for when, _ in commands]
    lines = {
        "left elbow commanded": (seconds, [float(motor["q"]) for _, motor in commands]),
        "left elbow measured": ([when for when, _ in states], [float(q) for _, q in states]),
        "its stiffness, kp / 1000": (seconds, [float(motor["kp"]) / 1000 for _, motor in commands]),
    }
    marks = {"kill -9": 0.0, "the guard's first": first - killed}
    print(plot("arm_killed", "the arm driver killed in POLICY", lines, marks, unit="rad", held=True))


def main() -> int:
    with stage() as at:
        idle = measure_loop(at, IDLE_S) | measure_keys(at, PRESSES)
        with both_cores_busy():
            at.enter(ArmStatus.MODE_HOLD)
            loaded = measure_loop(at, LOADED_S) | measure_keys(at, PRESSES)
    guard = {name: measure_guard(name) for name in MODES}
    bars = {"arm_period_p99_ms": "≤ 4.5", "arm_cpu_percent": "≤ 12", "key_to_damping_p99_ms": "≤ 20"}
    for label, figures in (("idle", idle), ("both cores loaded", loaded)):
        print(f"-- {label}")
        show([(name, value, name.rpartition("_")[2], bars.get(name, "")) for name, value in figures.items()])
    print("-- kill -9 of arm_driver")
    show([(f"guard_takeover_{name.lower()}_ms", value, "ms", "≤ 500") for name, value in guard.items()])
    save(idle | loaded_names(loaded) | {"guard_takeover_ms": max(guard.values())})
    return 0


if __name__ == "__main__":
    sys.exit(main())
