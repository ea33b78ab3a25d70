# SPDX-License-Identifier: Apache-2.0
"""Commands and clocks for the tests of the simulated robot."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np

from h1_training_bringup.arm_driver.joints import COUNT, URDF, WAIST_MOTOR, WEIGHT_MOTOR, Link
from h1_training_bringup.arm_driver.wire import encode_low_cmd, new_low_cmd
from h1_training_bringup.sim.robot import RobotParameters, SimulatedRobot
from h1_training_bringup.sim.scene import GRASP_IN_WRIST_M

MS = 1_000_000
_ROLL_RAD = {
    joint.get("name"): float(joint.find("origin").get("rpy").split()[0])
    for joint in ElementTree.parse(URDF).iter("joint")
}
"""Of each joint's frame about the parent's x; none has pitch or yaw."""
MODE_MACHINE = 6
MOTORS = slice(WAIST_MOTOR, WAIST_MOTOR + 1 + COUNT)


def command(*, q=0.0, kp=0.0, kd=0.0, tau=0.0, weight=1.0, mode_machine=MODE_MACHINE) -> bytes:
    """An arm_sdk sample; each value is a number or (15,), waist first."""
    record = new_low_cmd()
    record["mode_machine"] = mode_machine
    motors = record["motor_cmd"]
    motors["mode"][MOTORS] = 1
    for name, value in {"q": q, "kp": kp, "kd": kd, "tau": tau}.items():
        motors[name][MOTORS] = value
    motors["q"][WEIGHT_MOTOR] = weight
    return encode_low_cmd(record)


def broken_crc(sample: bytes) -> bytes:
    """The same command with another checksum."""
    return sample[:-4] + bytes(byte ^ 0x5A for byte in sample[-4:])


class Living:
    """A robot and its clock."""

    def __init__(self, **parameters) -> None:
        self.now_ns = 0
        self.robot = SimulatedRobot(RobotParameters(**parameters), self.now_ns)

    @property
    def q(self) -> np.ndarray:
        return self.robot.body.q.copy()

    @property
    def dq(self) -> np.ndarray:
        return self.robot.body.dq.copy()

    def take(self, sample: bytes) -> str | None:
        return self.robot.inbox.take(sample, self.now_ns)

    def live(self, seconds: float, each_tick=None, person_n=None) -> None:
        """Go on in ticks of 2 ms; `each_tick()` before each."""
        for _ in range(round(seconds * 500)):
            if each_tick is not None:
                each_tick()
            self.now_ns += 2 * MS
            self.robot.advance(self.now_ns, person_n)


def grasp_point(arm: tuple[Link, ...], q: np.ndarray) -> np.ndarray:
    """Where the middle of a hand is, shape (3,), m, pelvis frame, for the 7 joint angles `q` of `arm`, rad."""
    rotation, position = np.eye(3), np.zeros(3)
    for link, angle in zip(arm, q, strict=True):
        position = position + rotation @ np.array(link.origin_m)
        rotation = rotation @ _turn((1.0, 0.0, 0.0), _ROLL_RAD[link.joint]) @ _turn(link.axis, float(angle))
    return position + rotation @ GRASP_IN_WRIST_M


def _turn(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    """Rotation about one of the coordinate axes."""
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
