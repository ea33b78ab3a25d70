# SPDX-License-Identifier: Apache-2.0
"""What stands against having the arms, or going on with them: looked at in every period."""

from __future__ import annotations

import math

from h1_training_bringup.arm_driver.faults import (
    FOREIGN_COMMANDER,
    OVERHEATED,
    ROBOT_FROZEN,
    ROBOT_LOST,
    Heartbeat,
    Notice,
    Temperatures,
)
from h1_training_bringup.arm_driver.joints import LOWER, NAMES, TORSO, UPPER, WAIST_NAME
from h1_training_bringup.arm_driver.parameters import ArmParameters
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_bringup.arm_driver.trajectory import PERIOD_S
from h1_training_node.clock import NS_PER_S

_LONGEST_PERIOD_NS = round(2 * PERIOD_S * NS_PER_S)
_HEAT_EVERY = 10
"""Periods; heat does not hurry."""
_SLOW_NS = 1_000_000_000
"""For so long the state's rate, itself a mean over a second, may be too low before it means something."""
NO_GUARD = "the arm guard's heartbeat does not advance, and nobody would see to the arms if this driver died; start it"


class Conditions:
    """Each condition is a reason in snake_case and a line that says what is so.

    Attributes:
        frozen: what shows that the arriving states are no living robot's; empty if they are.
        unusable: what is wrong with the states that arrive; empty if they are good, or none arrive.
        foreign: who else commands the arms, or plays the robot; empty if nobody.
        foreign_actions: who else puts out actions, which matters to POLICY only; empty if nobody.
        not_ours: what else stands against acquiring the arms, as `reason: what is so`; empty if nothing.
    """

    def __init__(self, parameters: ArmParameters) -> None:
        p = parameters
        self.heartbeat = Heartbeat(round(p.session_timeout_s * NS_PER_S))
        self.temperatures = Temperatures(
            p.temperature_warn_degc,
            p.temperature_no_policy_degc,
            p.temperature_damping_degc,
            p.temperature_critical_degc,
        )
        self.frozen = self.unusable = self.foreign = self.foreign_actions = self.not_ours = ""
        self.guard = Heartbeat(round(p.guard_timeout_s * NS_PER_S))
        self._needs_guard = p.needs_guard
        self._guard_timeout_ns = round(p.guard_timeout_s * NS_PER_S)
        self._guard_advances, self._guard_silent_ns = 0, self._guard_timeout_ns + 1
        self.state_rate = 0.0
        self._least_rate = p.min_state_rate_hz
        self._slow_ns = 0
        self._sink_after_ns = round(p.release_warning_s * NS_PER_S)
        self._critical_since_ns: int | None = None
        self._robot_timeout_ns = round(p.robot_timeout_s * NS_PER_S)
        self._good_state_ns = round(p.good_state_s * NS_PER_S)
        self._level_cos = math.cos(p.tilt_limit_rad)
        self._tilt_limit = p.tilt_limit_rad
        self._mode_machine: int | None = None
        self._lost = False
        self._updated_ns = self._stamp_ns = self._silent_ns = 0
        self._periods = 0

    @property
    def robot_is_lost(self) -> bool:
        """No state of a living robot for too long, by the last `update`."""
        return self._lost

    @property
    def guard_is_there(self) -> bool:
        """Whether the guard's heartbeat advances, by the last `update`; true where none is needed."""
        return not self._needs_guard or self._guard_silent_ns <= self._guard_timeout_ns

    @property
    def state_comes_fast(self) -> bool:
        """Whether the robot's state comes at the rate that having the arms takes."""
        return self.state_rate >= self._least_rate

    @property
    def state_is_slow(self) -> bool:
        """Whether it has been coming too slowly for too long, by the last `update`."""
        return self._slow_ns > _SLOW_NS

    @property
    def rate_text(self) -> str:
        """The rate as measured and as needed."""
        return (
            f"robot state at {self.state_rate:.0f} Hz, {self._least_rate:.0f} Hz are needed; "
            "look at the network cable, and that the topic is /lowstate and not /lf/lowstate"
        )

    def unfit(self, good_for_ns: int) -> tuple[str, str] | None:
        """What is still missing before the arms can be acquired, as reason and detail; None if nothing is."""
        if not self.state_comes_fast:
            return "state_slow", self.rate_text
        if good_for_ns < self._good_state_ns:
            return "no_good_state", f"robot state was not good for {self._good_state_ns / NS_PER_S:g} s without a break"
        if not self.guard_is_there:
            return "no_guard", NO_GUARD
        return None

    def may_sink(self, now_ns: int) -> bool:
        """Whether a motor has been so hot that the arms are let down; people were warned a while before."""
        since_ns = self._critical_since_ns
        return since_ns is not None and now_ns - since_ns > self._sink_after_ns

    def remember_mode_machine(self, sensed: Sensed) -> None:
        """The robot's mode_machine from now on counts as the right one."""
        self._mode_machine = sensed.mode_machine

    def forget_mode_machine(self) -> None:
        """The arms are not ours: what the robot is restarted with meanwhile is its own affair."""
        self._mode_machine = None

    def update(self, now_ns: int, sensed: Sensed, state_rate: float) -> Notice | None:
        """Look at the newest reading; a notice when a motor got hotter by a step.

        The silence of robot and guard is counted in periods in which this process itself ran: a pause of its own is
        none of theirs.

        Args:
            now_ns: session time.
            sensed: the newest good reading, however old.
            state_rate: Hz, good states over the last second.
        """
        ran_ns = min(now_ns - self._updated_ns, _LONGEST_PERIOD_NS)
        self._silent_ns = 0 if sensed.stamp_ns != self._stamp_ns else self._silent_ns + ran_ns
        self._updated_ns, self._stamp_ns = now_ns, sensed.stamp_ns
        self._lost = self._silent_ns > self._robot_timeout_ns
        self._guard_silent_ns = 0 if self.guard.advances != self._guard_advances else self._guard_silent_ns + ran_ns
        self._guard_advances = self.guard.advances
        self.state_rate = state_rate
        self._slow_ns = 0 if self._lost or self.state_comes_fast else self._slow_ns + ran_ns
        self._periods += 1
        if self._periods % _HEAT_EVERY:
            return None
        notice = self.temperatures.update(sensed)
        if not self.temperatures.is_critical:
            self._critical_since_ns = None
        elif self._critical_since_ns is None:
            self._critical_since_ns = now_ns
        return notice

    def forcing(self, now_ns: int, sensed: Sensed, good_for_ns: int, *, was_unseen: str) -> dict[str, str]:
        """Conditions that force DAMPING while the arms are ours.

        Args:
            now_ns: session time.
            sensed: the newest good reading.
            good_for_ns: how long readings have been good without a break.
            was_unseen: `Faults.unseen`: it lasts until readings have been good for a while.
        """
        present: dict[str, str] = {}
        if self._lost:
            present.update([self._why_unseen(now_ns, sensed)])
        elif was_unseen and good_for_ns < self._good_state_ns:
            present[was_unseen] = "the robot's state has only just come back; wait a moment"
        if text := self._session_problem(now_ns):
            present["session_lost"] = text
        if text := self._motor_problem(sensed):
            present["motor_fault"] = text
        if text := _out_of_range(sensed):
            present["joint_out_of_range"] = text
        if self.temperatures.forces_damping:
            present[OVERHEATED] = f"{self.temperatures.text}; let it cool down"
        if self.foreign:
            present[FOREIGN_COMMANDER] = self.foreign
        return present

    def _why_unseen(self, now_ns: int, sensed: Sensed) -> tuple[str, str]:
        age_ms = (now_ns - sensed.stamp_ns) / 1e6
        if self.frozen:
            text = f"robot states come, but for {age_ms:.0f} ms none of a living robot: {self.frozen}"
            return ROBOT_FROZEN, f"{text}; see the robot's own controller"
        if self.unusable:
            return ROBOT_LOST, f"robot states come, but for {age_ms:.0f} ms none that can be used: {self.unusable}"
        return ROBOT_LOST, f"no robot state for {age_ms:.0f} ms; check the robot's power and the network cable"

    def no_state_yet(self, topic: str) -> str:
        """Why there never was a good state, as far as that is known."""
        if self.unusable:
            return f"states come on {topic}, but none that can be used: {self.unusable}"
        return f"nothing on {topic} yet; check the robot's power, the network cable, ROS_DOMAIN_ID"

    def _session_problem(self, now_ns: int) -> str:
        if not self.heartbeat.was_seen:
            return "no session/state seen yet; start the session manager"
        if not self.heartbeat.is_alive(now_ns):
            return "session/state does not advance; look whether the session manager runs"
        return ""

    def _motor_problem(self, sensed: Sensed) -> str:
        if sensed.motor_fault:
            return f"{sensed.motor_fault}; see the robot's own controller"
        if self._mode_machine is not None and sensed.mode_machine != self._mode_machine:
            return f"mode_machine changed from {self._mode_machine} to {sensed.mode_machine}: the robot was restarted?"
        if -sensed.down[2] < self._level_cos:
            return f"the robot leans by more than {self._tilt_limit} rad"
        return ""


def _out_of_range(sensed: Sensed) -> str:
    name = sensed.out_of_range
    if not name:
        return ""
    if name == WAIST_NAME:
        low, q, high, does = TORSO.lower_rad, sensed.waist_q, TORSO.upper_rad, "it is held where it was"
    else:
        joint = NAMES.index(name)
        low, q, high, does = LOWER[joint], sensed.q[joint], UPPER[joint], "it is damped and not carried, support it"
    return f"{name} is measured at {q:.2f} rad, its range is {low:g} to {high:g}; {does}; see its encoder"
