# SPDX-License-Identifier: Apache-2.0
"""The console's screen: six panels in 80×24, and the person's keys on their way to the session."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.driver import Driver
from textual.widgets import Static

from h1_session_manager.console import console_view
from h1_session_manager.console.console_view import ConsoleData

_REFRESH_S = 0.2
_LEAVE_S = 0.3
_NAMED = {"enter": "enter", "escape": "escape", "tab": "tab", "backspace": "backspace"}
"""Keys that print nothing; any key cancels an announced motion."""


class ConsoleApp(App[None]):
    """Shows what is heard, hands keys over; Ctrl+Q leaves the console, not the session.

    Args:
        heard: filled by somebody else.
        now_ns: session time.
        press: takes each key.
        cameras: streams to show.
        before_showing: called before each drawing; True ends the console.
        driver: textual's, if not its usual one.
        hint: what Ctrl+C and Ctrl+Q do here.
    """

    CSS = """
    Screen { overflow: hidden; }
    #banner { height: 1; text-style: bold; }
    Static { padding: 0 1; }
    #banner { padding: 0; }
    .panel { border: round $primary; height: auto; min-height: 3; }
    #question { max-height: 7; }
    #streams, #robot { width: 1fr; height: 6; text-wrap: nowrap; text-overflow: ellipsis; }
    #data { max-height: 5; }
    #messages { height: 1fr; min-height: 5; text-wrap: nowrap; text-overflow: ellipsis; }
    Horizontal { height: auto; }
    """
    BINDINGS = [  # noqa: RUF012  # textual's own form
        Binding("ctrl+q", "leave", "leave the console", priority=True),
        Binding("tab", "hand_over('tab')", show=False, priority=True),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self,
        heard: ConsoleData,
        now_ns: Callable[[], int],
        press: Callable[[str], None],
        cameras: tuple[str, ...],
        *,
        before_showing: Callable[[], bool] = lambda: False,
        driver: type[Driver] | None = None,
        hint: str = "Ctrl+Q leaves the console, not the session",
    ) -> None:
        super().__init__(driver_class=driver)
        self._before_showing = before_showing
        self._hint = hint
        self._drawn: dict[str, Text] = {}
        self._rings = heard.rings
        self._heard = heard
        self._now_ns = now_ns
        self._press = press
        self._cameras = cameras

    def compose(self) -> ComposeResult:
        """One panel a subject."""
        yield Static(id="banner")
        yield Static(id="question", classes="panel")
        with Horizontal():
            yield Static(id="streams", classes="panel")
            yield Static(id="robot", classes="panel")
        yield Static(id="data", classes="panel")
        yield Static(id="messages", classes="panel")

    def on_mount(self) -> None:
        """Show at once, and from then on five times a second."""
        for name, title in (("streams", "streams"), ("robot", "robot and policy"), ("data", "data"),
                            ("messages", "messages")):  # fmt: skip
            self.query_one(f"#{name}").border_title = title
        self.query_one("#question").border_subtitle = self._hint
        self.set_interval(_REFRESH_S, self.show)
        self.call_after_refresh(self.show)

    def on_resize(self) -> None:
        """More or fewer lines for the messages."""
        self.call_after_refresh(self.show)

    def show(self) -> None:
        """Draw what is heard, as far as it has changed."""
        if self._before_showing():
            self.exit()
            return
        if self._heard.rings != self._rings:
            self._rings = self._heard.rings
            self.bell()
        heard, now_ns = self._heard, self._now_ns()
        messages = self.query("#messages")
        if not messages:  # a last tick, while the panels are being taken away
            return
        panel = messages.first().content_size
        for name, text in (
            ("banner", console_view.banner(heard, now_ns, self.size.width)),
            ("question", console_view.question(heard)),
            ("streams", console_view.streams(heard, self._cameras, now_ns)),
            ("robot", console_view.robot(heard, now_ns)),
            ("data", console_view.data(heard)),
            ("messages", console_view.messages(heard, max(1, panel.height), max(20, panel.width))),
        ):
            if self._drawn.get(name) != text:
                self._drawn[name] = text
                self.query_one(f"#{name}", Static).update(text)

    def action_leave(self) -> None:
        """In a moment: a key that was typed right behind must not be lost."""
        self.set_timer(_LEAVE_S, self.exit)

    def action_hand_over(self, key: str) -> None:
        """For keys that textual keeps for itself."""
        self._press(key)

    def on_key(self, event: events.Key) -> None:
        """Keys are the session's, by the names that the keyboard node has for them."""
        if key := event.character if event.is_printable else _NAMED.get(event.key):
            event.stop()
            self._press(key)
