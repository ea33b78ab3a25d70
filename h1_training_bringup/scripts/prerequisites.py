# SPDX-License-Identifier: Apache-2.0
"""What a machine has to have before anything can be set up: programs and a Python; and how a step is run and announced.

Only the standard library of Python 3.8 or later.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ((3, 12), (3, 11))
"""Newest first. Against 3.13 stands openpi-client (the tests' peer): it wants numpy < 2, without wheels for 3.13."""
SUPPORTED = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
DEBIAN_PACKAGES = {"c++": "g++", "make": "make", "rsync": "rsync", "ssh": "openssh-client"}
"""By program, or programs any of which will do, the Debian package that has it."""
DEBIAN_PACKAGES_OF_TESTS = {
    "sshd": "openssh-server",
    "tmux": "tmux",
    "pgrep": "procps",
    "fusermount3": "fuse3",
    "chromium chromium-browser google-chrome": "chromium",
}
PYTHON_PARTS = {
    "venv": "import venv, ensurepip",
    "dev": "import pathlib, sysconfig; (pathlib.Path(sysconfig.get_path('include')) / 'Python.h').stat()",
}
"""By suffix of the Debian package, a program that fails where the part is missing."""
SYSTEMD = Path("/run/systemd/system")
_PREFIX = "[setup]"
_SYSTEM_FOLDERS = "/usr/sbin:/sbin"


class SetupError(Exception):
    """Something that only the person at the terminal can settle; one line."""


def say(line: str) -> None:
    """One line of progress."""
    print(f"{_PREFIX} {line}", flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, and how long it took."""
    say(f"{title} ...")
    begin = time.monotonic()
    yield
    say(f"{title}: done in {time.monotonic() - begin:.0f} s")


def run(
    *command: str | Path, environment: dict[str, str] | None = None, what: str, progress: Sequence[str] = ()
) -> None:
    """Run a command; lines that begin with one of `progress` are shown as they come, on failure also the last forty.

    Raises:
        SetupError: its exit status is not 0.
    """
    words = [str(part) for part in command]
    lines: list[str] = []
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if line.startswith(tuple(progress)) and progress:
                say(f"  {line.strip()}")
    if process.returncode != 0:
        print("\n".join(lines[-40:]), file=sys.stderr)
        raise SetupError(f"{what} failed (exit status {process.returncode}); the end of its output stands above")


def missing_packages(for_tests: bool) -> list[str]:
    """Debian packages of the programs that this machine lacks, each once."""
    wanted = {**DEBIAN_PACKAGES, **(DEBIAN_PACKAGES_OF_TESTS if for_tests else {})}
    path = f"{os.environ.get('PATH', '')}:{_SYSTEM_FOLDERS}"
    return [
        package
        for programs, package in wanted.items()
        if not any(shutil.which(program, path=path) for program in programs.split())
    ]


def root_prefix() -> list[str] | None:
    """What goes before a command that root has to run: nothing, or sudo without a question; None if neither works."""
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n"]
    return None


def install_packages(packages: list[str]) -> None:
    """Install Debian packages in one step where that may be done.

    Raises:
        SetupError: it may not; one line names every package.
    """
    if not packages:
        return
    names = " ".join(packages)
    prefix = root_prefix()
    if shutil.which("apt-get") is None:
        raise SetupError(f"missing: {names} (Debian's names); install them with this system's package manager")
    if prefix is None:
        raise SetupError(f"missing: {names}; install them with: sudo apt-get install -y {names}")
    if "openssh-server" in packages and SYSTEMD.exists():
        # The tests start an sshd of their own; nobody asked for one that the network reaches.
        say("ssh.service and ssh.socket are masked: the tests need the program only (undo: systemctl unmask ssh)")
        run(*prefix, "systemctl", "mask", "ssh.service", "ssh.socket", what="masking ssh.service")
    with step(f"installing Debian packages: {names}"):
        quiet = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive"]
        apt = [*quiet, "apt-get"]
        run(*quiet, "dpkg", "--configure", "-a", what="finishing an installation that was interrupted")
        run(*apt, "update", what="apt-get update")
        run(
            *apt,
            "install",
            "-y",
            "--no-install-recommends",
            *packages,
            what="apt-get install",
            progress=("Setting up ",),
        )


def version_of(python: str) -> tuple[int, int] | None:
    """Version of an interpreter; None if it does not run (as a pyenv shim of a version not chosen)."""
    code = "import sys; print(*sys.version_info[:2])"
    with contextlib.suppress(OSError, ValueError):
        result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        major, minor = result.stdout.split()
        return int(major), int(minor)
    return None


def pyenv_pythons(name: str) -> list[str]:
    """Interpreters called `name`, e.g. `python3.12`, that pyenv has and its shim of that name refuses to run."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return sorted(map(str, root.glob(f"versions/*/bin/{Path(name).name}")), reverse=True)


def found_python() -> str | None:
    """The interpreter for `.venv`: that of the variable PYTHON, else the newest supported one here; None if none is.

    Raises:
        SetupError: PYTHON is not supported.
    """
    if asked := os.environ.get("PYTHON"):
        for found in (shutil.which(asked), *pyenv_pythons(asked)):
            if found is not None and version_of(found) in PYTHONS:
                return found
        raise SetupError(f"PYTHON={asked}: not a Python {SUPPORTED}")
    for version in PYTHONS:
        for name in (f"python{version[0]}.{version[1]}", "python3", "python"):
            found = shutil.which(name)
            if found is not None and version_of(found) == version:
                return found
    return None


def missing_parts(python: str) -> list[str]:
    """What a Debian packages apart from `python`, and is missing: what makes virtual environments, and the headers.

    Raises:
        SetupError: they are missing, and no package of the system has them.
    """
    version = version_of(python) or (0, 0)
    parts = [
        f"python{version[0]}.{version[1]}-{part}"
        for part, check in PYTHON_PARTS.items()
        if subprocess.run([python, "-c", check], capture_output=True, check=False).returncode != 0
    ]
    if parts and Path(python).resolve().parent != Path("/usr/bin"):
        raise SetupError(f"{python} lacks its {' and '.join(parts)}; install a complete Python")
    return parts


def fetched_python(uv: str) -> str:
    """A Python that uv downloads into the user's own folder, or has downloaded before.

    Args:
        uv: how to require it, for pip: `uv==1.2.3`.

    Raises:
        SetupError: it cannot be had.
    """
    version = ".".join(map(str, PYTHONS[0]))
    with tempfile.TemporaryDirectory() as name, step(f"no Python {SUPPORTED} here: having uv fetch {version}"):
        folder = Path(name)
        run(sys.executable, "-m", "venv", folder, what="making a virtual environment for uv")
        run(folder / "bin/python", "-m", "pip", "install", "--quiet", uv, what="installing uv")
        try:
            run(folder / "bin/uv", "python", "install", version, what="uv python install")
        except SetupError:
            raise SetupError(
                f"no Python {SUPPORTED} here, and uv could not fetch one; "
                f"install python{version} with venv, or source ROS 2 Jazzy"
            ) from None
        command = [str(folder / "bin/uv"), "python", "find", "--managed-python", version]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
