# SPDX-License-Identifier: Apache-2.0
"""From a fresh clone on a machine with nothing to the end of the first `make session`: how long a newcomer waits.

    python h1_training_bringup/bench/bench_first_session.py

Clones this repository into a folder of its own, with empty caches, and runs `make session` there. It
needs the network: everything is fetched again. Debian packages are not: what `make` would install has to be there.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from arm_figures import save, show

ROOT = Path(__file__).resolve().parents[2]
STEPS = {"install_s": "ROS 2 Jazzy and Python packages from PyPI", "build_s": "building the workspace"}
TIMEOUT_S = 170
"""run_all.py allows 180 s for a benchmark."""


def first_session(folder: Path) -> dict[str, float]:
    """Seconds of the whole command and of its steps.

    Raises:
        SystemExit: it did not end with status 0.
    """
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    caches = {f"{name}_CACHE_DIR": str(folder / name) for name in ("UV", "PIP")} | {
        "CCACHE_DIR": str(folder / "ccache")
    }
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("AMENT_", "CMAKE_", "_ROS", "COLCON"))
    }
    kept |= {"PATH": os.environ["PATH"].replace(f"{ROOT / '.venv/bin'}:", "")}
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "MAKEFLAGS"):
        kept.pop(name, None)
    begin = time.monotonic()
    with (folder / "output.txt").open("w+") as output:
        make = subprocess.Popen(
            ["make", "-C", str(clone), "session"],
            env=kept | caches,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | None = make.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            status = None
            os.killpg(make.pid, signal.SIGKILL)
            make.wait()
        seconds = time.monotonic() - begin
        output.seek(0)
        shown = output.read()
    if status != 0:
        became = f"did not end within {TIMEOUT_S} s" if status is None else f"ended with status {status}"
        raise SystemExit(f"{shown[-3000:]}\nmake session {became}")
    figures = {"first_session_s": seconds}
    for figure, title in STEPS.items():
        found = re.search(rf"^\[setup\] {title}.*: done in (\d+) s$", shown, re.MULTILINE)
        if found is not None:
            figures[figure] = float(found[1])
    return figures


def main() -> None:
    """Print and save what one first session took."""
    with tempfile.TemporaryDirectory(prefix="first_session_") as name:
        figures = first_session(Path(name))
    bars = {"first_session_s": "≤ 100"}
    show([(name, value, "s", bars.get(name, "")) for name, value in figures.items()])
    save(figures)


if __name__ == "__main__":
    main()
