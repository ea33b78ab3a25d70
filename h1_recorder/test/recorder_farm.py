# SPDX-License-Identifier: Apache-2.0
"""Run as a program: starts recorder processes quickly, so that many can be killed in little time.

    python recorder_farm.py

For each line `NAME SAVE_DIR` on standard input it forks a recorder, with everything imported, whose services and status
are `NAME/start`, `NAME/status` and so on, and answers with its process id. Ends with its standard input, and its
recorders with it. No saver is kept ready: nobody lives to see a save, and to start one costs more than all the rest.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from h1_recorder.recorder import recorder_node
from h1_recorder.recorder.jobs import Jobs

OURS = ("start", "finish", "discard", "label", "status")


def become_recorder(name: str, save_dir: str) -> int:
    """This process is a recorder now."""
    remaps = [argument for verb in OURS for argument in ("-r", f"recorder/{verb}:={name}/{verb}")]
    parameters = ["-p", f"save_dir:={save_dir}", "-p", "min_free_start_gb:=0.0"]
    sys.argv = [name, "--ros-args", "-r", f"__node:={name}", *remaps, *parameters]
    return recorder_node.main()


def main() -> int:
    """Fork a recorder for each line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    Jobs.warm = lambda _: None  # type: ignore[method-assign]
    children = []
    for line in sys.stdin:
        name, save_dir = line.split()
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            os._exit(become_recorder(name, save_dir))
        children.append(child)
        print(child, flush=True)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
