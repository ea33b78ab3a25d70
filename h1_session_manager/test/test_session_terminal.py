# SPDX-License-Identifier: Apache-2.0
import errno
import io
import threading

import pytest

from h1_session_manager.operator_output import Terminal, wrapped


def test_the_cursor_waits_behind_the_prompt_and_goes_back_there_after_other_lines():
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal.say(("[READY] New weights available!",), "  Press 'y': ", replaces_prompt=True)
    terminal.say(("Cameras ready: All cameras working!",))
    terminal.say(("[EXECUTING] Running policy (epoch 1)",), replaces_prompt=True)
    terminal.say(("end",))
    terminal.close()
    assert stream.getvalue() == (
        "[READY] New weights available!\n"
        "  Press 'y': \n"
        "Cameras ready: All cameras working!\n"
        "  Press 'y': \n"
        "[EXECUTING] Running policy (epoch 1)\n"
        "end\n"
    )


class _Gone(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_terminal_that_is_gone_is_survived():
    terminal = Terminal(_Gone())
    for _ in range(5):
        terminal.say(("line",))
    terminal.close()


class _Full(io.StringIO):
    """Writes to a file whose disk is full for its first line."""

    is_full = True

    def write(self, text: str) -> int:
        if self.is_full:
            self.is_full = False
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_lines_go_on_when_a_full_disk_has_space_again():
    stream = _Full()
    terminal = Terminal(stream)
    terminal.say(("lost",))
    terminal.say(("[DECIDING] What's next?",))
    terminal.close()
    assert stream.getvalue() == "[DECIDING] What's next?\n"


class _Stuck(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, _text: str) -> int:
        self.go.wait(20)
        return 0


def test_a_terminal_that_stands_still_holds_nobody_up():
    stream = _Stuck()
    terminal = Terminal(stream)
    for _ in range(5000):
        terminal.say(("line",))
    terminal.close(0.05)
    stream.go.set()


def test_no_bell_where_nobody_hears_it():
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal.bell()
    terminal.close()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_line_breaks_at_blanks_keeps_its_words_and_its_end(columns):
    line = "  Press 'y' to release: arms return to the robot's own controller: stand clear, all of you who are near: "
    broken = wrapped(line, columns)
    assert all(len(part) <= columns + 1 for part in broken.split("\n"))
    assert broken.split() == line.split()
    assert broken.startswith("  Press") and broken.endswith(": ")


def test_what_goes_to_no_terminal_and_what_cannot_break_stays_whole():
    path = "  Saved: /" + "a" * 200
    assert wrapped(path, 0) == path
    assert path.split()[1] in wrapped(path, 80).split()
