# SPDX-License-Identifier: Apache-2.0
"""Who writes to the operator's terminal, and what is kept while the console has it."""

import os
import subprocess
import sys
from datetime import datetime
from functools import partial

import pytest

from h1_training_bringup.session import operator_screen
from h1_training_bringup.session.operator_screen import console_problem

OperatorScreen = partial(operator_screen.OperatorScreen, now=lambda: datetime(2026, 11, 27, 23, 5, 9))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "operator.log"


def session_says(screen: operator_screen.OperatorScreen, text: str) -> None:
    os.write(screen.fileno(), text.encode())


def test_what_the_session_says_is_shown_once_and_kept(path, capsys):
    screen = OperatorScreen(path)
    session_says(screen, "[READY] New weights available!\n")
    screen.follow()
    screen.follow()
    assert capsys.readouterr().out == "[READY] New weights available!\n"
    assert path.read_text() == "[READY] New weights available!\n"


def test_a_warning_stands_above_the_prompt_and_not_behind_it(path, capsys):
    screen = OperatorScreen(path)
    session_says(screen, "[READY]\n  Press 'y': ")
    screen.print("! head_camera: silent")
    screen.follow()
    assert capsys.readouterr().out == "[READY]\n  Press 'y': \n23:05:09 ! head_camera: silent\n  Press 'y': "


def test_nothing_is_shown_while_the_console_has_the_terminal_and_the_last_lines_when_it_is_gone(path, capsys):
    screen = OperatorScreen(path, hidden=True)
    session_says(screen, "".join(f"line {number}\n" for number in range(40)))
    screen.follow()
    assert capsys.readouterr().out == ""
    screen.show()
    shown = capsys.readouterr().out.splitlines()
    assert (shown[0], shown[-1], len(shown)) == ("line 28", "line 39", 12)
    session_says(screen, "line 40\n")
    screen.follow()
    assert capsys.readouterr().out == "line 40\n"


def test_bells_do_not_get_into_a_file(path, capsys):
    screen = OperatorScreen(path)
    session_says(screen, "a line\n\a")
    screen.follow()
    assert capsys.readouterr().out == "a line\n"


def test_without_a_terminal_there_is_no_console():
    assert console_problem() == "standard input and output are no terminal"


def test_a_bell_is_no_prompt(path, capsys):
    screen = OperatorScreen(path)
    session_says(screen, "stand clear\n\a\a\a")
    screen.print("! arm_driver: release_warning")
    screen.follow()
    assert capsys.readouterr().out == "stand clear\n23:05:09 ! arm_driver: release_warning\n"


def test_what_was_asked_for_is_not_asked_again_when_the_session_ends(path, capsys):
    screen = OperatorScreen(path)
    session_says(screen, "[READY]\n  Press 'y': ")
    screen.print("Ending ...", keeps_prompt=False)
    screen.print("! arm_driver: stand clear")
    screen.follow()
    assert capsys.readouterr().out == "[READY]\n  Press 'y': \nEnding ...\n23:05:09 ! arm_driver: stand clear\n"


def test_several_lines_stand_above_one_prompt(path, capsys):
    screen = OperatorScreen(path)
    session_says(screen, "  Press 'y': ")
    screen.print("! recorder ended", "    KeyError")
    screen.follow()
    assert capsys.readouterr().out == "  Press 'y': \n23:05:09 ! recorder ended\n    KeyError\n  Press 'y': "


def test_on_a_narrow_terminal_lines_wrap_at_words(path, capsys, monkeypatch):
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((40, 24)))
    monkeypatch.setattr("sys.stdout.fileno", lambda: 1, raising=False)
    screen = OperatorScreen(path)
    session_says(screen, "  The arms are acquired and move to the home position\n  Press 'y': ")
    screen.follow()
    assert capsys.readouterr().out == "  The arms are acquired and move to the\n    home position\n  Press 'y': "
    session_says(screen, "\n")
    screen.follow()
    capsys.readouterr()
    screen.print("! head_camera: no frame from tcp://10.0.0.1:5555 for 5.0 s; is it running?")
    screen.follow()
    assert capsys.readouterr().out == (
        "23:05:09 ! head_camera: no frame from\n  tcp://10.0.0.1:5555 for 5.0 s; is it\n  running?\n"
    )


FULL = """
import resource, sys
from pathlib import Path
from h1_training_bringup.session.operator_screen import OperatorScreen
screen = OperatorScreen(Path(sys.argv[1]))
screen.print("before")
resource.setrlimit(resource.RLIMIT_FSIZE, (7, resource.RLIM_INFINITY))  # the kernel writes no further byte
screen.print("! recorder: disk low")
screen.write(b"[SAVING] Saving episode data...\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
screen.print("after")
screen.follow()
"""


def test_a_full_disk_ends_nothing_and_keeps_no_line_from_the_operator(path):
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], stdout=subprocess.PIPE, text=True, check=True)
    shown = done.stdout.splitlines()
    assert shown[0] == "before" and shown[1].endswith("! recorder: disk low")
    assert shown[2:] == ["[SAVING] Saving episode data...", "after"]
    assert path.read_text() == "before\nafter\n"
