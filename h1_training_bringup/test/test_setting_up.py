"""What `make` sets up before anything else: one line for what the machine lacks, and nothing twice."""

import importlib.util
import platform
import shutil
from collections import namedtuple
from pathlib import Path
from types import ModuleType

import pytest

BOOTSTRAP = Path(__file__).resolve().parents[2] / "h1_training_bringup/scripts/bootstrap.py"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, on a plain machine that has everything, in a fresh clone of three files."""
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", BOOTSTRAP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda command: None if command == "ros2" else f"/usr/bin/{command}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**12, 0, 10**12))
    clone(module, tmp_path / "clone")
    return module


def clone(bootstrap: ModuleType, folder: Path) -> None:
    """Let the script stand in `folder`."""
    (folder / "h1_recorder").mkdir(parents=True)
    (folder / "h1_recorder/setup.py").write_text("setup()")
    (folder / "requirements.lock").write_text("uv==0.1 \\\n")
    bootstrap.ROOT, bootstrap.VENV, bootstrap.LOCK = folder, folder / ".venv", folder / "requirements.lock"


@pytest.mark.parametrize("command", ["c++", "make", "rsync"])
def test_a_missing_program_is_named_with_the_package_that_brings_it(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    there = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == command else there(name))
    assert bootstrap.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"[setup] '{command}' is missing; install it")


def test_a_full_disk_is_told_before_anything_is_fetched(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**12, 10**12, 500_000_000))
    assert bootstrap.main() == 1
    assert capsys.readouterr().err == f"[setup] 0.5 GB free in {bootstrap.ROOT}; setting up takes 3 GB\n"


def test_a_path_with_a_space_is_refused_in_one_line(
    bootstrap: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clone(bootstrap, tmp_path / "my robot")
    assert bootstrap.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "has a space, which CMake and colcon do not bear; move the folder" in line


@pytest.mark.parametrize(
    ("machine", "python", "told"),
    [("aarch64", "/usr/bin/python3.11", "this is aarch64"), ("x86_64", None, "Python 3.11 is missing")],
)
def test_a_machine_that_the_wheels_do_not_fit_is_told_to_bring_ros(
    bootstrap: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    machine: str,
    python: str | None,
    told: str,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(bootstrap, "python_3_11", lambda: python)
    assert bootstrap.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert "source ROS 2 Jazzy" in line


def test_a_second_set_up_runs_nothing_so_that_it_needs_no_network(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def run(*_command: str | Path, environment: dict[str, str] | None = None, what: str) -> None:
        del environment
        ran.append(what)
        (bootstrap.VENV / "bin").mkdir(parents=True, exist_ok=True)
        (bootstrap.ROOT / "install").mkdir(exist_ok=True)

    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setattr(bootstrap, "relocate_cmake_exports", lambda _python: None)
    assert bootstrap.main() == 0
    assert ran == [
        *("making .venv", "installing uv", "installing Python packages"),
        *("colcon build", "compiling the Python modules"),
    ]
    assert "done in" in capsys.readouterr().out
    ran.clear()
    assert bootstrap.main() == 0
    assert ran == []
    assert capsys.readouterr().out == ""
    (bootstrap.ROOT / "h1_recorder/setup.py").write_text("setup(entry_points=...)")
    assert bootstrap.main() == 0
    assert ran == ["colcon build", "compiling the Python modules"]


def test_a_set_up_that_broke_off_begins_anew(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    (bootstrap.VENV / "half").mkdir(parents=True)

    def run(*_command: str | Path, what: str, **_further: object) -> None:
        assert not (bootstrap.VENV / "half").exists()
        raise bootstrap.SetupError(f"{what} failed")

    monkeypatch.setattr(bootstrap, "run", run)
    assert bootstrap.main() == 1
    assert not (bootstrap.VENV / ".locked").exists()
