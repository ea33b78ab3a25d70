"""Who writes to the operator's terminal, and what is kept while the console has it."""

import os

import pytest

from h1_training_bringup.session.operator_screen import OperatorScreen, console_problem


@pytest.fixture
def path(tmp_path):
    return tmp_path / "operator.log"


def session_says(screen: OperatorScreen, text: str) -> None:
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
    assert capsys.readouterr().out == "[READY]\n  Press 'y': \n! head_camera: silent\n  Press 'y': "


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
    assert capsys.readouterr().out == "stand clear\n! arm_driver: release_warning\n"
