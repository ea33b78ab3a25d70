# SPDX-License-Identifier: Apache-2.0
"""How soon the arm driver damps for a frozen robot and a foreign commander, and what keeping clear of the body costs.

    python h1_training_bringup/bench/bench_arm_faults.py

On the stage of `bench_arm_loop.py`: robot, driver and guard as processes of their own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from arm_figures import loaded, save, show
from bench_arm_loop import Stage, both_cores_busy, stage
from rclpy.publisher import Publisher
from std_msgs.msg import String
from std_srvs.srv import Trigger
from unitree_hg.msg import LowCmd

from h1_training_bringup.arm_driver.clearance import Clearance
from h1_training_bringup.arm_driver.collision_model import CollisionModel
from h1_training_bringup.arm_driver.joints import ARM_MOTORS, COUNT
from h1_training_bringup.arm_driver.trajectory import ACTION_TICKS, Tracker
from h1_training_bringup.arm_driver.wire import decode_low_cmd, encode_low_cmd
from h1_training_msgs.msg import ArmStatus
from h1_training_node import qos

FAULTS = 5
"""How often each is caused; the slowest counts."""
_ATTEMPTS = 6
_MATCHED_S = 0.15
"""A reader knows a writer a little later than the writer knows it; a command in between reaches nobody."""
_COMMANDS_EVERY_S = 0.004
BARS = {"state_frozen_to_damping_ms": "≤ 100", "foreign_commander_ms": "≤ 50"}


def measure_frozen(at: Stage, times: int) -> dict[str, float]:
    """From a robot whose state is the same again and again to the first command without stiffness, ms."""
    session, latencies = at.session, []
    for _ in range(times):
        at.enter(ArmStatus.MODE_HOLD)
        at.spin(0.3)
        latencies.append(until_damped(at, lambda: session.fault.publish(String(data="repeat_state"))))
        session.fault.publish(String(data="clear"))
        at.spin(0.8)
        at.answer(session.acknowledge.call_async(Trigger.Request()))
    return {"state_frozen_to_damping_ms": max(latencies)}


def measure_foreign(at: Stage, times: int) -> dict[str, float]:
    """From the first valid command of another, who goes on at 250 Hz, to the driver's first without stiffness, ms."""
    session, latencies = at.session, []
    intruder = session.create_publisher(LowCmd, "sim/arm_sdk", qos.STATE)
    at.until(lambda: intruder.get_subscription_count() >= 4, "robot, driver, guard and this bench listen")
    at.until(lambda: session.status is not None and session.status.fault == "foreign_commander", "the graph shows it")
    session.destroy_publisher(intruder)
    for _ in range(_ATTEMPTS * times):
        at.until(lambda: "publish" not in at.acknowledged(), "it is gone", 30.0)
        at.enter(ArmStatus.MODE_HOLD)
        at.spin(0.3)
        intruder = session.create_publisher(LowCmd, "sim/arm_sdk", qos.STATE)
        at.until(lambda i=intruder: i.get_subscription_count() >= 4, "all listen")  # type: ignore[misc]
        at.spin(_MATCHED_S)
        heard = session.samples[-1][1]
        if not is_damped(heard):  # else the graph has shown the publisher before it could command
            commands = Commands(intruder, heard)
            going_on = session.every(_COMMANDS_EVERY_S, commands.publish)
            latencies.append(until_damped(at, commands.publish))
            going_on.cancel()
            session.loops.remove(going_on)
        session.destroy_publisher(intruder)
        if len(latencies) == times:
            break
    return {"foreign_commander_ms": max(latencies)}


class Commands:
    """Another's commands: valid, stiff, each a little different."""

    def __init__(self, publisher: Publisher, like: bytes) -> None:
        self._publisher, self._record = publisher, decode_low_cmd(like)

    def publish(self) -> None:
        self._record["motor_cmd"]["q"][ARM_MOTORS] += 1e-4
        self._publisher.publish(encode_low_cmd(self._record))


def until_damped(at: Stage, cause: Callable[[], None]) -> float:
    """Time from `cause` to the first command that has damping and no stiffness, ms."""
    session = at.session
    session.samples.clear()
    began = time.monotonic()
    cause()
    at.until(lambda: any(is_damped(sample) for _, sample in session.samples), "damped")
    return (next(when for when, sample in session.samples if when > began and is_damped(sample)) - began) * 1e3


def is_damped(sample: bytes) -> bool:
    motors = decode_low_cmd(sample)["motor_cmd"][ARM_MOTORS]
    return not motors["kp"].any() and bool((motors["kd"] > 0).all())


def measure_collision_check() -> dict[str, float]:
    """What keeping clear of the body costs in a period of POLICY, µs: the mean with the hands near the body."""
    model = CollisionModel()
    tracker, clearance = Tracker(np.full(COUNT, 1.5), np.full(COUNT, 15.0)), Clearance(model, 0.03, 0.08)
    tracker.restart(np.zeros(COUNT))
    clearance.start(tracker.q, 0.0)
    inward = np.array([0.0, 0.0, -0.5, 0.3, 0.0, 0.0, -0.5, 0.0, 0.0, 0.5, 0.3, 0.0, 0.0, 0.5])
    periods, spent_s = 5000, {True: 0.0, False: 0.0}
    for judged in (False, True):
        for period in range(periods):
            goal = inward * (0.5 + 0.5 * np.sin(period / 60))
            began = time.thread_time()
            if judged and period % ACTION_TICKS == 0:
                clearance.slow_down(tracker.position, tracker.stopping_point, goal, 0.0)
            tracker.follow(goal, clearance.scale if judged else 1.0, clearance.may_go if judged else None)
            spent_s[judged] += time.thread_time() - began
    return {"collision_check_us": (spent_s[True] - spent_s[False]) / periods * 1e6}


def measure(at: Stage) -> dict[str, float]:
    """All of them, each printed when it is known."""
    figures: dict[str, float] = {}
    for part in (
        lambda: measure_frozen(at, FAULTS),
        lambda: measure_foreign(at, FAULTS),
        measure_collision_check,
    ):
        found = part()
        show([(name, value, name.rpartition("_")[2], BARS.get(name, "")) for name, value in found.items()])
        figures |= found
    return figures


def main() -> int:
    with stage() as at:
        print("-- idle")
        save(measure(at))
        print("-- both cores loaded")
        with both_cores_busy():
            save(loaded(measure(at)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
