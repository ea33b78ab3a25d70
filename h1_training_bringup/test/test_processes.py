# SPDX-License-Identifier: Apache-2.0
"""The runner against real processes that behave well, badly, or not at all."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from h1_training_bringup.session import processes
from h1_training_bringup.session.operator_screen import OperatorScreen
from h1_training_bringup.session.process import Process
from h1_training_bringup.session.processes import LogTail, ProcessGroup, StartError, executable_path
from h1_training_bringup.session.runner import Runner
from h1_training_bringup.session.session_setup import ending_announcer
from h1_training_bringup.session.supervisor import MAX_RESPAWNS, Supervisor
from h1_training_node.clock import SessionClock
from h1_training_node.folder_lock import FolderLock
from h1_training_node.session_end import noted_reason
from h1_training_testing import wait_until

WELL = "import signal, sys\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(0))\nprint('up', flush=True)\n"
LIVES_ON = "while True: signal.pause()\n"
STAYS = WELL + LIVES_ON
IGNORES_SIGINT = STAYS.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")


class Programs:
    """Puts small programs where the installed executables would be."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = tmp_path / "bin"
        self._folder.mkdir()
        monkeypatch.setattr(processes, "executable_path", lambda process: self._folder / process.executable)

    def process(self, name: str, code: str, **options: object) -> Process:
        path = self._folder / name
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}")
        path.chmod(0o755)
        return Process("any", name, name, **options)  # type: ignore[arg-type]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    return Programs(tmp_path, monkeypatch)


def started(tmp_path: Path, *listed: Process) -> ProcessGroup:
    group = ProcessGroup(listed, tmp_path, os.environ)
    group.start()
    for process in listed:
        path = group.log_path(process.name)
        wait_until(lambda path=path: path.exists() and "up" in path.read_text(), f"{process.name} is up")
    return group


def children_of(path: Path) -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if str(path) in " ".join(child.cmdline())]


def test_peers_end_after_the_sessions_own(tmp_path: Path, programs: Programs) -> None:
    order = tmp_path / "order"
    note = f"import atexit\natexit.register(lambda: open({str(order)!r}, 'a').write(NAME))\n"
    own = programs.process("own", "NAME = 'own '\n" + note + STAYS)
    on_sigterm = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
    peer_code = "NAME = 'peer '\n" + note + WELL.replace("print(", on_sigterm + "print(") + LIVES_ON
    peer = programs.process("peer", peer_code, ends_last=True)
    assert started(tmp_path, peer, own).stop() == []
    assert order.read_text() == "own peer "


def test_one_that_will_not_end_is_killed_and_named(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT_S", 0.5)
    group = started(tmp_path, programs.process("stubborn", IGNORES_SIGINT), programs.process("kind", STAYS))
    assert group.stop() == ["stubborn"]
    assert children_of(tmp_path) == []


def test_what_a_process_says_while_it_ends_can_be_seen_before_it_has_ended(tmp_path: Path, programs: Programs) -> None:
    go = tmp_path / "go"
    ending = f"print('[WARN] [1.0] [driver]: stand clear', flush=True)\nwhile not os.path.exists({str(go)!r}): pass\n"
    code = f"import os\ndef end(*_):\n    {ending.replace(chr(10), chr(10) + '    ')}sys.exit(0)\n"
    group = started(tmp_path, programs.process("driver", code + STAYS.replace("lambda *_: sys.exit(0)", "end")))
    tail = LogTail({"driver": group.log_path("driver")}, lambda: 0.0)

    def look() -> None:
        if list(tail.warnings()) == [("driver", "stand clear")]:
            go.touch()

    assert group.stop(look) == []
    assert go.exists()


def test_an_end_is_reported_once_with_its_status(tmp_path: Path, programs: Programs) -> None:
    group = started(tmp_path, programs.process("short", "print('up', flush=True)\nraise SystemExit(3)\n"))
    seen: list[tuple[Process, int]] = []
    wait_until(lambda: seen.extend(group.ended()) or seen, "the end is seen")
    assert [(process.name, code) for process, code in seen] == [("short", 3)]
    assert group.ended() == []


def test_a_process_is_started_again_only_where_that_is_wanted_and_not_for_ever(
    tmp_path: Path, programs: Programs
) -> None:
    dies = "print('up', flush=True)\nraise SystemExit(1)\n"
    camera = programs.process("camera", dies, respawn=True, essential=False)
    group, rules = started(tmp_path, camera, programs.process("driver", dies)), Supervisor()
    attempts = {"camera": 0, "driver": 0}
    over: set[str] = set()

    def settle() -> bool:
        for process, code in group.ended():
            if starts := rules.ended(process, code).starts:
                group.start_one(starts)
                attempts[process.name] += 1
            else:
                over.add(process.name)
        return over == {"camera", "driver"}

    wait_until(settle, "both are given up")
    assert attempts == {"camera": MAX_RESPAWNS, "driver": 0}


def test_parameters_arrive_in_a_file_and_remappings_on_the_command_line(tmp_path: Path, programs: Programs) -> None:
    code = "import sys\nprint(' '.join(['up', *sys.argv[1:]]), flush=True)\n"
    process = programs.process("echo", code, parameters={"rate": 50.0}, remappings=(("/lowstate", "sim/lowstate"),))
    group = started(tmp_path, process)
    output = group.log_path("echo").read_text()
    assert "-r /lowstate:=sim/lowstate" in output
    assert "rate: 50.0" in (tmp_path / "echo.params.yaml").read_text()
    group.stop()


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(StartError, match="package 'no_such_package' is not installed here"):
        executable_path(Process("no_such_package", "x", "x"))


def test_warnings_of_a_log_are_shown_once_and_information_is_not(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    now = [0.0]
    tail = LogTail({"node": path}, lambda: now[0])
    assert list(tail.warnings()) == []
    path.write_text(
        "[INFO] [12.5] [node]: fine\n[WARN] [12.6] [node]: late\n"
        "[WARN] [12.7] [node]: late\n[ERROR] [12.8] [node]: half a li"
    )
    assert list(tail.warnings()) == [("node", "late")]
    with path.open("a") as log:
        log.write("ne\n")
    assert list(tail.warnings()) == [("node", "half a line")]
    now[0] = 60.0
    with path.open("a") as log:
        log.write("[WARN] [72.6] [node]: late\n")
    assert list(tail.warnings()) == [("node", "late")]


def run_session(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "h1_training_bringup.session.runner", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_misspelt_key_ends_the_start_with_one_clear_line(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("policy_server: {prot: 1}\n")
    result = run_session("--sim", "--config", str(config), "--log-dir", str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"Cannot start: {config}: line 1: unknown key 'policy_server.prot'; did you mean 'policy_server.port'?"
    ]


def test_a_second_session_in_a_folder_is_refused_with_who_holds_it_before_anything_starts(tmp_path: Path) -> None:
    save_dir = tmp_path / "episodes"
    lock = FolderLock(save_dir)
    try:
        result = run_session("--sim", "--save-dir", str(save_dir), "--log-dir", str(tmp_path / "log"))
    finally:
        lock.release()
    assert result.returncode == 2
    assert f"Cannot start: {save_dir} is in use by another session (process {os.getpid()} on" in result.stderr
    assert list((tmp_path / "log").glob("*/*.log")) == []


def test_a_robot_is_never_given_to_a_script(tmp_path: Path) -> None:
    result = run_session("--operator", "scripted", "--log-dir", str(tmp_path))
    assert result.returncode == 2
    assert "a robot needs a person at the keys" in result.stderr


def test_a_remote_target_is_refused_in_the_simulation(tmp_path: Path) -> None:
    result = run_session("--sim", "--rsync-target", "me@host:/data", "--log-dir", str(tmp_path))
    assert result.returncode == 2
    assert "uploads only to a local folder" in result.stderr


def test_the_cause_of_the_end_is_announced_before_anybody_is_signalled(
    tmp_path: Path, programs: Programs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("h1_training_bringup.session.runner.signal.signal", lambda *_: None)
    ending, seen = tmp_path / "ending", tmp_path / "seen"
    manager = programs.process(
        "session_manager",
        "import shutil, signal, sys, time\ndef end(*_):\n"
        f"    shutil.copy({str(ending)!r}, {str(seen)!r})\n    sys.exit(130)\n"
        "signal.signal(signal.SIGINT, end)\nprint('up', flush=True)\nwhile True: time.sleep(0.05)\n",
        concludes=True,
    )
    log = str(tmp_path / "session_manager.log")
    dies = f"import os, time\nwhile 'up' not in open({log!r}).read(): time.sleep(0.05)\nos.kill(os.getpid(), 9)\n"
    screen = OperatorScreen(tmp_path / "operator.log")
    group = ProcessGroup([manager, programs.process("recorder", dies)], tmp_path, os.environ, screen=screen.fileno())
    assert Runner(group, screen, ending_announcer(ending, tmp_path)).run() == 1
    assert seen.read_text() == "recorder lost: killed by SIGKILL"
    assert noted_reason(tmp_path, SessionClock.from_environment().now_ns()) == "recorder lost: killed by SIGKILL"
    assert "! recorder was lost (killed by SIGKILL); ending the session" in capsys.readouterr().out


def test_a_cause_that_cannot_be_written_down_stops_no_ending(tmp_path: Path) -> None:
    announce = ending_announcer(tmp_path / "no such folder" / "ending", tmp_path)
    announce("recorder lost: killed by SIGKILL")
    assert noted_reason(tmp_path, SessionClock.from_environment().now_ns()) == "recorder lost: killed by SIGKILL"
