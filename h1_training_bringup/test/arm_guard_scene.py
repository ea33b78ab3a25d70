# SPDX-License-Identifier: Apache-2.0
"""A guard, and around it a robot and a driver that may fall silent, in virtual time."""

from __future__ import annotations

import numpy as np
from arm_builders import MS, START_NS, S, joint_settings

from h1_training_bringup.arm_driver.command import ArmCommand, CommandEncoder
from h1_training_bringup.arm_driver.guard import ArmGuard
from h1_training_bringup.arm_driver.joints import COUNT
from h1_training_bringup.arm_driver.parameters import GuardParameters
from h1_training_bringup.arm_driver.wire import encode_low_state, new_low_state

ZEROS = np.zeros(COUNT)


class Scene:
    """A guard, a robot that publishes its state, and a driver that may fall silent; 20 ms a step while it listens."""

    def __init__(self) -> None:
        joints = joint_settings()
        self.guard = ArmGuard(joints, GuardParameters())
        self.encoder = CommandEncoder(joints.waist_kp, joints.waist_kd)
        self.now_ns = START_NS
        self.robot_talks = True
        self.guard_sent: list[ArmCommand | None] = []
        self.notices: list[str] = []

    def state(self) -> bytes:
        record = new_low_state()
        record["imu_state"]["quaternion"] = [1, 0, 0, 0]
        record["motor_state"]["mode"] = 1
        record["mode_machine"] = 6
        # A robot that lives: its clock goes on, and no reading is the same to the last bit.
        record["tick"] = self.now_ns // MS % 2**32
        record["motor_state"]["q"][13:27] = 1e-6 * (self.now_ns // MS % 1000)
        return encode_low_state(record)

    def command(self, weight: float) -> bytes:
        return self.encoder.encode(ArmCommand(ZEROS, ZEROS, ZEROS, ZEROS, ZEROS, weight, 0.3, 6))

    def drive(self, seconds: float, weight: float = 1.0) -> None:
        for _ in range(round(seconds * 50)):
            self.guard.observe(self.command(weight))
            self.step(0.02)

    def lose_robot(self, seconds: float) -> None:
        """No state for so long, and no command: its driver is silent too."""
        self.robot_talks = False
        self.step(seconds)
        self.robot_talks = True

    def step(self, seconds: float) -> None:
        period_ns = 4 * MS if self.guard.has_taken_over else 20 * MS
        for _ in range(round(seconds * S / period_ns)):
            self.now_ns += period_ns
            if self.robot_talks:
                self.guard.intake.receive(self.state(), self.now_ns - MS)
            if self.guard.has_taken_over:
                self.guard_sent.append(self.guard.command(self.now_ns))
            else:
                self.guard.check(self.now_ns)
        self.notices += [notice.reason for notice in self.guard.notices]
        self.guard.notices.clear()
