# SPDX-License-Identifier: Apache-2.0
"""What the arms do now, and how that changes: the part of the controller that requests and the loop share."""

from __future__ import annotations

import secrets

from h1_training_bringup.arm_driver.actions import ActionGate
from h1_training_bringup.arm_driver.conditions import Conditions
from h1_training_bringup.arm_driver.damping import Damping, GravityTorque
from h1_training_bringup.arm_driver.faults import EMERGENCY_STOP, Faults, Notice, release_warning
from h1_training_bringup.arm_driver.handover import Handover, HandoverPhase
from h1_training_bringup.arm_driver.parameters import ArmParameters, JointSettings
from h1_training_bringup.arm_driver.robot_model import GravityModel
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_bringup.arm_driver.stiff import StiffArms
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode, Level

_TOKEN_BITS = 53
"""Of an execution's token: a tool that shows it as a float or as JSON shows all of it."""


class ArmModes:
    """Mode, reason, faults and the parts that a change of mode touches.

    Args:
        joints, parameters: gains and limits of each joint; everything else.

    Attributes:
        mode, mode_since_ns, reason, execution: as in ArmStatus.
        notices: for people, oldest first; whoever publishes them empties the list.
    """

    def __init__(self, joints: JointSettings, parameters: ArmParameters) -> None:
        self.parameters = parameters
        self.conditions = Conditions(parameters)
        self.faults = Faults()
        self.handover = Handover(
            parameters.weight_limit, parameters.acquire_ramp_s, parameters.release_warning_s, parameters.release_ramp_s
        )
        self.gate = ActionGate(round(parameters.stale_action_s * NS_PER_S), round(parameters.first_action_s * NS_PER_S))
        self.stiff = StiffArms(joints, parameters)
        self._joints = joints
        self._gravity = GravityTorque(GravityModel(parameters.payloads()), joints.feedforward_nm, parameters.imu_frame)
        self._damping = Damping(joints, self._gravity)
        self.mode, self.mode_since_ns, self.reason = ArmMode.RELEASED, 0, "not_acquired"
        self.execution = 0
        self.notices: list[Notice] = []
        self._sensed: Sensed | None = None
        self._waist_q = 0.0
        self._refusals_reported: set[str] = set()

    def _enter(self, now_ns: int, mode: ArmMode, reason: str) -> None:
        previous, since_ns = self.mode, self.mode_since_ns
        if mode is ArmMode.HOLD and previous is ArmMode.DAMPING and self._sensed is not None:
            self.stiff.start(self._sensed)
            if self._damping.is_faded:
                self._resume_commands(self._sensed)
        if mode is ArmMode.POLICY:
            self.gate.enter(now_ns, since_ns)
            self._refusals_reported.clear()
        else:
            self.gate.leave()
            # Whoever drove the arms until now drives them no more; who reads this may drive the next POLICY.
            self.execution = 1 + secrets.randbits(_TOKEN_BITS) if mode is ArmMode.HOLD else 0
        self.mode, self.mode_since_ns, self.reason = mode, now_ns, reason
        self.stiff.enter(mode)

    def _resume_commands(self, sensed: Sensed) -> None:
        """The robot's own controller may have the arms by now: all of the torque from the first command on."""
        self._waist_q = sensed.waist_q
        self._damping.enter(sensed)

    def _to_damping(self, now_ns: int, reason: str) -> None:
        """DAMPING, from whatever mode, unless the arms are in it already; a ramp that acquires arm control stops."""
        if self.handover.is_acquiring:
            self.handover.begin(HandoverPhase.IDLE, now_ns)
        if self.mode is ArmMode.DAMPING:
            self.reason = reason
            return
        assert self._sensed is not None, "the weight is above 0, so there has been a state"
        if mismatch := self._damping.mismatch(self._sensed):
            self._notice(Level.WARN, "torque_mismatch", mismatch)
        self._damping.enter(self._sensed)
        self._enter(now_ns, ArmMode.DAMPING, reason)

    def _become_released(self, now_ns: int, reason: str) -> None:
        self.handover.begin(HandoverPhase.IDLE, now_ns)
        self.conditions.forget_mode_machine()
        if reason != EMERGENCY_STOP:
            self.faults.clear()
        self._enter(now_ns, ArmMode.RELEASED, reason)

    def _give_up_acquiring(self, now_ns: int, reason: str, detail: str) -> None:
        self._notice(Level.ERROR, reason, f"{detail} (arm control was not acquired)")
        self._become_released(now_ns, reason)

    def _warn(self, now_ns: int) -> None:
        self.notices.append(release_warning(self.parameters.release_warning_s))
        self.handover.begin(HandoverPhase.WARNING, now_ns)

    def _notice(self, level: Level, reason: str, detail: str) -> None:
        self.notices.append(Notice(level, reason, detail))
