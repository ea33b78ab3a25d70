# SPDX-License-Identifier: Apache-2.0
"""What the page shows, as one JSON object ten times a second: the newest of every topic, and how old it is."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from h1_session_manager.table import EMERGENCY
from h1_session_manager.web.controls import Controls, Page
from h1_training_node.clock import NS_PER_S

_EVENTS, _LINES = 60, 60


@dataclass
class Live:
    """Filled by the node, read by the application; both in the event loop's thread.

    Attributes:
        now_ns: the session clock.
        cameras: whose images the page gets, by their places in `Frames`.
        sections: newest of each topic as plain values, by the name that the page knows.
        heard_ns: when each was heard.
        events: (time, source, level, reason, detail) of the last warnings and errors, oldest first.
        lines: the last lines of the operator's terminal, oldest first.
    """

    now_ns: Callable[[], int]
    cameras: tuple[str, ...] = ()
    sections: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    heard_ns: dict[str, int] = field(default_factory=dict)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    revision: int = 0
    _texts: dict[str, str] = field(default_factory=dict)
    _buttons: str = "[]"

    def hear(self, name: str, values: Mapping[str, Any]) -> None:
        """The newest of a topic. It becomes text here, once for all pages."""
        self.sections[name] = values
        self.heard_ns[name] = self.now_ns()
        self._texts[name] = _text(values)
        if name == "session":
            self._buttons = _text(buttons(values))

    def add_event(self, event: Mapping[str, Any]) -> None:
        """One more event; the oldest goes."""
        self.events.append(dict(event))
        self.revision += 1

    def add_lines(self, lines: list[str]) -> None:
        """More lines of the terminal."""
        self.lines.extend(lines)
        self.revision += 1

    @property
    def state(self) -> str:
        """The session's state; empty if none was heard yet."""
        return str(self.sections.get("session", {}).get("state", ""))

    def snapshot(self, controls: Controls, page: Page, known_revision: int) -> str:
        """The object for one page; events, lines and cameras only where something has come since `known_revision`."""
        now_ns = self.now_ns()
        driver = controls.driver
        own: dict[str, Any] = {
            "type": "live",
            "ages_s": {name: round((now_ns - heard) / NS_PER_S, 2) for name, heard in self.heard_ns.items()},
            "controls": {
                "driver": driver.name if driver else "",
                "is_driving": controls.is_driving(page),
                "may_drive": page.may_drive,
                "name": page.name,
                "pages": controls.pages,
            },
        }
        if known_revision != self.revision:
            own |= {"events": list(self.events), "lines": list(self.lines), "cameras": self.cameras}
        sections = ",".join(f'"{name}":{text}' for name, text in self._texts.items())
        return f'{_text(own)[:-1]},"buttons":{self._buttons},"sections":{{{sections}}}}}'


def buttons(session: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `session/state` allows now, but for the emergency stop, which the page always has.

    Args:
        session: the lists `keys`, `key_labels`, `key_services`, `key_moves`, `key_twice` of SessionState.

    Returns:
        For each: `key`, `request` (of `session_manager/<request>`), `label`, and whether it `moves` the arms or
        needs a `confirmation`.
    """
    columns = (session.get(name, ()) for name in ("keys", "key_services", "key_labels", "key_moves", "key_twice"))
    names = ("key", "request", "label", "moves", "confirmation")
    listed = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=False))
    return [button for button in listed if button["request"] != EMERGENCY]


def _text(value: Any) -> str:
    return json.dumps(finite(value), separators=(",", ":"))


def finite(value: Any) -> Any:
    """The same with None for each number that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
