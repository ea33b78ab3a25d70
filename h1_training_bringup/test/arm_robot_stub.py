# SPDX-License-Identifier: Apache-2.0
"""A robot small enough for a test: real messages on /lowstate and /arm_sdk, arms that go where they are commanded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.serialization import deserialize_message
from unitree_hg.msg import LowCmd, LowState

from h1_training_bringup.arm_driver.joints import ARM_MOTORS, COUNT, WEIGHT_MOTOR
from h1_training_bringup.arm_driver.wire import CrcError, decode_low_cmd, encode_low_state, new_low_state
from h1_training_node import qos


class Commands(Sequence[LowCmd]):
    """LowCmds as received; decoded, by rclpy's own code, when somebody looks at them."""

    def __init__(self) -> None:
        self.samples: list[bytes] = []

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        found = self.samples[index]
        if isinstance(index, slice):
            return [deserialize_message(sample, LowCmd) for sample in found]
        return deserialize_message(found, LowCmd)


class RobotStub(Node):
    """Publishes LowState; once the weight is above 0 its arms follow the commanded positions.

    Args:
        rate: of the states, Hz.

    Attributes:
        commands: every LowCmd received.
        crc_failures: of them, how many had a wrong checksum.
        talks: whether it publishes.
        holds_still: its arms do not follow.
        breaks_crc: every state has a wrong checksum.
        divisor: only every n-th state is published.
        tick_step: how far the robot's own count goes from state to state.
        has_noise: no two states are alike, as of any robot.
        states: how many it has published: the robot's own clock.
        state: the LowState record that is published.
        weight: of the last command.
    """

    def __init__(self, rate: float = 500.0) -> None:
        super().__init__("robot_stub")
        self.commands = Commands()
        self.crc_failures = 0
        self.talks = True
        self.breaks_crc = self.holds_still = False
        self.divisor = self.tick_step = 1
        self.has_noise = True
        self.states = self._ticks = 0
        self.weight = 0.0
        self._states_at_command: list[int] = []
        self.state = new_low_state()
        self.state["mode_machine"] = 6
        self.state["imu_state"]["quaternion"] = [1.0, 0.0, 0.0, 0.0]
        self.state["motor_state"]["mode"] = 1
        self.state["motor_state"]["temperature"] = 35
        self.state["motor_state"]["q"][ARM_MOTORS] = 0.1
        self._states = self.create_publisher(LowState, "/lowstate", qos.STATE)
        self.create_subscription(LowCmd, "/arm_sdk", self._on_command, qos.STATE, raw=True)
        self.create_timer(1 / rate, self._on_tick)

    @property
    def is_damped(self) -> bool:
        """By the last command: no stiffness, some damping, in every arm joint."""
        motors = self.commands[-1].motor_cmd[ARM_MOTORS] if len(self.commands) else []
        return len(motors) == COUNT and all(motor.kp == 0.0 and motor.kd > 0.0 for motor in motors)

    def states_before_first(self, wanted: Callable[[LowCmd], bool], begin: int) -> int:
        """How many states had been published when the first command from number `begin` on came that is `wanted`."""
        index = next(n for n in range(begin, len(self.commands)) if wanted(self.commands[n]))
        return self._states_at_command[index]

    def _on_tick(self) -> None:
        self.state["tick"] = (int(self.state["tick"]) + self.tick_step) % 2**32
        if self.has_noise:
            self.state["motor_state"]["tau_est"][ARM_MOTORS] = 1e-3 * (int(self.state["tick"]) % 7)
        self._ticks += 1
        if not self.talks or self._ticks % self.divisor:
            return
        sample = encode_low_state(self.state)
        self._states.publish(sample[:-1] + bytes([sample[-1] ^ 0xFF]) if self.breaks_crc else sample)
        self.states += 1

    def _on_command(self, sample: bytes) -> None:
        self.commands.samples.append(sample)
        self._states_at_command.append(self.states)
        try:
            motors = decode_low_cmd(sample)["motor_cmd"]
        except CrcError:
            self.crc_failures += 1
            return
        self.weight = float(motors["q"][WEIGHT_MOTOR])
        if self.weight > 0 and not self.holds_still:
            self.state["motor_state"]["q"][ARM_MOTORS] = motors["q"][ARM_MOTORS]
