# SPDX-License-Identifier: Apache-2.0
"""What the session asks of the arm driver, and how it makes sure that it was done."""

from __future__ import annotations

from collections.abc import Callable

from h1_session_manager.observed import DRIVER_HUNG, GUARD_TOOK_OVER, Observed
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.service_calls import ServiceCalls
from h1_session_manager.steps import Steps, Wait
from h1_session_manager.words import in_words
from h1_training_node.message_numbers import ArmMode

WHO = "session_manager"
_ATTEMPTS = 3
_CROSSING_S = 0.3
_STOP_REASONS = ("emergency_stop", GUARD_TOOK_OVER)
"""Reasons of arm_driver after which the arms can only be released."""


class ArmControl:
    """Procedures on the arms. Each returns an empty string, or the reason why it could not be done."""

    def __init__(self, calls: ServiceCalls, observed: Observed, config: SessionParameters) -> None:
        self._calls = calls
        self._observed = observed
        self._config = config

    @property
    def driver_is_silent(self) -> bool:
        """Whether `arm_status` has not come for so long that nothing can be asked of the driver."""
        return self._observed.age_s("arm") > self._config.arm_timeout_s

    def ask(self, mode: ArmMode, why: str) -> Steps[str]:
        """Ask for `mode`, naming the mode to be left; tried again if the arms changed mode under the request."""
        expected = self._observed.arm_mode
        if expected is None:
            return "arm_driver has not been heard; does it run?"
        reason = ""
        for _attempt in range(_ATTEMPTS):
            fields = {"who": WHO, "why": why, "mode": int(mode), "expected_mode": int(expected)}
            reply = yield from self._calls.call("arm_driver/set_mode", fields)
            if reply.accepted:
                return ""
            reason = reply.reason or f"arm_driver refused {mode.name}"
            actual = reply.fields.get("mode")
            if actual == int(mode):
                return ""
            if mode is not ArmMode.DAMPING or actual is None or actual == int(expected):
                break  # only DAMPING is right whatever the arms have come to meanwhile
            expected = ArmMode(actual)
        return reason

    def hold(self, why: str) -> Steps[str]:
        """To HOLD at the measured pose, and until `arm_status` shows it."""
        if self._observed.arm_mode is ArmMode.HOLD:
            return ""
        problem = yield from self.ask(ArmMode.HOLD, why)
        # A refusal may cross the driver's own change to HOLD: its status decides.
        timeout_s = _CROSSING_S if problem else self._config.call_timeout_s
        held = yield Wait(lambda: self._observed.arm_mode is ArmMode.HOLD, timeout_s)
        return "" if held else problem or f"the arms did not come to HOLD within {timeout_s:g} s"

    def hold_if_free(self, why: str) -> Steps[str]:
        """To HOLD, if the arms are merely in damping mode; a fault is a person's to acknowledge."""
        if self._observed.arm_mode is ArmMode.DAMPING and not self._observed.fault:
            return (yield from self.hold(why))
        return ""

    def acknowledge(self) -> Steps[str]:
        """Acknowledge the fault that forced DAMPING, if there is one."""
        fault = self._observed.fault
        if not fault:
            return ""
        reply = yield from self._calls.call("arm_driver/acknowledge", {})
        if not reply.accepted:
            return f"'{in_words(fault)}' cannot be acknowledged: {reply.reason}"
        gone = yield Wait(lambda: not self._observed.fault, self._config.call_timeout_s)
        return "" if gone else f"'{in_words(fault)}' still stands after it was acknowledged"

    def settle(self, why: str) -> Steps[str]:
        """To HOLD from whatever the arms are in: acknowledge a fault, acquire control if they were released."""
        if self.driver_is_silent:
            return "arm_driver is silent; does it run?"
        if problem := (yield from self.acknowledge()):
            return problem
        if self._observed.arm_mode is ArmMode.RELEASED:
            return (yield from self.acquire(why))
        return (yield from self.hold(why))

    def acquire(self, why: str) -> Steps[str]:
        """Acquire the arms from the robot's own controller; over when the weight has come to its full value."""
        before = self._observed.arms_since_ns
        if problem := (yield from self.ask(ArmMode.HOLD, why)):
            return problem
        ended = yield Wait(lambda: self._acquiring_ended(before), self._config.acquire_timeout_s)
        if not ended:
            return f"arm_driver did not acquire the arms within {self._config.acquire_timeout_s:g} s"
        if self._observed.arm_mode is ArmMode.HOLD:
            return ""
        assert self._observed.arm is not None
        return f"the arms were not acquired: {in_words(self._observed.arm.reason) or 'no reason named'}"

    def _acquiring_ended(self, before_ns: int) -> bool:
        arm = self._observed.arm
        if arm is None or arm.transition:
            return False
        return arm.mode is ArmMode.HOLD or arm.since_ns > before_ns

    def go_home(self, why: str) -> Steps[str]:
        """From HOLD to the home position."""
        before = self._observed.arms_since_ns
        if problem := (yield from self.ask(ArmMode.HOME, why)):
            return problem
        return (yield from self.arrive_home(before))

    def arrive_home(self, before_ns: int) -> Steps[str]:
        """Until the HOME that was asked for while the mode of `before_ns` lasted has ended, and how."""
        ended = yield Wait(lambda: self._home_ended(before_ns), self._config.home_timeout_s)
        if not ended:
            return f"the arms did not reach the home position within {self._config.home_timeout_s:g} s"
        arm = self._observed.arm
        assert arm is not None
        if arm.mode is ArmMode.HOLD and arm.reason == "home_reached":
            return ""
        return arm.fault or arm.reason or f"the arms are in {arm.mode.name}"

    def _home_ended(self, before_ns: int) -> bool:
        arm = self._observed.arm
        return arm is not None and arm.mode is not ArmMode.HOME and arm.since_ns > before_ns

    def release(self, begun: Callable[[], None]) -> Steps[str]:
        """Give the arms back to the robot's own controller: arm_driver warns, waits and ramps.

        Args:
            begun: called when arm_driver has agreed, before anything moves.
        """
        if self._observed.arms_are_released:
            return ""
        if self.driver_is_silent:
            return "arm_driver is silent; the arms cannot be released from here"
        reply = yield from self._calls.call("arm_driver/release", {})
        if not reply.accepted:
            return reply.reason
        begun()
        observed, config = self._observed, self._config
        yield Wait(
            lambda: observed.arms_are_released or (observed.arm and observed.arm.transition), config.call_timeout_s
        )
        ended = yield Wait(self._release_ended, config.release_timeout_s)
        if observed.arms_are_released:
            return ""
        if not ended:
            return f"arm_driver did not release the arms within {config.release_timeout_s:g} s"
        if self.driver_is_silent:
            return "arm_driver went silent while it released the arms"
        assert observed.arm is not None
        why = in_words(observed.arm.fault or observed.arm.reason)
        return f"The release was stopped: {why}. The arms stay in damping mode"

    def _release_ended(self) -> bool:
        """Released; or stopped on the way, by the remote's button, a lost robot, or the driver's own end."""
        arm = self._observed.arm
        return arm is None or not arm.transition or self.driver_is_silent

    def forced(self, mark_ns: int) -> str:
        """Why the arms have been taken from the session since the mode of `mark_ns`; empty if they have not."""
        arm = self._observed.arm
        if arm is None or self.driver_is_silent:
            return "arm_driver_lost"
        if arm.since_ns <= mark_ns:
            return ""
        if arm.mode in (ArmMode.DAMPING, ArmMode.RELEASED):
            return arm.fault or arm.reason or f"arms in {arm.mode.name}"
        return "blocked" if arm.mode is ArmMode.HOLD and arm.reason == "blocked" else ""

    def not_holding(self) -> str:
        """Why the arms cannot be set in motion: they are not in HOLD any more; empty if they are."""
        arm = self._observed.arm
        if arm is not None and arm.mode is ArmMode.HOLD:
            return ""
        why = "" if arm is None else in_words(arm.fault or arm.reason)
        return f"the arms have left HOLD{': ' + why if why else ''}"

    def stopped_by(self) -> str:
        """Why the arms are in an emergency stop of their own (service, topic, remote, guard); empty if they are not."""
        if self._observed.guard_took_over:  # whatever the driver says: it hangs, died, or is silent for good
            return GUARD_TOOK_OVER
        if self._observed.driver_hung:
            return DRIVER_HUNG
        arm = self._observed.arm
        if arm is None or arm.mode not in (ArmMode.DAMPING, ArmMode.RELEASED):
            return ""
        return next((why for why in (arm.fault, arm.reason) if why in _STOP_REASONS), "")

    def guard_has_them(self) -> bool:
        """Whether it is the arm guard that releases the arms: it commands them, or the driver never will again."""
        return self._observed.guard_took_over or self._observed.driver_hung
