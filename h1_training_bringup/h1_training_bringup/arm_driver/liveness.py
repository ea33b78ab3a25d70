# SPDX-License-Identifier: Apache-2.0
"""Whether the robot's states are the work of a robot that lives, and not the same state, or another time's, again.

A state that arrives is no proof: a controller that hangs may go on publishing its last one, a bag may be played. What
lives counts on (`LowState.tick`) and measures (no two readings of 14 joints with speeds and torques are alike to the
last bit). The unit of `tick` is not published: its rate is measured, and only what no rate explains is a jump.
"""

from __future__ import annotations

from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_node.clock import NS_PER_S

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
