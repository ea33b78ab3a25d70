# SPDX-License-Identifier: Apache-2.0
"""The console's screen: six panels in 80×24, and the person's keys on their way to the session.

Its hold on the terminal: textual's own streams, Ctrl+C as a signal, and a way back whatever happens.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.widgets import Static

from h1_session_manager.console import console_view
from h1_session_manager.console.console_view import ConsoleData
from h1_session_manager.keyboard.keys import NoTerminalError, TtyRestorer, without_traps

_REFRESH_S = 0.2
_LEAVE_S = 0.3
_NAMED = {"enter": "enter", "escape": "escape", "tab": "tab", "backspace": "backspace"}
"""Keys that print nothing; any key cancels an announced motion."""

_FINAL_OUTPUT = b"\x1b[?1049l\x1b[?25h\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[?7h\x1b[0m\r\n"
"""Leave the alternate screen, show the cursor, no reports of focus, paste and size, wrap lines, plain colours."""
SMALLEST = (80, 24)


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


class SignallingDriver(LinuxDriver):
    """textual's driver, but that Ctrl+C stays a signal, even if the screen should hang."""

    @classmethod
    def _patch_lflag(cls, attrs: int) -> int:
        return super()._patch_lflag(attrs) | termios.ISIG

    def start_application_mode(self) -> None:
        """Also after a suspension."""
        super().start_application_mode()  # type: ignore[no-untyped-call]
        termios.tcsetattr(self.fileno, termios.TCSANOW, without_traps(termios.tcgetattr(self.fileno)))


class ConsoleTerminal:
    """Hands textual the terminal, and descriptors 1 and 2 a file, so that no library's complaint tears the screen.

    Args:
        path: of the terminal.
        log: what other code of this process prints goes there; None: where it went before.

    Raises:
        NoTerminalError: there is none.
    """

    def __init__(self, path: str, log: Path | None) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
            self._restorer = TtyRestorer(self._fd, _FINAL_OUTPUT)
        except (OSError, termios.error) as error:
            raise NoTerminalError(0, f"no terminal to show the console on: {error}", path) from None
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        self._before: tuple[Any, ...] = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
        for name in ("COLUMNS", "LINES"):  # a shell's memory; textual would take it for the size, whatever that is now
            os.environ.pop(name, None)
        self.size = os.get_terminal_size(self._fd)
        reading = os.fdopen(os.dup(self._fd), "r")
        writing = os.fdopen(os.dup(self._fd), "w")
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = reading, writing, writing  # type: ignore[misc]

    def close(self) -> None:
        """The terminal as it was."""
        self._restorer.close()
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = self._before  # type: ignore[misc]

    def say(self, text: str) -> None:
        """A line on the terminal, for when the console is not there."""
        os.write(self._fd, f"{text}\n".encode())


class LineFile:
    """The operator's lines as they are appended to a file, for a console that is the session's own screen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> list[str]:
        """The whole lines since the last call, without the prompts, which stand elsewhere on the screen."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        lines = whole.decode(errors="replace").replace("\a", "").splitlines()
        return [line for line in lines if line.strip() and not line.endswith(": ")]
