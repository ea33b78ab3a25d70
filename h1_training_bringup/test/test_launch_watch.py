"""What `Watch` adds to launch's own ways: whom it signals, what it shows, when it ends the session. Nothing runs."""

from pathlib import Path
from typing import Any

import pytest

from h1_training_bringup.session.process import Process
from h1_training_node.process import EXIT_EXPLAINED

pytest.importorskip("launch", reason="needs upstream launch")
pytest.importorskip("launch_ros", reason="needs upstream launch")

from launch import LaunchContext
from launch.events import Shutdown
from launch.events.process import ProcessExited, ProcessStarted, ProcessStderr, ProcessStdout

from h1_training_bringup.session.launch_watch import Watch


class Watched:
    """A `Watch` over actions that stand for processes; nothing runs."""

    def __init__(self, folder: Path, *processes: Process) -> None:
        self.context = LaunchContext()
        self.actions = {process.name: object() for process in processes}
        self.watch = Watch({self.actions[process.name]: process for process in processes}, folder)
        for process in processes:
            self.start(process.name)

    def _event(self, kind: type, name: str, **fields: Any) -> Any:
        return kind(action=self.actions[name], name=name, cmd=[name], cwd=None, env=None, pid=1, **fields)

    def start(self, name: str) -> list[tuple[str, str]]:
        return self._signals(self.watch._on_start(self._event(ProcessStarted, name), self.context))

    def end(self, name: str, code: int = 0) -> list[tuple[str, str]]:
        return self._signals(self.watch._on_exit(self._event(ProcessExited, name, returncode=code), self.context))

    def say(self, name: str, text: bytes) -> None:
        self.watch._on_stdout(self._event(ProcessStdout, name, text=text))

    def write(self, name: str, text: bytes) -> None:
        self.watch._on_stderr(self._event(ProcessStderr, name, text=text))

    def shutdown(self, *, due_to_sigint: bool) -> list[tuple[str, str]]:
        self.context._set_is_shutdown(True)
        event = Shutdown(reason="test", due_to_sigint=due_to_sigint)
        return self._signals(self.watch._on_shutdown(event, self.context))

    def _signals(self, actions: list[Any]) -> list[tuple[str, str]]:
        """Who gets which signal, and `session` for the whole session's end."""
        found = []
        for event in (action.event for action in actions):
            if isinstance(event, Shutdown):
                found.append(("session", "end"))
            else:
                found += [
                    (name, event.signal_name) for name, action in self.actions.items() if event.process_matcher(action)
                ]
        return sorted(found)


ARMS = Process("any", "arm_driver", "arm_driver")
MANAGER = Process("any", "session_manager", "session_manager", on_terminal=True)
CAMERA = Process("any", "camera", "camera", essential=False, respawn=True)
ROBOT = Process("any", "sim_robot", "sim_robot", ends_last=True)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path, ARMS, MANAGER, CAMERA, ROBOT)


def test_a_ctrl_c_reaches_the_sessions_own_even_where_no_terminal_sends_it(watched: Watched) -> None:
    own = [("arm_driver", "SIGINT"), ("camera", "SIGINT"), ("session_manager", "SIGINT")]
    assert watched.shutdown(due_to_sigint=True) == own


def test_peers_are_ended_once_when_the_last_of_the_sessions_own_has_ended(watched: Watched) -> None:
    assert watched.shutdown(due_to_sigint=False) == []
    assert watched.end("camera") == []
    assert watched.end("session_manager", 130) == []
    assert watched.end("arm_driver") == [("sim_robot", "SIGTERM")]
    assert watched.end("sim_robot") == []


def test_when_all_have_ended_the_table_is_shown(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    watched.shutdown(due_to_sigint=False)
    for name in ("arm_driver", "session_manager", "camera"):
        watched.end(name)
        assert "No episode" not in capsys.readouterr().out
    watched.end("sim_robot")
    assert "No episode was finished in this session." in capsys.readouterr().out


def test_one_that_starts_while_all_is_being_ended_is_ended_too(watched: Watched) -> None:
    watched.end("camera", 1)
    watched.shutdown(due_to_sigint=True)
    assert watched.start("camera") == [("camera", "SIGINT")]


def test_the_session_managers_clean_end_ends_the_session(watched: Watched) -> None:
    assert watched.end("session_manager", 0) == [("session", "end")]


def test_an_end_that_the_session_manager_has_explained_is_no_loss_of_it(watched: Watched) -> None:
    with pytest.raises(RuntimeError, match="the session ended without the arm driver"):
        watched.end("session_manager", EXIT_EXPLAINED)


def test_the_loss_of_an_essential_node_is_an_error_with_its_last_words(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.write("arm_driver", b"Traceback\nKeyErr")
    watched.write("arm_driver", b"or: 'x'\n")
    with pytest.raises(RuntimeError, match="arm_driver was lost \\(killed by SIGKILL\\); ending the session"):
        watched.end("arm_driver", -9)
    assert capsys.readouterr().out == "    Traceback\n    KeyError: 'x'\n"


def test_another_may_end_a_few_times(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        assert watched.end("camera", 1) == []
        assert capsys.readouterr().out == "! camera ended (exit status 1); started again\n"
        watched.start("camera")
    watched.end("camera", 1)
    assert capsys.readouterr().out == "! camera ended (exit status 1); going on without it\n"


def test_warnings_of_nodes_reach_the_terminal_and_information_does_not(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.write("camera", b"[INFO] [1.5] [camera]: fine\n[WARN] [1.6] [robot1.camera]: no pic")
    watched.write("camera", b"tures\n")
    assert capsys.readouterr().out == "! camera: no pictures\n"


def test_a_prompt_is_shown_at_once_and_stays_last(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    watched.say("session_manager", b"[READY]\n  Press 'y': ")
    watched.say("arm_driver", b"not for the terminal\n")
    assert capsys.readouterr().out == "[READY]\n  Press 'y': "
    watched.write("camera", b"[WARN] [1.5] [camera]: late\n")
    assert capsys.readouterr().out == "\n! camera: late\n  Press 'y': "
    watched.say("session_manager", b"\n[WAITING]\n")
    watched.write("camera", b"[WARN] [1.6] [camera]: gone\n")
    assert capsys.readouterr().out == "\n[WAITING]\n! camera: gone\n"
