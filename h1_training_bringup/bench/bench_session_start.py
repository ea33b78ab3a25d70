# SPDX-License-Identifier: Apache-2.0
"""From the command to READY: how long a person waits for a session to be there.

    python h1_training_bringup/bench/bench_session_start.py

Starts the whole simulated session three times from a built workspace, without an operator, and ends it at READY.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from pathlib import Path

from ament_index_python.packages import get_package_prefix
from arm_figures import save, show

RUNNER = f"{get_package_prefix('h1_training_bringup')}/lib/h1_training_bringup/run_session"
STARTS, TIMEOUT_S = 3, 40.0


def ready_s() -> float:
    """Seconds from the command to the line `[READY]`; the session is ended again."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output.txt"
        command = [RUNNER, "--sim", "--operator", "none", "--save-dir", f"{folder}/episodes", "--log-dir", folder]
        begin = time.monotonic()
        with output.open("wb") as file:
            popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        try:
            while "[READY]" not in output.read_text():
                if popen.poll() is not None or time.monotonic() - begin > TIMEOUT_S:
                    raise SystemExit(f"the session did not become READY:\n{output.read_text()}")
                time.sleep(0.02)
            return time.monotonic() - begin
        finally:
            popen.send_signal(signal.SIGINT)
            popen.wait()


def main() -> None:
    """Print and save the worst of three starts."""
    starts = [ready_s() for _ in range(STARTS)]
    figures = {"ready_s": max(starts), "ready_s_median": sorted(starts)[STARTS // 2]}
    show([(name, value, "s", "≤ 10" if name == "ready_s" else "") for name, value in figures.items()])
    save(figures)


if __name__ == "__main__":
    main()
