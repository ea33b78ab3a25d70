"""Asks the recorder's `episodes validate` about a file before it is sent: a program, not an import."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

_TIMEOUT_S = 600.0
_LOW_PRIORITY = 19

Validator = Callable[[Path], str]
"""What is wrong with a file; empty if nothing is."""


class ValidatorError(RuntimeError):
    """No file can be checked; the message says what to do."""


def episodes_program() -> Path:
    """The recorder's `episodes`.

    Raises:
        ValidatorError: it is not installed.
    """
    try:
        program = Path(get_package_prefix("h1_recorder")) / "lib" / "h1_recorder" / "episodes"
    except PackageNotFoundError:
        program = None
    if program is None or not program.is_file():
        raise ValidatorError("h1_recorder is not installed here, so no episode can be checked; build it, or set "
                             "rsync_validate to false to send unchecked")  # fmt: skip
    return program


def validate(path: Path) -> str:
    """What `episodes validate` finds wrong with `path`; empty if nothing is.

    Pictures are looked at but not decoded: the recorder has read the file back, and an upload must not take a core.

    Raises:
        ValidatorError: it cannot be run.
    """
    command = ["nice", "-n", str(_LOW_PRIORITY), str(episodes_program()), "validate", "--fast", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise ValidatorError("'nice' is not installed; install it (apt install coreutils)") from None
    except subprocess.TimeoutExpired:
        return f"could not be checked within {_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return ""
    found = [line.strip() for line in done.stdout.splitlines()[1:] if line.strip()]
    if done.returncode == 1 and found:
        return "; ".join(found[:3])
    said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise ValidatorError(f"episodes validate ended with status {done.returncode}: {said[:200]}")
