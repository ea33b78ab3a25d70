# SPDX-License-Identifier: Apache-2.0
"""What `make` sets up first: it installs what is missing, or says it in one line, and does nothing twice."""

import os
import platform
import pty
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
Usage = namedtuple("Usage", "total used free")
Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
PYTHONS = {"python3.12": (3, 12), "python3.11": (3, 11), "python3": (3, 13)}
UNSET = ("ROS_DISTRO", "PYTHON", "AMENT_PREFIX_PATH")


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: Patch) -> Iterator[ModuleType]:
    """The script, on a plain machine that has everything and three Pythons, in a fresh clone of three files."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    for name in ("bootstrap", "prerequisites"):
        sys.modules.pop(name, None)
    import bootstrap
    import prerequisites

    for variable in UNSET:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py"])
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**12, 0, 10**12))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    have(
        monkeypatch,
        "c++",
        "make",
        "rsync",
        "ssh",
        "sshd",
        "tmux",
        "pgrep",
        "fusermount3",
        "google-chrome",
        "apt-get",
        *PYTHONS,
    )

    def version_of(python: str) -> tuple[int, int] | None:
        made = Path(python).parent / "version"
        return PYTHONS[made.read_text()] if made.exists() else PYTHONS.get(Path(python).name)

    for module in (bootstrap, prerequisites):
        monkeypatch.setattr(module, "version_of", version_of)
    monkeypatch.setattr(bootstrap, "missing_parts", lambda _python: [])
    monkeypatch.setattr(bootstrap, "pip_for_venv", lambda chosen: [chosen, "-m", "pip"])
    monkeypatch.setattr(prerequisites, "SYSTEMD", tmp_path / "no_systemd")
    clone(bootstrap, tmp_path / "clone")
    yield bootstrap
    for name in ("bootstrap", "prerequisites"):
        sys.modules.pop(name, None)


def clone(bootstrap: ModuleType, folder: Path) -> None:
    """Let the script stand in `folder`."""
    (folder / "h1_recorder").mkdir(parents=True)
    (folder / "h1_recorder/setup.py").write_text("setup()")
    (folder / "requirements.lock").write_text("uv==0.1 \\\n")
    bootstrap.ROOT, bootstrap.VENV, bootstrap.LOCK = folder, folder / ".venv", folder / "requirements.lock"


def have(monkeypatch: Patch, *programs: str) -> None:
    """Let the machine have these programs, and no others."""

    def which(program: str, path: str | None = None) -> str | None:
        del path
        return f"/usr/bin/{program}" if program in programs else program if program.startswith("/") else None

    monkeypatch.setattr(shutil, "which", which)


def recorded_runs(bootstrap: ModuleType, monkeypatch: Patch, failing: str = "") -> list[tuple[str, list[str]]]:
    """Commands are noted instead of run, as (what, command); `failing` names one that fails."""
    ran: list[tuple[str, list[str]]] = []

    def run(*command: str | Path, what: str, **_further: object) -> None:
        words = [str(word) for word in command]
        ran.append((what, words))
        if what == failing:
            raise bootstrap.SetupError(f"{what} failed")
        if what == "making .venv":
            (bootstrap.VENV / "bin").mkdir(parents=True, exist_ok=True)
            (bootstrap.VENV / "bin/version").write_text(Path(words[0]).name)
        if what == "installing uv":
            (bootstrap.VENV / "bin/uv").touch()
        (bootstrap.ROOT / "install").mkdir(exist_ok=True)

    for module in (bootstrap, sys.modules["prerequisites"]):
        monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(bootstrap, "relocate_cmake_exports", lambda _python: None)
    return ran


BUILD = ["colcon build", "colcon build", "compiling the Python modules"]
"""Interfaces and programs at the same time."""
FIRST = ["making .venv", "installing uv", "installing Python packages", *BUILD]


def whats(ran: list[tuple[str, list[str]]]) -> list[str]:
    return [what for what, _ in ran]


def test_what_is_missing_is_installed_in_one_step_that_names_it(
    bootstrap: ModuleType, monkeypatch: Patch, capsys: Capture
) -> None:
    have(monkeypatch, "make", "ssh", "apt-get", *PYTHONS)
    ran = recorded_runs(bootstrap, monkeypatch)
    monkeypatch.setattr(bootstrap, "missing_parts", lambda _python: ["python3.12-venv"])
    assert bootstrap.main() == 0
    assert "[setup] installing Debian packages: g++ rsync python3.12-venv ..." in capsys.readouterr().out
    installs = [words for what, words in ran if what == "apt-get install"]
    assert [words[-3:] for words in installs] == [["g++", "rsync", "python3.12-venv"]]


def test_only_the_tests_need_sshd_and_tmux(bootstrap: ModuleType, monkeypatch: Patch) -> None:
    have(monkeypatch, "c++", "make", "rsync", "ssh", "apt-get", *PYTHONS)
    ran = recorded_runs(bootstrap, monkeypatch)
    assert bootstrap.main() == 0
    assert whats(ran) == FIRST
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "--tests"])
    assert bootstrap.main() == 0
    assert ran[-1][1][-5:] == ["openssh-server", "tmux", "procps", "fuse3", "chromium"]


def test_an_sshd_for_the_tests_is_never_one_that_the_network_reaches(
    bootstrap: ModuleType, monkeypatch: Patch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys.modules["prerequisites"], "SYSTEMD", tmp_path)
    ran = recorded_runs(bootstrap, monkeypatch)
    sys.modules["prerequisites"].install_packages(["openssh-server"])
    assert whats(ran) == [
        *("masking ssh.service", "finishing an installation that was interrupted"),
        *("apt-get update", "apt-get install"),
    ]


@pytest.mark.parametrize(
    ("programs", "says"),
    [
        (("apt-get",), "missing: g++ rsync; install them with: sudo apt-get install -y g++ rsync"),
        ((), "missing: g++ rsync (Debian's names); install them with this system's package manager"),
    ],
)
def test_where_nothing_may_be_installed_one_line_names_everything(
    bootstrap: ModuleType, monkeypatch: Patch, capsys: Capture, programs: tuple[str, ...], says: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    have(monkeypatch, "make", "ssh", *PYTHONS, *programs)
    assert bootstrap.main() == 1
    assert capsys.readouterr().err == f"[setup] {says}\n"


def test_a_full_disk_is_reported_before_anything_is_fetched(
    bootstrap: ModuleType, monkeypatch: Patch, capsys: Capture
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**12, 10**12, 500_000_000))
    assert bootstrap.main() == 1
    assert capsys.readouterr().err == f"[setup] 0.5 GB free in {bootstrap.ROOT}; setting up takes 3 GB\n"


def test_a_path_with_a_space_is_refused_in_one_line(bootstrap: ModuleType, tmp_path: Path, capsys: Capture) -> None:
    clone(bootstrap, tmp_path / "my robot")
    assert bootstrap.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "has a space, which CMake and colcon do not tolerate; move the folder" in line


def test_a_machine_that_the_wheels_do_not_fit_is_asked_for_ros(
    bootstrap: ModuleType, monkeypatch: Patch, capsys: Capture
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert bootstrap.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "this is aarch64" in line
    assert "source ROS 2 Jazzy" in line


def test_the_newest_supported_python_is_chosen_unless_another_is_asked_for(
    bootstrap: ModuleType, monkeypatch: Patch
) -> None:
    assert bootstrap.found_python() == "/usr/bin/python3.12"
    monkeypatch.setenv("PYTHON", "python3.11")
    assert bootstrap.found_python() == "/usr/bin/python3.11"
    monkeypatch.setenv("PYTHON", "python3")
    with pytest.raises(bootstrap.SetupError, match=r"^PYTHON=python3: not a Python 3.12 or 3.11$"):
        bootstrap.found_python()


def test_a_python_that_only_pyenv_has_is_chosen_where_it_is_asked_for(
    bootstrap: ModuleType, monkeypatch: Patch, tmp_path: Path
) -> None:
    """Its shim on PATH refuses to run a version that is not pyenv's own choice."""
    folder = tmp_path / "versions/3.12.1/bin"
    folder.mkdir(parents=True)
    (folder / "python3.12").touch()
    have(monkeypatch, "python3.11")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert bootstrap.found_python() == "/usr/bin/python3.11"
    monkeypatch.setenv("PYTHON", "python3.12")
    assert bootstrap.found_python() == str(folder / "python3.12")


def test_where_no_fitting_python_is_there_uv_fetches_one_or_the_line_says_so(
    bootstrap: ModuleType, monkeypatch: Patch
) -> None:
    (bootstrap.VENV / "bin").mkdir(parents=True)
    have(monkeypatch, "python3")
    ran = recorded_runs(bootstrap, monkeypatch, failing="uv python install")
    with pytest.raises(bootstrap.SetupError, match=r"uv could not fetch one; install python3.12 with venv, or source"):
        bootstrap.make_environment(bootstrap.found_python())
    assert ran[-1][1][-2:] == ["install", "3.12"]


def test_an_environment_of_another_python_is_made_again_and_that_is_said(
    bootstrap: ModuleType, monkeypatch: Patch, capsys: Capture
) -> None:
    ran = recorded_runs(bootstrap, monkeypatch)
    monkeypatch.setenv("PYTHON", "python3.11")
    assert bootstrap.main() == 0
    ran.clear()
    monkeypatch.delenv("PYTHON")
    assert bootstrap.main() == 0
    assert whats(ran) == FIRST
    assert "[setup] .venv is not one of Python 3.12 (plain): it is made again" in capsys.readouterr().out


def test_a_second_set_up_runs_nothing_so_that_it_needs_no_network(
    bootstrap: ModuleType, monkeypatch: Patch, capsys: Capture
) -> None:
    ran = recorded_runs(bootstrap, monkeypatch)
    assert bootstrap.main() == 0
    assert whats(ran) == FIRST
    assert "done in" in capsys.readouterr().out
    ran.clear()
    assert bootstrap.main() == 0
    assert ran == []
    assert capsys.readouterr().out == ""
    (bootstrap.ROOT / "h1_recorder/setup.py").write_text("setup(entry_points=...)")
    assert bootstrap.main() == 0
    assert whats(ran) == BUILD


@pytest.mark.parametrize("failing", dict.fromkeys(FIRST))
def test_a_set_up_that_was_interrupted_goes_on_where_it_was(
    bootstrap: ModuleType, monkeypatch: Patch, failing: str
) -> None:
    recorded_runs(bootstrap, monkeypatch, failing=failing)
    assert bootstrap.main() == 1
    ran = recorded_runs(bootstrap, monkeypatch)
    assert bootstrap.main() == 0
    expected: dict[str, Callable[[list[str]], list[str]]] = {
        "installing uv": lambda steps: steps,
        "installing Python packages": lambda steps: steps[2:],
        "colcon build": lambda steps: steps[3:],
        "compiling the Python modules": lambda steps: steps[3:],
    }
    assert whats(ran) == expected.get(failing, lambda steps: steps)(FIRST)


def test_the_headers_of_a_debians_python_are_missing_until_their_package_is_there(
    bootstrap: ModuleType, monkeypatch: Patch, tmp_path: Path
) -> None:
    parts = sys.modules["prerequisites"].missing_parts
    assert parts(sys.executable) == []
    bare = tmp_path / "python3.12"
    bare.write_text("#!/bin/sh\ncase $2 in *Python.h*) exit 1 ;; esac\n")
    bare.chmod(0o755)
    with pytest.raises(bootstrap.SetupError, match=r"lacks its python3.12-dev; install a complete Python"):
        parts(str(bare))


@pytest.mark.parametrize(("has_pip", "unpacked"), [(True, []), (False, ["unpacking pip"])])
def test_a_pip_that_is_there_installs_uv_and_else_one_is_unpacked(
    monkeypatch: Patch, tmp_path: Path, has_pip: bool, unpacked: list[str]
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bootstrap

    monkeypatch.setattr(bootstrap, "VENV", tmp_path)
    ran = []
    monkeypatch.setattr(bootstrap, "run", lambda *command, what: ran.append((what, list(map(str, command)))))
    chosen = tmp_path / "python3.12"
    chosen.write_text(f"#!/bin/sh\nexit {int(not has_pip)}\n")
    chosen.chmod(0o755)
    pip = bootstrap.pip_for_venv(str(chosen))
    own = str(tmp_path / "bin/python")
    assert pip == ([str(chosen), "-m", "pip", "--python", own] if has_pip else [own, "-m", "pip"])
    assert whats(ran) == unpacked


@pytest.mark.parametrize("built_at", ["/opt/python/cp312-cp312", "/home/someone/another checkout/.venv"])
def test_headers_named_in_the_wheels_are_this_machines_and_the_cache_stays_as_it_was(
    bootstrap: ModuleType, built_at: str
) -> None:
    """uv installs hard links into its cache: what is written through one is in every checkout of this machine."""
    named = f'"{built_at}/include/python3.12;{built_at}/lib/python3.12/site-packages/numpy/core/include"'
    cached = bootstrap.ROOT / "cached.cmake"
    cached.write_text(f"  INTERFACE_INCLUDE_DIRECTORIES {named}\n")
    export = bootstrap.VENV / "share/package/cmake/export.cmake"
    export.parent.mkdir(parents=True)
    export.hardlink_to(cached)
    bootstrap.relocate_cmake_exports(Path(sys.executable))
    assert named in cached.read_text()
    for header in (sysconfig.get_path("include"), np.get_include()):
        assert header in export.read_text()
    assert built_at not in export.read_text()


def test_ctrl_c_ends_make_by_the_signal_and_make_says_nothing_of_an_error() -> None:
    recipe = "probe:\n\t@$(RUN) sh -c 'trap \"exit 130\" INT; echo begun; while :; do sleep 0.1; done' $(END)"
    make, terminal = pty.fork()
    if make == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test run in the background ignores it, and so would make
        os.execvp("make", ["make", "-C", str(SCRIPTS.parents[1]), f"--eval={recipe}", "probe"])
    shown = b""
    with os.fdopen(terminal, "r+b", buffering=0) as keyboard:
        try:
            while True:
                read = keyboard.read(1000)
                if b"begun" in read:
                    keyboard.write(b"\x03")
                shown += read
        except OSError:  # how a terminal says that nobody has it open any more
            pass
    _, status = os.waitpid(make, 0)
    assert b"***" not in shown, shown
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGINT


def test_an_interface_is_parsed_once_a_build(tmp_path: Path) -> None:
    code = """
import sys; from pathlib import Path; import sitecustomize; from rosidl_parser import parser
parses = []; ast = parser.get_ast_from_idl_string
parser.get_ast_from_idl_string = lambda text: parses.append(text) or ast(text)
sitecustomize.keep_parsed(Path(sys.argv[1]))
text = "module p { module msg { struct Thing { double value; }; }; };"
first, again = parser.parse_idl_string(text), parser.parse_idl_string(text)
for content in (first, again):
    assert [m.structure.members[0].name for m in content.get_elements_of_type(parser.Message)] == ["value"]
assert len(parses) == 1, parses
"""
    environment = os.environ | {"PYTHONPATH": f"{SCRIPTS}/generators:{os.environ.get('PYTHONPATH', '')}"}
    subprocess.run([sys.executable, "-c", code, tmp_path / "parsed"], env=environment, check=True)
