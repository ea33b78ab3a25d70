# SPDX-License-Identifier: Apache-2.0
"""One hand's thread: connects, reads, writes, and starts again when the hand is gone. No hand ever waits for another.

Nothing is published that was not read; while the hand is gone its topic is silent, and so visibly stale.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from h1_inspire_driver.grip import Command, Grip, SessionGate, staying
from h1_inspire_driver.hand_events import HandEvents
from h1_inspire_driver.hand_link import HandLink, HandLostError
from h1_inspire_driver.hand_state import HandState, ReadPlan, Timed, hand_state
from h1_inspire_driver.parameters import DriverParameters
from h1_inspire_driver.registers import (
    ANGLE_ACT,
    ANGLE_SET,
    CLEAR_ERROR,
    FINGERS,
    FORCE_SET,
    SECONDARY,
    SPEED_SET,
    Block,
    ImplausibleError,
    angles_of,
    faults_of,
)
from h1_training_node.clock import NS_PER_S

_LONG_ANSWER_NS = 500_000_000


class HandThread(threading.Thread):
    """Drives one hand until `stop`, then makes the fingers stay and closes the connection.

    Args:
        side: `left` or `right`.
        link: its connection, not yet open.
        parameters: of the driver.
        gate: whether commands are followed.
        publish: takes each state; called in this thread.
        events: of this hand, for people.
        clock_ns: session time.
    """

    def __init__(
        self,
        side: str,
        link: HandLink,
        parameters: DriverParameters,
        *,
        gate: SessionGate,
        publish: Callable[[HandState], None],
        events: HandEvents,
        clock_ns: Callable[[], int],
    ) -> None:
        super().__init__(name=f"{side}_hand", daemon=True)
        self._side = side
        self._link = link
        self._parameters = parameters
        self._gate = gate
        self._publish = publish
        self._events = events
        self._clock_ns = clock_ns
        self._grip = Grip(
            command_timeout_ns=int(parameters.command_timeout_s * NS_PER_S),
            write_interval_ns=int(NS_PER_S / parameters.write_rate_hz),
            min_change=parameters.min_change_raw,
        )
        self._period_ns = int(NS_PER_S / parameters.rate_hz)
        self._plan = ReadPlan(self._period_ns)
        self._others: dict[Block, Timed] = {}
        self._inbox: deque[Command] = deque(maxlen=1)
        self._command: Command | None = None
        self._clear_asked = False
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self.is_connected = False

    # Called by the executor's thread: they store and wake, and never wait.

    def command(self, command: Command) -> None:
        """Follow `command` when the gate is open; the newest one counts."""
        self._inbox.append(command)
        self._wake.set()

    def session_changed(self) -> None:
        """The gate may have opened or closed."""
        self._wake.set()

    def clear_error(self) -> None:
        """Clear the hand's errors; followed by the event `hand_errors_cleared`."""
        self._clear_asked = True
        self._wake.set()

    def stop(self) -> None:
        """Make the fingers stay, then end this thread."""
        self._stopping.set()
        self._wake.set()

    # The thread.

    def run(self) -> None:
        """Connect, serve, and start again with growing pauses, until `stop`."""
        pause_s = self._parameters.reconnect_pause_s
        while not self._stopping.is_set():
            try:
                self._link.connect()
                self._begin()
                pause_s = self._parameters.reconnect_pause_s
                self._serve()
            except HandLostError as lost:
                self._events.lost(str(lost))
            except ImplausibleError as nonsense:
                self._events.lost(f"{self._link.address} sends nonsense: {nonsense}")
            finally:
                self.is_connected = False
                self._link.close()
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, self._parameters.reconnect_pause_max_s)

    def _begin(self) -> None:
        """After connecting: forget what was known, bound speed and force, read everything once."""
        self._grip.reconnected()
        for block, value in ((SPEED_SET, self._parameters.speed_raw), (FORCE_SET, self._parameters.force_g)):
            self._pause_until(self._grip.may_write_at_ns(0))
            self._grip.wrote_setting(self._write(block, (value,) * len(FINGERS)))
        self._plan = ReadPlan(self._period_ns)
        self._others = {}
        for block in SECONDARY:
            self._others[block] = self._read(block)
        self.is_connected = True
        self._events.back(self._link.address)

    def _serve(self) -> None:
        next_round_ns = self._clock_ns()
        while not self._stopping.is_set():
            self._wake.clear()
            now_ns = self._clock_ns()
            if now_ns >= next_round_ns or self._must_hold(now_ns):
                self._round(now_ns)
                next_round_ns = max(next_round_ns + self._period_ns, self._clock_ns())
            self._follow()
            self._clear_error()
            self._wait_until(self._next_ns(next_round_ns))
        if self._grip.may_be_moving:
            self._pause_until(self._grip.may_write_at_ns(0))
            self._hold(angles_of(self._read(ANGLE_ACT).registers))

    def _round(self, began_ns: int) -> None:
        """Read what the plan says, stop the fingers if they must, and publish."""
        self._plan.begin_round()
        measured = self._read(ANGLE_ACT)
        angles = angles_of(measured.registers)
        if self._must_hold(self._clock_ns()):
            self._hold(angles)
        while block := self._plan.next_block(self._clock_ns() - began_ns):
            self._others[block] = self._read(block)
        state = hand_state(
            measured.stamp_ns,
            angles,
            self._others,
            command=self._grip.targets,
            gated=self._gate.why_closed(self._clock_ns()),
            bytes_high_first=self._parameters.bytes_high_first,
        )
        self._publish(state)
        self._events.faults(faults_of(state.error, state.status))

    def _must_hold(self, now_ns: int) -> bool:
        return (
            self._grip.may_be_moving and bool(self._gate.why_closed(now_ns)) and now_ns >= self._grip.may_write_at_ns(0)
        )

    def _hold(self, measured: tuple[int, ...]) -> None:
        """Make the fingers stay where they were measured a moment ago."""
        angles = staying(measured)
        self._grip.written(angles, self._write(ANGLE_SET, angles), is_hold=True)

    def _follow(self) -> None:
        """Write the newest command if it is allowed, fresh, due and different."""
        if self._inbox:
            self._command = self._inbox.pop()
        command = self._command
        if command is None:
            return
        now_ns = self._clock_ns()
        if self._gate.why_closed(now_ns):
            self._command = None
        elif not self._grip.is_fresh(command, now_ns):
            self._command = None
            age_ms = (now_ns - command.stamp_ns) / 1e6
            limit_ms = self._parameters.command_timeout_s * 1e3
            self._events.command_old(age_ms, limit_ms)
        elif not self._grip.differs(command):
            self._command = None
        elif now_ns >= self._grip.may_write_at_ns(self._plan.answer_ns):
            self._command = None
            self._grip.written(command.angles, self._write(ANGLE_SET, command.angles), is_hold=False)

    def _clear_error(self) -> None:
        if not self._clear_asked or self._clock_ns() < self._grip.may_write_at_ns(0):
            return
        self._clear_asked = False
        self._grip.wrote_setting(self._write(CLEAR_ERROR, (1,)))
        self._events.errors_cleared()

    def _read(self, block: Block) -> Timed:
        began_ns = self._clock_ns()
        registers = self._link.read(block)
        return Timed(registers, self._answered(began_ns))

    def _write(self, block: Block, values: Sequence[int]) -> int:
        """Write a block; returns when it was acknowledged."""
        began_ns = self._clock_ns()
        self._link.write(block, values)
        return self._answered(began_ns)

    def _answered(self, began_ns: int) -> int:
        """A request that began at `began_ns` was answered now; returns now."""
        now_ns = self._clock_ns()
        self._plan.answered(now_ns - began_ns)
        if now_ns - began_ns > _LONG_ANSWER_NS:
            self._events.slow(now_ns - began_ns)
        return now_ns

    def _next_ns(self, next_round_ns: int) -> int:
        """When there is something to do again, if nobody wakes this thread before."""
        now_ns = self._clock_ns()
        if self._command is not None:
            return min(next_round_ns, self._grip.may_write_at_ns(self._plan.answer_ns))
        if self._clear_asked or (self._grip.may_be_moving and self._gate.why_closed(now_ns)):
            return min(next_round_ns, self._grip.may_write_at_ns(0))
        return next_round_ns

    def _wait_until(self, time_ns: int) -> None:
        """Wait until session time `time_ns`, or until something wakes this thread."""
        wait_ns = time_ns - self._clock_ns()
        if wait_ns > 0:
            self._wake.wait(wait_ns / NS_PER_S)

    def _pause_until(self, time_ns: int) -> None:
        """Wait until session time `time_ns`, which is one write interval away at most, whatever happens."""
        time.sleep(max(0, time_ns - self._clock_ns()) / NS_PER_S)
