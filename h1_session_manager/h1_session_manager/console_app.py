"""The console's screen: five panels in 80×24, and the person's keys on their way to the session."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from h1_session_manager import console_view
from h1_session_manager.console_view import Heard

_REFRESH_S = 0.1


class ConsoleApp(App[None]):
    """Shows what is heard, hands keys over; Ctrl+Q leaves the console, not the session.

    Args:
        heard: filled by somebody else.
        now_ns: session time.
        press: takes each key.
        cameras: streams to show.
    """

    CSS = """
    Screen { overflow: hidden; }
    #banner { height: 1; text-style: bold; }
    Static { padding: 0 1; }
    #banner { padding: 0; }
    .panel { border: round $primary; height: auto; min-height: 3; }
    #question { max-height: 6; }
    #streams, #robot { width: 1fr; height: 6; text-wrap: nowrap; text-overflow: ellipsis; }
    #data { max-height: 4; }
    #messages { max-height: 7; text-wrap: nowrap; text-overflow: ellipsis; }
    Horizontal { height: auto; }
    """
    BINDINGS = [("ctrl+q", "quit", "leave the console")]  # noqa: RUF012  # textual's own form
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self, heard: Heard, now_ns: Callable[[], int], press: Callable[[str], None], cameras: tuple[str, ...]
    ) -> None:
        super().__init__()
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
        """Show at once, and from then on ten times a second."""
        for name, title in (("streams", "streams"), ("robot", "robot and policy"), ("data", "data"),
                            ("messages", "messages")):  # fmt: skip
            self.query_one(f"#{name}").border_title = title
        self.query_one("#question").border_subtitle = "Ctrl+Q leaves the console, not the session"
        self.set_interval(_REFRESH_S, self.show)
        self.show()

    def show(self) -> None:
        """Draw what is heard."""
        heard, now_ns = self._heard, self._now_ns()
        for name, text in (
            ("banner", console_view.banner(heard, now_ns)),
            ("question", console_view.question(heard)),
            ("streams", console_view.streams(heard.recorder, self._cameras)),
            ("robot", console_view.robot(heard)),
            ("data", console_view.data(heard)),
            ("messages", console_view.messages(heard)),
        ):
            self.query_one(f"#{name}", Static).update(text)

    def on_key(self, event: events.Key) -> None:
        """Printable keys are the session's."""
        if event.is_printable and event.character:
            event.stop()
            self._press(event.character)
