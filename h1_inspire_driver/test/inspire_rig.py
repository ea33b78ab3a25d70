# SPDX-License-Identifier: Apache-2.0
"""One hand's thread on the bench: its hand, what it says, and the session that it believes in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from h1_inspire_driver.grip import SessionGate, command_of
from h1_inspire_driver.hand_events import HandEvents
from h1_inspire_driver.hand_link import HandLink
from h1_inspire_driver.hand_state import HandState
from h1_inspire_driver.hand_thread import HandThread
from h1_inspire_driver.parameters import DriverParameters
from h1_training_node.message_numbers import Level
from h1_training_testing import wait_until

MS = 1_000_000


@dataclass
class Rig:
    """A hand's thread, what it said, and the session that it believes in."""

    thread: HandThread
    gate: SessionGate
    states: list[HandState] = field(default_factory=list)
    events: list[tuple[Level, str, str]] = field(default_factory=list)
    seq: int = 0

    def session(self, state: str) -> None:
        """Two heartbeats, so that the gate believes them."""
        for _ in range(2):
            self.seq += 1
            self.gate.heard(self.seq, state, time.monotonic_ns())
        self.thread.session_changed()

    def command(self, *openings: float) -> None:
        self.thread.command(command_of(time.monotonic_ns(), openings if len(openings) == 6 else openings * 6))

    def drive(self, opening: float, until: Callable[[], object], what: str) -> None:
        """Command and send heartbeats like the graph does until something has happened."""

        def step() -> object:
            self.session("EXECUTING")
            self.command(opening)
            return until()

        wait_until(step, what)

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


@contextlib.contextmanager
def a_rig(port: int, *, heartbeat_s: float = 5.0, **parameters: object) -> Iterator[Rig]:
    """The session's heartbeat may pause for 5 s, since this machine may stand still."""
    settings = DriverParameters(answer_timeout_s=3.0, **parameters)  # type: ignore[arg-type]
    gate, states, events = SessionGate(int(heartbeat_s * 1000) * MS), [], []
    reports = HandEvents("left", lambda *event: events.append(event), time.monotonic_ns, patience_ns=0)
    link = HandLink("127.0.0.1", port, unit_id=1, timeout_s=settings.answer_timeout_s)
    thread = HandThread(
        "left", link, settings, gate=gate, publish=states.append, events=reports, clock_ns=time.monotonic_ns
    )
    rig = Rig(thread, gate, states, events)
    thread.start()
    try:
        yield rig
    finally:
        thread.stop()
        thread.join(10)
        assert not thread.is_alive()
