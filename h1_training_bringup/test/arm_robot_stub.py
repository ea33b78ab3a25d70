"""A robot small enough for a test: real messages on /lowstate and /arm_sdk, arms that are where they are told to be."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from unitree_hg.msg import LowCmd, LowState

from h1_training_bringup.arms.joints import ARM_MOTORS, COUNT, WEIGHT_MOTOR
from h1_training_bringup.arms.wire import checksum, encode_low_state, new_low_cmd, new_low_state
from h1_training_node import qos


class RobotStub(Node):
    """Publishes LowState at 500 Hz; once the weight is above 0 its arms follow the commanded positions.

    Attributes:
        commands: every LowCmd received, as rclpy decoded it.
        crc_failures: of them, how many had a wrong checksum.
        talks: whether it publishes.
        state: the LowState record that is published.
    """

    def __init__(self) -> None:
        super().__init__("robot_stub")
        self.commands: list[LowCmd] = []
        self.crc_failures = 0
        self.talks = True
        self.state = new_low_state()
        self.state["mode_machine"] = 6
        self.state["imu_state"]["quaternion"] = [1.0, 0.0, 0.0, 0.0]
        self.state["motor_state"]["mode"] = 1
        self.state["motor_state"]["temperature"] = 35
        self.state["motor_state"]["q"][ARM_MOTORS] = 0.1
        self._states = self.create_publisher(LowState, "/lowstate", qos.STATE)
        self.create_subscription(LowCmd, "/arm_sdk", self._on_command, qos.STATE)
        self.create_timer(0.002, self._on_tick)

    @property
    def weight(self) -> float:
        """Of the last command."""
        return float(self.commands[-1].motor_cmd[WEIGHT_MOTOR].q) if self.commands else 0.0

    @property
    def is_damped(self) -> bool:
        """By the last command: no stiffness, some damping, in every arm joint."""
        motors = self.commands[-1].motor_cmd[ARM_MOTORS] if self.commands else []
        return len(motors) == COUNT and all(motor.kp == 0.0 and motor.kd > 0.0 for motor in motors)

    def _on_tick(self) -> None:
        if self.talks:
            self.state["tick"] = int(self.state["tick"]) + 1
            self._states.publish(encode_low_state(self.state))

    def _on_command(self, message: LowCmd) -> None:
        self.commands.append(message)
        record = new_low_cmd()
        for name in ("mode_pr", "mode_machine", "reserve"):
            record[name] = getattr(message, name)
        for index, motor in enumerate(message.motor_cmd):
            record["motor_cmd"][index] = (motor.mode, motor.q, motor.dq, motor.tau, motor.kp, motor.kd, motor.reserve)
        self.crc_failures += checksum(record) != message.crc
        if self.weight > 0:
            q = [motor.q for motor in message.motor_cmd[ARM_MOTORS]]
            self.state["motor_state"]["q"][ARM_MOTORS] = np.array(q)
