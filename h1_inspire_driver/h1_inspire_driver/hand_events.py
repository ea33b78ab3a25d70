# SPDX-License-Identifier: Apache-2.0
"""The events of one hand: each once, by name, and never so often that it hides something else."""

from __future__ import annotations

from collections.abc import Callable

from h1_training_node.message_numbers import Level
from h1_training_node.report_once import ReportOnce

_AGAIN_NS = 10_000_000_000
"""The same event is published again after 10 s at the earliest."""


class HandEvents:
    """Turns what happens to a hand into events.

    Args:
        side: `left` or `right`.
        event: takes level, reason (snake_case) and one line for a person.
        clock_ns: session time.
        patience_ns: a hand that does not answer at first may still be starting; it is reported after this long.

    Attributes:
        last_loss: why the hand was lost last; empty if it never was.
    """

    def __init__(
        self,
        side: str,
        event: Callable[[Level, str, str], None],
        clock_ns: Callable[[], int],
        *,
        patience_ns: int = 3_000_000_000,
    ) -> None:
        self._side = side
        self._event = event
        self._clock_ns = clock_ns
        self._patient_until_ns: int | None = clock_ns() + patience_ns
        self._reports = ReportOnce(_AGAIN_NS)
        self._back_is_unreported = True
        self._is_lost = False
        self._quiet_losses = 0
        self.last_loss = ""
        self._faults: tuple[str, ...] = ()

    def lost(self, why: str) -> None:
        """The connection was lost, or could not be made: reported once, however many attempts fail."""
        self.last_loss = why
        if self._is_lost or (self._patient_until_ns is not None and self._clock_ns() < self._patient_until_ns):
            return
        self._is_lost = True
        if not self._is_due("lost"):
            self._quiet_losses += 1
            return
        often = f" (and {self._quiet_losses} times before in short succession)" if self._quiet_losses else ""
        self._quiet_losses = 0
        self._back_is_unreported = True
        self._publish(Level.ERROR, "hand_lost", f"{why}{often}. Trying again; its state is stale until it is back")

    def back(self, address: str) -> None:
        """The hand answers, for the first time or again."""
        self._patient_until_ns = None
        self._is_lost = False
        if self._back_is_unreported:
            self._back_is_unreported = False
            again = f" again (lost: {self.last_loss})" if self.last_loss else ""
            self._publish(Level.INFO, "hand_connected", f"{address} answers{again}")

    def faults(self, faults: tuple[str, ...]) -> None:
        """What the hand itself complains about now; published when new. A stall is what a firm grip does."""
        new = [fault for fault in faults if fault not in self._faults and self._is_due(fault)]
        self._faults = faults
        if new:
            level = Level.INFO if all(fault.endswith("stalled") for fault in new) else Level.WARN
            self._publish(
                level, "hand_fault", f"{', '.join(new)}; clear with the service hands/{self._side}/clear_error"
            )

    def slow(self, took_ns: int) -> None:
        """One answer took long."""
        if self._is_due("slow"):
            self._publish(Level.WARN, "hand_slow_answer", f"took {took_ns / 1e9:.1f} s to answer")

    def command_old(self, age_ms: float, limit_ms: float) -> None:
        """A command was ignored for its age."""
        if self._is_due("command_old"):
            self._publish(
                Level.WARN, "hand_command_old", f"ignored a command {age_ms:.0f} ms old; the limit is {limit_ms:.0f} ms"
            )

    def command_refused(self, why: str) -> None:
        """A command was refused whole."""
        if self._is_due("command_refused"):
            self._publish(Level.WARN, "hand_command_refused", f"refused a command: {why}")

    def errors_cleared(self) -> None:
        """CLEAR_ERROR was written."""
        self._publish(
            Level.INFO, "hand_errors_cleared", "errors cleared as asked (over-temperature stays until it is cool)"
        )

    def _is_due(self, what: str) -> bool:
        return self._reports.is_due(what, self._clock_ns())

    def _publish(self, level: Level, reason: str, detail: str) -> None:
        self._event(level, reason, f"{self._side} hand: {detail}")
