# SPDX-License-Identifier: Apache-2.0
"""Which policy actions are followed: whole, fresh, in order, and seen from where the arms really were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.joints import COUNT, Joints
from h1_training_node.arm_joints import beyond_range

WITH_HANDS = COUNT + 12
"""Values of an action that also moves the hands; they come after the arms'."""
_FUTURE_TOLERANCE_NS = 20_000_000


@dataclass(frozen=True)
class ReceivedAction:
    """One step of the policy, as received.

    Attributes:
        seq: rises by one each message.
        stamp_ns: when it was put out, session clock.
        observation_ns: arm stamp of the observation that it was inferred from.
        positions: any length, rad; the first 14 are the arms.
        execution: token of the POLICY that it was made for.
    """

    seq: int
    stamp_ns: int
    observation_ns: int
    positions: NDArray[np.float64]
    execution: int


class ActionGate:
    """Refuses actions whole, and knows how long ago the last good one came.

    Args:
        stale_ns: an action is fresh for so long.
        first_ns: how long after entry the first one may take.

    Attributes:
        seq: of the last accepted action; 0 = none in this entry of POLICY.
        refused: actions refused since start.
    """

    def __init__(self, stale_ns: int, first_ns: int) -> None:
        self._stale_ns, self._first_ns = stale_ns, first_ns
        self._entered_ns = self._hold_since_ns = self._accepted_ns = 0
        self.seq = 0
        self.refused = 0

    def enter(self, now_ns: int, hold_since_ns: int) -> None:
        """POLICY was entered now, from a HOLD that had begun at `hold_since_ns`."""
        self._entered_ns, self._hold_since_ns = now_ns, hold_since_ns
        self._accepted_ns = self.seq = 0

    def leave(self) -> None:
        """POLICY was left."""
        self.seq = 0

    def offer(self, now_ns: int, action: ReceivedAction, execution: int) -> tuple[Joints | None, str]:
        """The arms' 14 positions if the action may be followed; else None and the reason.

        Args:
            now_ns: session time.
            action: as received.
            execution: token of the present POLICY.
        """
        reason = self._objection(now_ns, action, execution)
        if reason:
            self.refused += 1
            return None, reason
        self.seq, self._accepted_ns = action.seq, now_ns
        return action.positions[:COUNT], ""

    def stale_for_ns(self, now_ns: int) -> int:
        """How far the wait for a fresh action is beyond what is allowed, ns; 0 or less if it is not."""
        if self.seq == 0:
            return now_ns - self._entered_ns - self._first_ns
        return now_ns - self._accepted_ns - self._stale_ns

    def _objection(self, now_ns: int, action: ReceivedAction, execution: int) -> str:
        if action.execution != execution:
            return "action_of_another_execution: its token is not the one in arm_status; who puts it out, and why?"
        if len(action.positions) not in (COUNT, WITH_HANDS):
            return f"action_length: {len(action.positions)} values; expected {COUNT} or {WITH_HANDS}"
        if not np.isfinite(action.positions).all():
            return "action_not_finite: NaN or infinity among its values"
        if beyond := beyond_range(action.positions[:COUNT]):
            return f"action_out_of_range: {beyond}"
        if action.observation_ns < self._hold_since_ns:
            return "action_too_old: inferred from before the arms were held"
        if action.seq <= self.seq:
            return f"action_replayed: number {action.seq} after number {self.seq}"
        if not -_FUTURE_TOLERANCE_NS <= now_ns - action.stamp_ns <= self._stale_ns:
            return f"action_late: put out {(now_ns - action.stamp_ns) / 1e6:.0f} ms ago by its stamp"
        return ""
