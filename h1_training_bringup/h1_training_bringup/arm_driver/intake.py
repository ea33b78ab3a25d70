# SPDX-License-Identifier: Apache-2.0
"""From the robot's samples to the newest good reading of a robot that lives, with what went wrong on the way counted.

A state that arrives is no proof of life: a controller that hangs may go on publishing its last one, a bag may be
played. What lives counts on (`LowState.tick`) and measures (no two readings of 14 joints with speeds and torques are
alike to the last bit). The unit of `tick` is not published: its rate is measured, and only what no rate explains is a
jump.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from h1_training_bringup.arm_driver.faults import Notice
from h1_training_bringup.arm_driver.joints import TORSO, VELOCITY
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_bringup.arm_driver.wire import CrcError, WireError, low_state_bytes
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import Level

_TICKS = 1 << 32
_MEASURED_AFTER_NS = NS_PER_S // 4
_LATE_NS = NS_PER_S // 5
"""By so much the wire may hold a state back before the next one."""


class Liveness:
    """Judges each reading against the newest one that lived.

    Args:
        patience_ns: after so long without life the judge starts again from what is there.

    Attributes:
        complaint: what is wrong since the last reading that lived, empty if nothing is.
    """

    def __init__(self, patience_ns: int) -> None:
        self._patience_ns = patience_ns
        self._last: Sensed | None = None
        self._living: Sensed | None = None
        self._counted_since_ns = self._counted = 0
        self.complaint = ""

    def judge(self, reading: Sensed) -> bool:
        """Whether `reading` shows life."""
        last, self._last = self._last, reading
        living = self._living
        if last is None or living is None:
            self._begin(reading)
            return True
        self.complaint = self._objection(last, living, reading)
        if not self.complaint:
            self._counted += (reading.tick - living.tick) % _TICKS
            self._living = reading
        elif reading.stamp_ns - living.stamp_ns > self._patience_ns:
            # A robot that was restarted counts from elsewhere; it must show that it does so.
            self._begin(reading)
        return not self.complaint

    def _begin(self, reading: Sensed) -> None:
        self._living, self._counted_since_ns, self._counted = reading, reading.stamp_ns, 0

    def _objection(self, last: Sensed, living: Sensed, reading: Sensed) -> str:
        step = (reading.tick - living.tick) % _TICKS
        if step == 0:
            return f"its tick stands still at {reading.tick}"
        if step > _TICKS // 2:
            return f"its tick went back from {living.tick} to {reading.tick}"
        if step > self._largest_step(living, reading):
            return f"its tick jumped from {living.tick} to {reading.tick}"
        if _is_same(last, reading):
            return "its joints' angles, speeds and torques are the same to the last bit"
        return ""

    def _largest_step(self, living: Sensed, reading: Sensed) -> float:
        measured_ns = living.stamp_ns - self._counted_since_ns
        if measured_ns < _MEASURED_AFTER_NS:
            return _TICKS
        return 2 * self._counted / measured_ns * (reading.stamp_ns - living.stamp_ns + _LATE_NS) + 1


def _is_same(before: Sensed, after: Sensed) -> bool:
    # The first speed differs nearly always, and that is soon seen.
    return bool(
        before.dq[0] == after.dq[0]
        and (before.q == after.q).all()
        and (before.dq == after.dq).all()
        and (before.tau_est == after.tau_est).all()
    )


_LEAP_RAD = 0.2
"""More than the way at a motor's greatest speed plus this no joint goes between two states: the reading is wrong."""

_MOST_REMARKS = 20


class StateIntake:
    """Takes every sample of the robot's state as it arrives, and hands out the newest good one.

    Args:
        gap_ns: a longer silence breaks the run of good states; so does a longer time without life in them.
        harmless_bits: of the motors' `motorstate`, which are reported once and are no fault.

    Attributes:
        crc_errors, bad_states: samples that were read and dropped, for a wrong checksum; for anything else.
    """

    def __init__(self, gap_ns: int, harmless_bits: int = 0) -> None:
        self._gap_ns = gap_ns
        self._harmless_bits = harmless_bits
        self._remarks: set[str] = set()
        self._liveness = Liveness(gap_ns)
        self._received_ns = 0
        self._arrivals: deque[int] = deque()
        self._pending: list[tuple[bytes, int]] = []
        self._dropped = "", 0
        self._good: Sensed | None = None
        self._good_since_ns = 0
        self.crc_errors = 0
        self.bad_states = 0
        self.notices: list[Notice] = []

    def receive(self, sample: bytes, now_ns: int) -> None:
        """A sample came off the wire at `now_ns`; it is read by the next `latest`."""
        self._pending.append((sample, now_ns))

    def latest(self) -> Sensed | None:
        """The newest good reading; None before the first.

        Of several samples only the newest that is sound is read: those before it are superseded.
        """
        pending, self._pending = self._pending, []
        while pending:
            sample, stamp_ns = pending.pop()
            state = self._decoded(sample, stamp_ns)
            if state is not None:
                self._arrivals.extend(at_ns for _, at_ns in pending)
                self._arrivals.append(stamp_ns)
                self._forget_arrivals(stamp_ns)
                self._received_ns = stamp_ns
                self._take(Sensed.from_record(state, stamp_ns, self._harmless_bits), stamp_ns)
                break
        return self._good

    def _decoded(self, sample: bytes, stamp_ns: int) -> bytes | None:
        try:
            return low_state_bytes(sample)
        except CrcError as error:
            self.crc_errors += 1
            self._drop(self.crc_errors, "state_crc", str(error), stamp_ns)
        except WireError as error:
            self._drop_bad(str(error), stamp_ns)
        return None

    def _take(self, reading: Sensed | None, stamp_ns: int) -> None:
        if reading is None:
            self._good_since_ns = stamp_ns
            self._drop_bad("robot state with values that cannot be (not finite, no angle, or no IMU)", stamp_ns)
            return
        if self._good is not None and _leaps(self._good, reading):
            self._good_since_ns = stamp_ns
            text = "robot state in which a joint is suddenly elsewhere, faster than its motor can turn"
            self._drop_bad(text, stamp_ns)
            return
        if not self._liveness.judge(reading):
            return
        if self._good is None or reading.stamp_ns - self._good.stamp_ns > self._gap_ns:
            self._good_since_ns = reading.stamp_ns
        self._good = reading
        if reading.motor_remark and reading.motor_remark not in self._remarks and len(self._remarks) < _MOST_REMARKS:
            self._remarks.add(reading.motor_remark)
            text = f"{reading.motor_remark}; no fault, as the parameter motorstate_ignored says"
            self.notices.append(Notice(Level.WARN, "motorstate_ignored", text))

    def good_for_ns(self, now_ns: int) -> int:
        """How long good states have been coming without a break, ns; 0 if they do not now."""
        if self._good is None or now_ns - self._good.stamp_ns > self._gap_ns:
            return 0
        return self._good.stamp_ns - self._good_since_ns

    def frozen(self, now_ns: int) -> str:
        """What shows that the states which arrive are no living robot's; empty if they are, or none arrive."""
        return self._liveness.complaint if now_ns - self._received_ns <= self._gap_ns else ""

    def unusable(self, now_ns: int) -> str:
        """What is wrong with the states that arrive, as of the newest; empty if that is good, or none arrive."""
        text, at_ns = self._dropped
        is_newest = self._good is None or at_ns > self._good.stamp_ns
        return text if text and is_newest and now_ns - at_ns <= self._gap_ns else ""

    def rate(self, now_ns: int) -> float:
        """Hz, states received over the last second."""
        self._forget_arrivals(now_ns)
        return float(len(self._arrivals))

    def _forget_arrivals(self, now_ns: int) -> None:
        """Those of more than a second ago; whoever never asks for the rate must not keep them all."""
        while self._arrivals and now_ns - self._arrivals[0] > NS_PER_S:
            self._arrivals.popleft()

    def _drop_bad(self, text: str, stamp_ns: int) -> None:
        self.bad_states += 1
        self._drop(self.bad_states, "state_bad", text, stamp_ns)

    def _drop(self, count: int, reason: str, text: str, stamp_ns: int) -> None:
        self._dropped = text, stamp_ns
        if count == 1:
            self.notices.append(Notice(Level.WARN, reason, f"{text}; dropped, as all further ones will be"))


def _leaps(before: Sensed, after: Sensed) -> bool:
    way, waist_way = after.q - before.q, abs(after.waist_q - before.waist_q)
    if way.dot(way) < _LEAP_RAD**2 and waist_way < _LEAP_RAD:  # nearly always, and soon said
        return False
    seconds = (after.stamp_ns - before.stamp_ns) / NS_PER_S
    if waist_way > TORSO.velocity_rad_s * seconds + _LEAP_RAD:
        return True
    return bool((np.abs(way) > VELOCITY * seconds + _LEAP_RAD).any())
