# SPDX-License-Identifier: Apache-2.0
"""The last program before the motors: modes, ramps, limits and watchdogs of the arms, 250 times a second.

`step` is called every period with the newest reading and returns the command to send, or None to stay silent.
Requests (`set_mode`, `acknowledge`, ...) are answered at once and take effect in the next period. Nothing here knows
ROS or waits for anything; time comes in as session nanoseconds.
"""

from __future__ import annotations

import numpy as np

from h1_training_bringup.arm_driver.actions import ReceivedAction
from h1_training_bringup.arm_driver.arm_modes import ArmModes
from h1_training_bringup.arm_driver.command import ArmCommand
from h1_training_bringup.arm_driver.conditions import NO_GUARD
from h1_training_bringup.arm_driver.faults import (
    ACCEPTED,
    DRIVER_HUNG,
    EMERGENCY_STOP,
    FOREIGN_COMMANDER,
    GUARD_LOST,
    GUARD_TOOK_OVER,
    NOT_RELEASED_BLIND,
    OVERHEATED,
    UNSEEN,
    RequestResult,
    refused,
)
from h1_training_bringup.arm_driver.handover import HandoverPhase
from h1_training_bringup.arm_driver.joints import COUNT, Joints
from h1_training_bringup.arm_driver.parameters import ArmParameters, JointSettings
from h1_training_bringup.arm_driver.pauses import Pauses, ProcessState
from h1_training_bringup.arm_driver.requests import objection, obstacle
from h1_training_bringup.arm_driver.sensed import Sensed, button_bit
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode, Level

_ZEROS = np.zeros(COUNT)
_STIFF = (ArmMode.HOLD, ArmMode.HOME, ArmMode.POLICY)
"""Modes in which the arms are held to a commanded position."""
_FINAL_COMMANDS = 25
"""Commands with weight 0 after the arms were released, before falling silent."""


class ArmController(ArmModes):
    """All state of the arms that outlives a period.

    Args:
        joints, parameters: gains and limits of each joint; everything else.

    Attributes:
        has_ended: after `end`: arm control is released, the process may go.
    """

    def __init__(self, joints: JointSettings, parameters: ArmParameters) -> None:
        super().__init__(joints, parameters)
        self.has_ended = False
        self._ending = self._has_yielded = False
        self._pauses = Pauses(round(parameters.hung_s * NS_PER_S))
        self._final_commands_left = 0
        self._stop_button, self._button_was_down = button_bit(parameters.stop_button), True
        self._slow_reported = self._guard_loss_reported = False

    @property
    def question(self) -> int:
        """Not 0: this process had paused, and must ask the guard whether it may go on; see `guard_answered`."""
        return self._pauses.question

    @property
    def transition(self) -> bool:
        """Whether arm control is being acquired or released."""
        return self.handover.phase is not HandoverPhase.IDLE

    # ---- requests -------------------------------------------------------------------------------------------------

    def set_mode(self, now_ns: int, why: str, mode: int, expected: int) -> RequestResult:
        """Ask for a mode; see `_objection` for what is refused.

        DAMPING is granted whatever the caller expected: it must not fail because the arms just left another mode.

        Args:
            now_ns: session time.
            why: becomes `reason`.
            mode, expected: `ArmMode` wanted, and the one that is to be left.
        """
        objection = self._objection(now_ns, mode, expected)
        if objection:
            return refused(objection)
        wanted = ArmMode(mode)
        if wanted is ArmMode.DAMPING and self.handover.phase is HandoverPhase.WAITING:
            self._become_released(now_ns, why)
        elif wanted is ArmMode.DAMPING:
            self._to_damping(now_ns, why)
        elif self.mode is ArmMode.RELEASED:
            self._enter(now_ns, ArmMode.HOLD, why)
            self.handover.begin(HandoverPhase.WAITING, now_ns)
        elif wanted is not self.mode:
            self._enter(now_ns, wanted, why)
            if self.handover.weight < self.parameters.weight_limit:
                self.handover.begin(HandoverPhase.RISING, now_ns)
        return ACCEPTED

    def acknowledge(self) -> RequestResult:
        """A person has seen why a mode was forced."""
        why_not = self.faults.acknowledge()
        return refused(why_not) if why_not else ACCEPTED

    def release(self, now_ns: int) -> RequestResult:
        """Release arm control: warning, then the ramp. The only way out of an emergency stop."""
        if self._has_yielded:
            return refused(self.acknowledge().reason)
        if self.handover.is_releasing:
            return refused("releasing: arm control is being released already")
        if self.mode is ArmMode.RELEASED or self.handover.phase is HandoverPhase.WAITING:
            self.faults.clear()
            self._become_released(now_ns, "released")
            return ACCEPTED
        if self.conditions.robot_is_lost:
            return NOT_RELEASED_BLIND
        if self.mode is not ArmMode.HOLD:
            self._to_damping(now_ns, "releasing")
        self._warn(now_ns)
        return ACCEPTED

    def emergency_stop(self, now_ns: int, who: str, why: str) -> None:
        """DAMPING at once, which stays until arm control is released. Granted always.

        Several may cause one at the same moment, and the first to arrive may know least: each is reported.
        """
        cause = f"by {who}: {why or 'no reason given'}"
        if self.faults.latch_cause(EMERGENCY_STOP, cause):
            self._notice(Level.ERROR, EMERGENCY_STOP, cause)
        if self.mode is ArmMode.RELEASED or self.handover.phase is HandoverPhase.WAITING:
            self._become_released(now_ns, EMERGENCY_STOP)
            return
        self._to_damping(now_ns, EMERGENCY_STOP)
        if not self._ending:
            self.handover.begin(HandoverPhase.IDLE, now_ns)

    def end(self, now_ns: int, why: str) -> None:
        """The process must end: DAMPING at once, warning, ramp; `has_ended` says when it is done."""
        if self._ending:
            return
        self._ending = True
        if self._has_yielded:
            self.has_ended = True
        elif self.handover.weight == 0.0:
            self._become_released(now_ns, why)
            self.has_ended = self._final_commands_left == 0
        else:
            self._to_damping(now_ns, why)
            if not self.handover.is_releasing:
                self._warn(now_ns)

    def yield_to_guard(self, now_ns: int) -> None:
        """The guard commands the arms: be silent for good."""
        self._stop_commanding(now_ns, GUARD_TOOK_OVER, "the arm guard commands the arms")

    def slept(self, now_ns: int, slept_ns: int) -> None:
        """The computer was suspended for `slept_ns`: what this process knows of the arms is as old."""
        if self.handover.weight > 0.0:
            text = f"this computer slept for {slept_ns / NS_PER_S:.1f} s: the guard releases the arms"
            self._stop_commanding(now_ns, DRIVER_HUNG, text)

    def guard_answered(self, now_ns: int, question: int, *, is_watching: bool) -> None:
        """The guard's answer to `question`, or nobody's if no guard was ever started: whether it merely watches."""
        if self._pauses.answered(question) and not is_watching:
            self.yield_to_guard(now_ns)

    def _stop_commanding(self, now_ns: int, reason: str, detail: str) -> None:
        if not self.faults.latch(reason, detail):
            return
        self._has_yielded = True
        self._notice(Level.ERROR, reason, f"{detail}; this driver is silent from now on")
        if self.mode is not ArmMode.RELEASED:
            self.handover.begin(HandoverPhase.IDLE, now_ns)
            self._to_damping(now_ns, reason)

    def see_foreign_command(self, now_ns: int, detail: str) -> None:
        """A command on /arm_sdk that neither this driver nor the guard has sent: compliant at once."""
        if self.handover.weight > 0.0 and not self._has_yielded and self.faults.latch(FOREIGN_COMMANDER, detail):
            self._notice(Level.ERROR, FOREIGN_COMMANDER, f"{detail} (arms in DAMPING)")
            self._to_damping(now_ns, FOREIGN_COMMANDER)

    def offer_action(self, now_ns: int, action: ReceivedAction) -> None:
        """An action of the policy; followed in POLICY if it may be, else refused whole."""
        if self.mode is not ArmMode.POLICY:
            return
        positions, why_not = self.gate.offer(now_ns, action, self.execution)
        if positions is not None:
            self.stiff.aim(positions)
            return
        name = why_not.partition(":")[0]
        if name not in self._refusals_reported:
            self._refusals_reported.add(name)
            self._notice(Level.WARN, name, f"{why_not.partition(': ')[2]}; refused, and so will others like it")

    def _objection(self, now_ns: int, mode: int, expected: int) -> str:
        """Why a mode is not granted, or an empty string."""
        is_releasing = self.handover.is_releasing or self._ending
        if why_not := objection(self, mode, expected, is_releasing=is_releasing):
            return why_not
        if mode == ArmMode.DAMPING or mode == self.mode:
            return ""
        return obstacle(now_ns, ArmMode(mode), self.mode, self._sensed, self.conditions)

    # ---- the loop -------------------------------------------------------------------------------------------------

    def step(self, now_ns: int, sensed: Sensed, good_for_ns: int, state_rate: float) -> ArmCommand | None:
        """One period.

        Args:
            now_ns: session time.
            sensed: the newest good reading, however old.
            good_for_ns: how long readings have been good without a break.
            state_rate: Hz, of good readings over the last second.
        """
        hears_robot = self._sensed is None or sensed.stamp_ns != self._sensed.stamp_ns
        self._sensed = sensed
        own = self._pauses.step(now_ns, has_arms=self.handover.weight > 0.0, hears_robot=hears_robot)
        if own is ProcessState.HUNG:
            pause = f"this process stood still for more than {self.parameters.hung_s:g} s: the guard sees to the arms"
            self._stop_commanding(now_ns, DRIVER_HUNG, pause)
        if self._has_yielded:
            self.has_ended = self._ending
            return None
        if own is ProcessState.ASKS:
            self.has_ended = self._ending and self._pauses.is_deaf  # a guard that lives sees to the arms
            return None
        if own is ProcessState.UNANSWERED and self.faults.latch(GUARD_LOST, ""):
            self._notice(Level.ERROR, GUARD_LOST, "the arm guard does not answer; end the session and start it again")
            self._to_damping(now_ns, GUARD_LOST)
        notice = self.conditions.update(now_ns, sensed, state_rate)
        if notice and (notice.reason != OVERHEATED or self.handover.weight == 0.0):
            self.notices.append(notice)  # else it is a fault of the arms and reported as such
        self._check_button(now_ns, sensed)
        self._check_conditions(now_ns, sensed, good_for_ns)
        self._check_rate(now_ns)
        self._check_guard(now_ns)
        self._advance_handover(now_ns, sensed, good_for_ns)
        return self._command(now_ns, sensed)

    def _check_button(self, now_ns: int, sensed: Sensed) -> None:
        """A press, not a button that was down from the start: that one may be stuck, and would stop every session."""
        is_down = bool(sensed.buttons & self._stop_button)
        if is_down and not self._button_was_down:
            self.emergency_stop(now_ns, "remote", f"button {self.parameters.stop_button}")
        self._button_was_down = is_down

    def _check_conditions(self, now_ns: int, sensed: Sensed, good_for_ns: int) -> None:
        if self.handover.weight == 0.0 and self.handover.phase is not HandoverPhase.WAITING:
            return
        present = self.conditions.forcing(now_ns, sensed, good_for_ns, was_unseen=self.faults.unseen)
        if self.mode is ArmMode.POLICY and self.conditions.foreign_actions:
            present.setdefault(FOREIGN_COMMANDER, self.conditions.foreign_actions)
        if self.handover.is_releasing or self._ending:
            present.pop("session_lost", None)
        if self.handover.phase is HandoverPhase.WAITING:
            for reason in UNSEEN:  # to be seen is what it waits for
                present.pop(reason, None)
            if present:
                reason, detail = next(iter(present.items()))
                self._give_up_acquiring(now_ns, reason, detail)
            return
        for reason, detail in self.faults.update(present).items():
            self._notice(Level.ERROR, reason, f"{detail} (arms in DAMPING)")
            self._to_damping(now_ns, reason)
        if self.conditions.robot_is_lost and self.handover.is_releasing and not self._ending:
            text = "no robot state: the release has stopped; call arm_driver/release again when it is back"
            self._notice(Level.ERROR, "release_stopped", text)
            self.handover.begin(HandoverPhase.IDLE, now_ns)

    def _check_rate(self, now_ns: int) -> None:
        """Arms that move on old states stop; arms that stand or are guided go on: any other mode would be worse."""
        if not self.conditions.state_is_slow or self.handover.weight == 0.0:
            self._slow_reported = False
            return
        if not self._slow_reported:
            self._slow_reported = True
            self._notice(Level.WARN, "state_slow", self.conditions.rate_text)
        if self.mode in (ArmMode.HOME, ArmMode.POLICY):
            self._enter(now_ns, ArmMode.HOLD, "state_slow")

    def _check_guard(self, now_ns: int) -> None:
        """Arms that nobody would see to if this driver died do not move by themselves."""
        if self.conditions.guard_is_there or self.handover.weight == 0.0:
            self._guard_loss_reported = False
            return
        if not self._guard_loss_reported:
            self._guard_loss_reported = True
            self._notice(Level.ERROR, "no_guard", NO_GUARD)
        if self.mode in (ArmMode.HOME, ArmMode.POLICY):
            self._enter(now_ns, ArmMode.HOLD, "no_guard")

    def _advance_handover(self, now_ns: int, sensed: Sensed, good_for_ns: int) -> None:
        handover = self.handover
        if handover.phase is HandoverPhase.WAITING:
            missing = self.conditions.unfit(good_for_ns)
            if missing is None:
                self._waist_q = sensed.waist_q
                self.conditions.remember_mode_machine(sensed)
                self.stiff.start(sensed, at_rest=True)
                handover.begin(HandoverPhase.RISING, now_ns)
            elif handover.waited_ns(now_ns) > self.parameters.acquire_timeout_s * NS_PER_S:
                self._give_up_acquiring(now_ns, *missing)
        elif handover.phase is HandoverPhase.RISING and (mover := self._moved(sensed)):
            # Somebody is at the arms: compliant with the weight that we have, and released like always, with warning.
            self._notice(Level.ERROR, "moved_while_acquiring", f"{mover} moved while arm control was being acquired")
            self._to_damping(now_ns, "moved_while_acquiring")
            self._warn(now_ns)
        was_falling = self._damping.is_firm = handover.phase is HandoverPhase.FALLING
        if handover.step(now_ns) and was_falling:
            self._final_commands_left = _FINAL_COMMANDS
            self._become_released(now_ns, self.reason if self.reason == "moved_while_acquiring" else "released")

    def _moved(self, sensed: Sensed) -> str:
        """Name of a joint that moved away from where it was taken."""
        limit = self.parameters.acquire_motion_limit_rad
        return self.stiff.moved(sensed, limit) or ("torso_joint" if abs(sensed.waist_q - self._waist_q) > limit else "")

    def _command(self, now_ns: int, sensed: Sensed) -> ArmCommand | None:
        if self.mode is ArmMode.RELEASED:
            if self._final_commands_left == 0:
                self.has_ended = self._ending
                return None
            self._final_commands_left -= 1
            return self._compose(sensed, sensed.q, _ZEROS, _ZEROS, _ZEROS, self._joints.kd_damping)
        if self.handover.phase is HandoverPhase.WAITING:
            return None
        if self.mode in _STIFF:
            self._step_stiff(now_ns, sensed)
        if self.mode in _STIFF:
            tau = self._gravity.of_held(sensed)
            return self._compose(sensed, self.stiff.q, self.stiff.dq, tau, self._joints.kp, self._joints.kd)
        is_lost = self.conditions.robot_is_lost
        if self._damping.is_faded:  # silent since then
            if is_lost or (self.faults.unseen and not self.handover.is_releasing):
                self.has_ended = self._ending
                return None
            self._resume_commands(sensed)
        tau = self._damping.torque(sensed, is_lost=is_lost, let_down=self.conditions.may_sink(now_ns))
        if self._damping.is_faded:
            self.has_ended = self._ending
            return None
        return self._compose(sensed, sensed.q, _ZEROS, tau, _ZEROS, self._damping.kd)

    def _step_stiff(self, now_ns: int, sensed: Sensed) -> None:
        """The trajectory, and the changes of mode that come from it."""
        if self.mode is ArmMode.POLICY and self.gate.stale_for_ns(now_ns) > 0:
            self._notice(Level.WARN, "stale_action", "no fresh action from the policy; the arms hold")
            self._enter(now_ns, ArmMode.HOLD, "stale_action")
        self.stiff.step(self.mode, sensed)
        if self.mode is ArmMode.HOME and self.stiff.home_result:
            self._finish_home(now_ns, self.stiff.home_result)
        if self.mode in (ArmMode.HOME, ArmMode.POLICY) and (parts := self.stiff.collision_ahead()):
            text = f"{parts} would come nearer than {self.parameters.min_distance_m:g} m; the arms hold"
            self._notice(Level.WARN, "collision_ahead", text)
            self._enter(now_ns, ArmMode.HOLD, "collision_ahead")
        if self.handover.phase is HandoverPhase.IDLE and (joint := self.stiff.blocked_joint(now_ns)):
            if self.faults.latch("blocked", joint):
                self._notice(Level.ERROR, "blocked", f"{joint} is held back; the arms hold where they are")
            self._enter(now_ns, ArmMode.HOLD, "blocked")
            self.stiff.give_in(sensed)

    def _finish_home(self, now_ns: int, result: str) -> None:
        if result == "home_no_way":
            text = "no way home around the robot's own body; guide the arms to an open pose, then try again"
            self._notice(Level.ERROR, result, f"{text} (arms in DAMPING)")
            self._to_damping(now_ns, result)
            return
        if result == "home_missed":
            self._notice(Level.WARN, result, "the arms stopped short of home; check what holds them back")
        self._enter(now_ns, ArmMode.HOLD, result)

    def _compose(self, sensed: Sensed, q: Joints, dq: Joints, tau: Joints, kp: Joints, kd: Joints) -> ArmCommand:
        return ArmCommand(q, dq, tau, kp, kd, self.handover.weight, self._waist_q, sensed.mode_machine)
