# SPDX-License-Identifier: Apache-2.0
"""The arm guard's core: when the arm driver falls silent with the arms in its hands, keep them safe instead of it.

It takes over when /arm_sdk was silent for 100 ms while the weight was above 0 and the robot's state kept coming.
From then on it publishes DAMPING, weight kept, until a person releases the arms or the graph ends. It never returns the
arms to the driver: two publishers on one topic would be worse than none.

A robot that is lost for long is left in silence, by driver and guard alike: its own controller may have the arms by
then (whether it has is not known), and they are not torn from it the moment the wire is whole again. A person lets the
one command that has them; if that was the driver, and it cannot command any more (it died, or stood still for too
long), the guard releases them.
"""

from __future__ import annotations

import struct
from math import isfinite

import numpy as np

from h1_training_bringup.arm_driver.command import ArmCommand
from h1_training_bringup.arm_driver.damping import FADE_S, Damping, GravityTorque
from h1_training_bringup.arm_driver.faults import (
    ACCEPTED,
    NOT_RELEASED_BLIND,
    Notice,
    RequestResult,
    refused,
    release_warning,
)
from h1_training_bringup.arm_driver.handover import Handover, HandoverPhase
from h1_training_bringup.arm_driver.intake import StateIntake
from h1_training_bringup.arm_driver.joints import COUNT, WAIST_MOTOR, WEIGHT_MOTOR
from h1_training_bringup.arm_driver.parameters import GuardParameters, JointSettings
from h1_training_bringup.arm_driver.robot_model import GravityModel
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_bringup.arm_driver.wire import LOW_CMD_CDR, WireError, decode_low_cmd
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import Level

CHECK_PERIOD_S = 0.02
_ZEROS = np.zeros(COUNT)
_FINAL_COMMANDS = 25
_PATIENCE_NS = 3_000_000_000
"""For a robot to come back, or a driver to command once more, when the graph ends."""
_WEIGHT_OFFSET = LOW_CMD_CDR.fields["motor_cmd"][1] + WEIGHT_MOTOR * 28  # type: ignore[index]
"""Of the weight in a LowCmd sample: the first value after an arm motor's stride is `q`."""


class ArmGuard:
    """Watches, and takes over once and for good.

    Attributes:
        has_taken_over: the guard has taken over; never false again.
        has_ended: after `end`: nothing is left to guard, the process may go.
        notices: for people, oldest first; whoever publishes them empties the list.
    """

    def __init__(self, joints: JointSettings, parameters: GuardParameters) -> None:
        self._parameters = parameters
        gravity = GravityTorque(GravityModel(parameters.payloads()), joints.feedforward_nm, parameters.imu_frame)
        self._damping = Damping(joints, gravity)
        self._handover = Handover(1.0, 1.0, parameters.release_warning_s, parameters.release_ramp_s)
        self._robot_timeout_ns = round(parameters.robot_timeout_s * NS_PER_S)
        self.intake = StateIntake(self._robot_timeout_ns)
        self._last_sample = b""
        self._weight = 0.0
        self._silent_s = self._away_s = 0.0
        self._forgotten_weight = 0.0
        self._release_is_asked = False
        self._checked_ns = self._state_ns = 0
        self._command_seen = False
        self._waist_q = 0.0
        self._final_commands_left = _FINAL_COMMANDS
        self._ending_since_ns: int | None = None
        self.has_taken_over = False
        self.has_ended = False
        self.notices: list[Notice] = []

    def observe(self, sample: bytes) -> None:
        """A command on /arm_sdk; the guard's own, once it has taken over, mean nothing."""
        if self.has_taken_over or len(sample) < LOW_CMD_CDR.itemsize:
            return
        weight = struct.unpack_from("<f", sample, _WEIGHT_OFFSET)[0]
        if not isfinite(weight):
            return  # no driver says that
        self._command_seen, self._forgotten_weight, self._release_is_asked = True, 0.0, False
        self._last_sample, self._weight = sample, weight

    def is_asked(self) -> bool:
        """The driver asks whether it may go on: the guard merely watches, and takes the question for a sign of life."""
        self._command_seen = not self.has_taken_over
        return not self.has_taken_over

    def release(self, now_ns: int) -> RequestResult:
        """A person wants arm control released: warning, then the ramp.

        The arms of a robot that was lost are released for a driver that has not commanded since.
        """
        if not self.has_taken_over and self._forgotten_weight == 0.0:
            return refused("not_taken_over: the arm driver has the arms; use arm_driver/release")
        if self.has_taken_over and (self._handover.is_releasing or self._handover.weight == 0.0):
            return refused("releasing: arm control is being released, or has been")
        sensed = self.intake.latest()
        if sensed is None or now_ns - sensed.stamp_ns > self._robot_timeout_ns:
            return NOT_RELEASED_BLIND
        if self.has_taken_over:
            self._warn(now_ns)
        else:
            self._release_is_asked = True  # by the next `check`
        return ACCEPTED

    def release_countdown_s(self, now_ns: int) -> float:
        """Time until its announced release begins to move the arms; 0 if none is announced."""
        return self._handover.release_countdown_s(now_ns)

    def end(self, now_ns: int) -> None:
        """The graph ends: releases arm control if they are here; else see the driver's own ending through."""
        if self._ending_since_ns is None:
            self._ending_since_ns = now_ns
            if self.has_taken_over and not self._handover.is_releasing and self._handover.weight > 0.0:
                self._warn(now_ns)

    def slept(self, now_ns: int) -> None:
        """The computer was suspended: the robot's own controller may have the arms, as after a robot that was lost."""
        if not self.has_taken_over:
            self._forget_arms()
            return
        self._stop_release(now_ns, "the computer slept")
        self._damping.fade_at_once()

    def check(self, now_ns: int) -> bool:
        """One period of watching; True if the guard has to command the arms from now on.

        Silence is counted in periods in which this process itself ran, by no more than two periods each, so that a
        pause of its own is not the driver's, and yet a guard that gets too little time is not too slow; and in periods
        in which the robot was heard, so that a wire that stalls is not the driver's silence either.
        """
        passed_s = min((now_ns - self._checked_ns) / NS_PER_S, 2 * CHECK_PERIOD_S)
        self._checked_ns = now_ns
        sensed = self.intake.latest()
        is_fresh = sensed is not None and now_ns - sensed.stamp_ns <= self._robot_timeout_ns + CHECK_PERIOD_S * NS_PER_S
        self._check_absence(sensed, passed_s)
        if self._command_seen or not is_fresh or self._weight <= 0.0:
            self._silent_s = 0.0
        elif sensed is not None and sensed.stamp_ns != self._state_ns:
            self._silent_s += passed_s
        self._state_ns = sensed.stamp_ns if sensed is not None else 0
        self._command_seen = False
        if sensed is not None and self._silent_s >= self._parameters.silence_s:
            self._take_over(now_ns, sensed)
            return True
        is_asked_for, self._release_is_asked = self._release_is_asked, False
        if self._ending_since_ns is not None:
            # A driver that was silent for a lost robot's sake may command once more, to release the arms.
            has_waited = now_ns - self._ending_since_ns > _PATIENCE_NS
            is_asked_for |= has_waited and self._forgotten_weight > 0.0
            is_over = self._weight <= 0.0 and self._forgotten_weight <= 0.0
            self.has_ended = is_over or (has_waited and not is_fresh)
        if sensed is not None and is_fresh and is_asked_for:
            self._take_over_forgotten(now_ns, sensed)
            return True
        return False

    def _check_absence(self, sensed: Sensed | None, passed_s: float) -> None:
        """Forget the arms of a robot that was lost for as long as the driver's torque takes to fade.

        The driver is silent then on purpose. One that was not as far yet goes on commanding, and is remembered again.
        """
        is_new = sensed is not None and sensed.stamp_ns != self._state_ns
        self._away_s += 0.0 if is_new else passed_s
        if self._away_s > FADE_S:
            self._forget_arms()
        if is_new:
            self._away_s = 0.0

    def _forget_arms(self) -> None:
        if self._weight > 0.0:
            self._weight, self._forgotten_weight = 0.0, self._weight
            self._silent_s = 0.0

    def _stop_release(self, now_ns: int, why: str) -> None:
        if self._handover.is_releasing and self._ending_since_ns is None:
            text = f"{why}: the release has stopped; call arm_guard/release again when the robot is seen again"
            self.notices.append(Notice(Level.ERROR, "release_stopped", text))
            self._handover.begin(HandoverPhase.IDLE, now_ns)

    def command(self, now_ns: int) -> ArmCommand | None:
        """One 250 Hz period after taking over: the command to send, or None."""
        sensed = self.intake.latest()
        assert sensed is not None, "the guard has taken over on a reading"
        is_lost = now_ns - sensed.stamp_ns > self._robot_timeout_ns
        if is_lost:
            self._stop_release(now_ns, "no robot state")
        self._handover.step(now_ns)
        self._damping.is_firm = self._handover.phase is HandoverPhase.FALLING
        if self._handover.weight == 0.0:
            if self._final_commands_left == 0:
                self.has_ended = self._ending_since_ns is not None
                return None
            self._final_commands_left -= 1
        if self._damping.is_faded:  # silent since then
            if is_lost or not self._handover.is_releasing:
                self.has_ended = self._ending_since_ns is not None
                return None
            # The robot's own controller may have the arms by now: all of the torque from the first command on.
            self._waist_q = sensed.waist_q
            self._damping.enter(sensed)
        torque = self._damping.torque(sensed, is_lost=is_lost)
        if self._damping.is_faded:
            text = "no robot state: the guard is silent; when it is back, arm_guard/release releases arm control"
            self.notices.append(Notice(Level.ERROR, "robot_lost", text))
            self.has_ended = self._ending_since_ns is not None
            return None
        return ArmCommand(
            q=sensed.q,
            dq=_ZEROS,
            tau=torque,
            kp=_ZEROS,
            kd=self._damping.kd,
            weight=self._handover.weight,
            waist_q=self._waist_q,
            mode_machine=sensed.mode_machine,
        )

    def _take_over(self, now_ns: int, sensed: Sensed) -> None:
        try:
            self._waist_q = float(decode_low_cmd(self._last_sample)["motor_cmd"]["q"][WAIST_MOTOR])
        except WireError:
            self._waist_q = sensed.waist_q
        self._begin(sensed, self._weight)
        text = (
            f"no command on /arm_sdk for {self._silent_s * 1e3:.0f} ms: the guard holds the arms in DAMPING; "
            "arm_guard/release releases them, then start the session again"
        )
        self.notices.append(Notice(Level.ERROR, "guard_took_over", text))
        if self._ending_since_ns is not None:
            self._warn(now_ns)

    def _take_over_forgotten(self, now_ns: int, sensed: Sensed) -> None:
        """From the robot's own controller, which may have the arms by now, only to release them in good order."""
        self._waist_q = sensed.waist_q
        self._begin(sensed, self._forgotten_weight)
        text = "the arm driver has not commanded since the robot was lost: the guard releases the arms in its place"
        self.notices.append(Notice(Level.ERROR, "guard_took_over", text))
        self._warn(now_ns)

    def _begin(self, sensed: Sensed, weight: float) -> None:
        self.has_taken_over = True
        self._handover.weight = min(weight, 1.0)
        self._damping.enter(sensed)

    def _warn(self, now_ns: int) -> None:
        self.notices.append(release_warning(self._parameters.release_warning_s))
        self._handover.begin(HandoverPhase.WARNING, now_ns)
