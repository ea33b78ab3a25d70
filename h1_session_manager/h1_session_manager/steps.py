# SPDX-License-Identifier: Apache-2.0
"""Things that take time, written from top to bottom: generators that say what they wait for, and how long.

Such steps are plain code with `yield Wait(...)` where another node has to do something first. Nothing in them blocks:
the engine advances them whenever it learns something, and at every tick. So each wait has its time-out on the same
line, and a change of state ends the steps wherever they stand. Their result says where the session goes next.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from h1_training_node.clock import NS_PER_S

T = TypeVar("T")


@dataclass(frozen=True)
class Wait:
    """Until `until()` is true, which `yield` then returns, or `timeout_s` is over, then None. None: no time-out."""

    until: Callable[[], object]
    timeout_s: float | None


Steps = Generator[Wait, Any, T]


@dataclass(frozen=True)
class Fire:
    """Follow `trigger` of the table.

    Attributes:
        trigger: of a row of the present state.
        reason: why, for the person.
        code: why, in snake_case: an episode's `end_reason`.
    """

    trigger: str
    reason: str = ""
    code: str = ""


@dataclass(frozen=True)
class Quit:
    """The session is over; `status` is the process's."""

    status: int


Next = Fire | Quit | None
"""Where the session goes when steps have ended; None: it stays."""


@dataclass(frozen=True)
class Ended:
    """The steps have come to their end."""

    value: object


class StepRunner:
    """Advances one procedure at a time."""

    def __init__(self) -> None:
        self._steps: Steps[object] | None = None
        self._wait: Wait | None = None
        self._deadline_ns: int | None = None

    def start(self, steps: Steps[Any]) -> None:
        """Run `steps` in place of those that run now, which end where they stand."""
        self.stop()
        self._steps = steps

    def stop(self) -> None:
        """End the steps where they stand."""
        steps, self._steps, self._wait = self._steps, None, None
        if steps is not None:
            steps.close()

    def excuse(self, duration_ns: int) -> None:
        """Nothing could be heard for so long: it does not count as waiting."""
        if self._deadline_ns is not None:
            self._deadline_ns += duration_ns

    def advance(self, now_ns: int) -> Ended | None:
        """Go on as far as possible; None if there is something to wait for, or nothing to do."""
        while self._steps is not None:
            value: object = None
            if self._wait is not None:
                value = self._wait.until() or None
                if value is None and (self._deadline_ns is None or now_ns < self._deadline_ns):
                    return None
            try:
                self._wait = self._steps.send(value)
            except StopIteration as end:
                self._steps = self._wait = None
                return Ended(end.value)
            timeout_s = self._wait.timeout_s
            self._deadline_ns = None if timeout_s is None else now_ns + int(timeout_s * NS_PER_S)
        return None


def stay() -> Steps[Next]:
    """Until somebody asks for something."""
    yield Wait(lambda: False, None)
    return None


def pause(seconds: float) -> Steps[None]:
    """Until `seconds` have passed."""
    yield Wait(lambda: False, seconds)
