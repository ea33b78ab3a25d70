# SPDX-License-Identifier: Apache-2.0
"""CPU of the arm driver in HOLD and POLICY, beside a node that only receives and publishes the same.

    python h1_training_bringup/bench/bench_arm_cpu.py

How much of a core a program costs depends on the machine, and on who else uses its caches: on one whose cores others
keep busy everything costs half as much again. The bare node costs so, too. So the ratio is what compares machines: what
deciding and checking add to what rclpy and DDS take anyway. Alternately in each round, of which the middle one counts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable

import psutil
from arm_figures import save, show
from bench_arm_loop import REMAP, Stage, stage
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from unitree_hg.msg import LowCmd, LowState

from h1_training_bringup.arm_driver.joints import COUNT, NAMES
from h1_training_bringup.arm_driver.trajectory import PERIOD_S
from h1_training_bringup.arm_driver.wire import encode_low_cmd, new_low_cmd
from h1_training_msgs.msg import ArmStatus, GuardStatus, PolicyAction, SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.node_main import run_node
from h1_training_node.polled_subscription import PolledSubscription

ROUNDS, SECONDS = 3, 6.0
BARS = {"arm_hold_cpu_percent": "≤ 12", "arm_policy_cpu_percent": "≤ 12"}
_BARE = "--bare"


class BareNode(BaseNode):
    """The arm driver's messages in and out, at its rates, on its loop: the least that a node in Python costs."""

    def __init__(self) -> None:
        super().__init__("bare_arm_node")
        self._sample = encode_low_cmd(new_low_cmd())  # weight 0, no motor enabled
        zeros = [0.0] * COUNT
        joint_state = JointState(name=list(NAMES), position=zeros, velocity=zeros, effort=zeros)
        self._joint_state, self._status = serialize_message(joint_state), serialize_message(ArmStatus())
        self._periods = 0
        self._arm_sdk = self.create_publisher(LowCmd, "/arm_sdk", QoSProfile(depth=10))
        self._joint_states = self.create_publisher(JointState, "joint_states", qos.STATE)
        self._arm_status = self.create_publisher(ArmStatus, "bare_status", qos.STATE)
        self._lowstate = PolledSubscription(self, LowState, "/lowstate", depth=50, suffix="lowstate")
        self._commands = PolledSubscription(self, LowCmd, "/arm_sdk", depth=64, suffix="arm_sdk")
        self.create_subscription(PolicyAction, "policy/action", _ignore, qos.LATEST, raw=True)
        self.create_subscription(SessionState, "session/state", _ignore, qos.LATEST, raw=True)
        self.create_subscription(String, "emergency_stop", _ignore, qos.STATE)
        self.create_subscription(GuardStatus, "arm_guard/status", _ignore, qos.LATEST, raw=True)
        self.every(PERIOD_S, self._tick)

    def _tick(self) -> None:
        now_ns = self.now_ns()
        self._periods += 1
        for _ in self._lowstate.samples(now_ns):
            pass
        if self._periods % 4 == 0:
            for _ in self._commands.samples(now_ns):
                pass
        self._arm_sdk.publish(self._sample)
        if self._periods % 5 == 0:
            self._arm_status.publish(self._status)
            self._joint_states.publish(self._joint_state)


def _ignore(_message: object) -> None:
    pass


def cpu(at: Stage, process: subprocess.Popen[bytes]) -> float:
    """Of `process`, % of a core, without an observer of the commands."""
    at.spin(1.0)
    program = psutil.Process(process.pid)
    program.cpu_percent()
    at.spin(SECONDS)
    return float(program.cpu_percent())


def measure_driver() -> tuple[float, float]:
    """In HOLD and in POLICY."""
    with stage() as at:
        at.session.stop_listening()
        hold = cpu(at, at.processes["arm_driver"])
        at.session.acts = True
        at.enter(ArmStatus.MODE_POLICY)
        return hold, cpu(at, at.processes["arm_driver"])


def measure_bare() -> float:
    """With robot and guard as the driver has them; the driver has ended."""
    at = Stage()
    try:
        at.session.stop_listening()
        at.processes["arm_driver"].kill()
        bare = subprocess.Popen([sys.executable, __file__, _BARE, *REMAP], stderr=subprocess.DEVNULL)
        at.processes["bare"] = bare
        at.until(lambda: at.session.count_publishers("bare_status"), "the bare node is there")
        return cpu(at, bare)
    finally:
        at.close()


def attempted(measure: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """Once more where a machine that is too busy has forced the arms out of the mode."""
    try:
        return measure()
    except (TimeoutError, RuntimeError) as error:
        print(f"again: {error}", flush=True)
        return measure()


def main() -> int:
    if _BARE in sys.argv:
        sys.argv.remove(_BARE)
        return run_node(BareNode)
    rounds = []
    for _ in range(ROUNDS):
        rounds.append((measure_bare(), *attempted(measure_driver)))
        print("bare {:.1f} %, HOLD {:.1f} %, POLICY {:.1f} %".format(*rounds[-1]), flush=True)
    bare, hold, policy = (statistics.median(values) for values in zip(*rounds, strict=True))
    figures = {
        "arm_bare_cpu_percent": bare,
        "arm_hold_cpu_percent": hold,
        "arm_policy_cpu_percent": policy,
        "arm_hold_over_bare_ratio": statistics.median(hold / bare for bare, hold, _ in rounds),
        "arm_policy_over_bare_ratio": statistics.median(policy / bare for bare, _, policy in rounds),
    }
    show([(name, value, name.rpartition("_")[2], BARS.get(name, "")) for name, value in figures.items()])
    save(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
