# SPDX-License-Identifier: Apache-2.0
"""May the fingers follow the policy now? Only while the session is executing, and alive."""

from __future__ import annotations

from dataclasses import dataclass

EXECUTING = "EXECUTING"


@dataclass(frozen=True)
class _Heartbeat:
    seq: int
    state: str
    advanced_ns: int | None
    """When `seq` last advanced; None: heard once, not yet seen advancing."""


class SessionGate:
    """Judges `session/state`. Written by the executor's thread, read by the hands' threads.

    The one attribute that both touch is replaced whole, never changed in place. Hands ask with the present time, so
    the gate closes by itself when the executor, or the whole session, no longer says anything.

    Args:
        timeout_ns: the session is lost when `seq` has not advanced for this long.

    Attributes:
        foreign: who else commands the hands, or plays the session; empty if nobody. Then no command is followed.
    """

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._heartbeat: _Heartbeat | None = None
        self.foreign = ""

    def heard(self, seq: int, state: str, now_ns: int) -> None:
        """A `session/state` has arrived.

        A message that does not advance `seq` changes nothing: it is an old one again. Only when the session was
        lost may `seq` starts again (session_manager restarted), and then it must advance once before it counts.
        """
        last = self._heartbeat
        if last is None or (seq < last.seq and self._is_lost(last, now_ns)):
            self._heartbeat = _Heartbeat(seq, state, None)
        elif seq > last.seq:
            self._heartbeat = _Heartbeat(seq, state, now_ns)

    def why_closed(self, now_ns: int) -> str:
        """Why commands are ignored now; empty while they are followed."""
        heartbeat = self._heartbeat
        if self.foreign:
            return f"foreign_commander: {self.foreign}"
        if heartbeat is None:
            return "no session/state yet"
        if self._is_lost(heartbeat, now_ns):
            return "session heartbeat lost"
        if heartbeat.state != EXECUTING:
            return f"session is {heartbeat.state}"
        return ""

    def _is_lost(self, heartbeat: _Heartbeat, now_ns: int) -> bool:
        return heartbeat.advanced_ns is None or now_ns - heartbeat.advanced_ns > self._timeout_ns
