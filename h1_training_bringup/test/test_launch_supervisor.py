# SPDX-License-Identifier: Apache-2.0
"""The supervisor's rules under launch: who is signalled, what is shown, when all ends. Nothing runs."""

import re
from pathlib import Path
from typing import Any

import pytest

from h1_training_bringup.session.process import Process
from h1_training_node.process import EXIT_EXPLAINED

pytest.importorskip("launch", reason="needs upstream launch")
pytest.importorskip("launch_ros", reason="needs upstream launch")

from launch import LaunchContext
from launch.actions import TimerAction
from launch.events import Shutdown
from launch.events.process import ProcessExited, ProcessStarted, ProcessStderr, ProcessStdout

from h1_training_bringup.session.launch_supervisor import LaunchSupervisor
from h1_training_bringup.session.operator_screen import OperatorScreen


class StandIn:
    """Stands for the action of a process."""

    def __init__(self, name: str) -> None:
        self.node_name = name


class Supervised:
    """A `LaunchSupervisor` over actions that stand for processes; nothing runs."""

    def __init__(self, folder: Path, *processes: Process, hidden: bool = False) -> None:
        self.context = LaunchContext()
        self.actions: dict[str, Any] = {}
        self.ending = folder / "ending"
        screen = OperatorScreen(folder / "operator.log", hidden=hidden)
        starters = [(process, lambda name=process.name: [self._action(name)]) for process in processes]
        self.supervisor = LaunchSupervisor(starters, screen, self.ending.write_text, folder)
        self.supervisor.actions()
        for process in processes:
            if not process.standby:
                self.start(process.name)

    def _action(self, name: str) -> StandIn:
        self.actions[name] = StandIn(name)
        return self.actions[name]

    def _event(self, kind: type, name: str, **fields: Any) -> Any:
        return kind(action=self.actions[name], name=name, cmd=[name], cwd=None, env=None, pid=1, **fields)

    def start(self, name: str) -> list[tuple[str, str]]:
        return self._signals(self.supervisor._on_start(self._event(ProcessStarted, name), self.context))

    def end(self, name: str, code: int = 0) -> list[tuple[str, str]]:
        return self._signals(self.supervisor._on_exit(self._event(ProcessExited, name, returncode=code), self.context))

    def say(self, name: str, text: bytes) -> None:
        self.supervisor._on_stdout(self._event(ProcessStdout, name, text=text))

    def write(self, name: str, text: bytes) -> None:
        self.supervisor._on_stderr(self._event(ProcessStderr, name, text=text))

    def shutdown(self, *, due_to_sigint: bool) -> list[tuple[str, str]]:
        self.context._set_is_shutdown(True)
        event = Shutdown(reason="test", due_to_sigint=due_to_sigint)
        return self._signals(self.supervisor._on_shutdown(event, self.context))

    def _signals(self, actions: list[Any]) -> list[tuple[str, str]]:
        """Who gets which signal, and `session` for the whole session's end."""
        found = []
        for action in actions:
            if isinstance(action, TimerAction):
                found += [(started.node_name, "start") for started in action.actions]
                continue
            event = action.event
            if isinstance(event, Shutdown):
                found.append(("session", "end"))
            else:
                found += [
                    (name, event.signal_name) for name, action in self.actions.items() if event.process_matcher(action)
                ]
        return sorted(found)


def untimed(shown: str) -> str:
    """Without the time of day before each warning, of which there must be one."""
    found, count = re.subn(r"^\d\d:\d\d:\d\d !", "!", shown, flags=re.MULTILINE)
    assert count == shown.count("!"), shown
    return found


ARMS = Process("any", "arm_driver", "arm_driver")
MANAGER = Process("any", "session_manager", "session_manager", on_terminal=True, concludes=True)
CAMERA = Process("any", "camera", "camera", essential=False, respawn=True)
ROBOT = Process("any", "sim_robot", "sim_robot", ends_last=True)


@pytest.fixture
def supervised(tmp_path: Path) -> Supervised:
    return Supervised(tmp_path, ARMS, MANAGER, CAMERA, ROBOT)


def test_a_ctrl_c_reaches_the_sessions_own_even_where_no_terminal_sends_it(supervised: Supervised) -> None:
    own = [("arm_driver", "SIGINT"), ("camera", "SIGINT"), ("session_manager", "SIGINT")]
    assert supervised.shutdown(due_to_sigint=True) == own


def test_peers_are_ended_once_when_the_last_of_the_sessions_own_has_ended(supervised: Supervised) -> None:
    assert supervised.shutdown(due_to_sigint=False) == []
    assert supervised.end("camera") == []
    assert supervised.end("session_manager", 130) == []
    assert supervised.end("arm_driver") == [("sim_robot", "SIGTERM")]
    assert supervised.end("sim_robot") == []


def test_when_all_have_ended_the_table_is_shown(supervised: Supervised, capsys: pytest.CaptureFixture[str]) -> None:
    supervised.shutdown(due_to_sigint=False)
    for name in ("arm_driver", "session_manager", "camera"):
        supervised.end(name)
        assert "No episode" not in capsys.readouterr().out
    supervised.end("sim_robot")
    assert "No episode was finished in this session." in capsys.readouterr().out


def test_one_that_starts_while_all_is_being_ended_is_ended_too(supervised: Supervised) -> None:
    supervised.end("camera", 1)
    supervised.shutdown(due_to_sigint=True)
    assert supervised.start("camera") == [("camera", "SIGINT")]


def test_the_session_managers_clean_end_ends_the_session(supervised: Supervised) -> None:
    assert supervised.end("session_manager", 0) == [("session", "end")]


def test_an_end_that_the_session_manager_has_explained_is_no_loss_of_it(supervised: Supervised) -> None:
    with pytest.raises(RuntimeError, match="the session ended without the arm driver"):
        supervised.end("session_manager", EXIT_EXPLAINED)


def test_the_loss_of_an_essential_node_is_an_error_with_the_end_of_its_log(
    supervised: Supervised, capsys: pytest.CaptureFixture[str]
) -> None:
    supervised.write("arm_driver", b"Traceback\nKeyErr")
    supervised.write("arm_driver", b"or: 'x'\n")
    with pytest.raises(RuntimeError, match="arm_driver was lost \\(killed by SIGKILL\\); ending the session"):
        supervised.end("arm_driver", -9)
    assert capsys.readouterr().out == "    Traceback\n    KeyError: 'x'\n"
    assert supervised.ending.read_text() == "arm_driver lost: killed by SIGKILL"


def test_another_may_end_a_few_times(supervised: Supervised, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        assert supervised.end("camera", 1) == [("camera", "start")]
        assert untimed(capsys.readouterr().out) == "! camera ended (exit status 1); started again\n"
        supervised.start("camera")
    assert supervised.end("camera", 1) == []
    assert untimed(capsys.readouterr().out) == "! camera ended (exit status 1); going on without it\n"


def test_warnings_of_nodes_reach_the_terminal_and_information_does_not(
    supervised: Supervised, capsys: pytest.CaptureFixture[str]
) -> None:
    supervised.write("camera", b"[INFO] [1.5] [camera]: fine\n[WARN] [1.6] [robot1.camera]: no ima")
    supervised.write("camera", b"ges\n")
    assert untimed(capsys.readouterr().out) == "! camera: no images\n"


def test_a_prompt_is_shown_at_once_and_stays_last(supervised: Supervised, capsys: pytest.CaptureFixture[str]) -> None:
    supervised.say("session_manager", b"[READY]\n  Press 'y': ")
    supervised.say("arm_driver", b"not for the terminal\n")
    assert capsys.readouterr().out == "[READY]\n  Press 'y': "
    supervised.write("camera", b"[WARN] [1.5] [camera]: late\n")
    assert untimed(capsys.readouterr().out) == "\n! camera: late\n  Press 'y': "
    supervised.say("session_manager", b"\n[WAITING]\n")
    supervised.write("camera", b"[WARN] [1.6] [camera]: gone\n")
    assert untimed(capsys.readouterr().out) == "\n[WAITING]\n! camera: gone\n"


CONSOLE = Process("any", "console", "console", essential=False, ends_last=True, fallback="keyboard")
KEYBOARD = Process("any", "keyboard", "keyboard", essential=False, ends_last=True, standby=True)


def test_while_the_console_has_the_terminal_nothing_is_shown_and_when_it_is_gone_the_keyboard_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    supervised = Supervised(tmp_path, MANAGER, CONSOLE, KEYBOARD, hidden=True)
    supervised.say("session_manager", b"[READY]\n  Press 'y': ")
    assert capsys.readouterr().out == ""
    assert supervised.end("console", -9) == [("keyboard", "start")]
    shown = capsys.readouterr().out
    assert "[READY]" in shown
    assert "! console ended (killed by SIGKILL)" in shown
    assert "goes on in plain lines" in shown


def test_ctrl_c_is_announced_as_what_it_is(supervised: Supervised) -> None:
    supervised.shutdown(due_to_sigint=True)
    assert supervised.ending.read_text() == "interrupted by Ctrl+C"
