# SPDX-License-Identifier: Apache-2.0
"""Run as a program by test_recorder_disk: a recorder on a real file system that fills, or may not be written to.

    python recorder_on_small_disk.py FOLDER KIND SCENARIO

With KIND `tmpfs` a tmpfs is mounted on FOLDER (this process must be in a mount namespace of its own); with `limit`, on
a machine that allows no mounts, files may only grow to a limit, which fails a write just as a full disk does.
Prints one JSON object.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from recorder_bench import Bench
from recorder_builders import DAMPING, POLICY

from h1_recorder.episode.validate import problems
from h1_recorder.recorder.filesystem import free_bytes
from h1_recorder.recorder.journal import Journal
from h1_recorder.recorder.journal_file import read_journal
from h1_recorder.recorder.recovery import recover
from h1_recorder.recorder.request import Response
from h1_training_node.message_numbers import RecorderState
from h1_training_testing import wait_until

SPACE = 4_000_000
BIG = 20_000
"""Bytes behind each image, so that the disk is full soon."""


class Disk:
    """A folder with little space."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        if kind == "tmpfs":
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", str(folder)], check=True)
        else:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (SPACE, resource.RLIM_INFINITY))

    def free_space(self) -> None:
        if self.kind == "tmpfs":
            subprocess.run(["mount", "-o", "remount,size=100m", str(self.folder)], check=True)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def forbid_writing(self) -> None:
        if self.kind == "tmpfs":
            subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)
        else:
            self.folder.chmod(0o555)


def begin(one: Bench) -> tuple[Response, Journal]:
    """Record 200 ms of policy; the recorder's answer and the journal."""
    one.hear()
    answer = one.start()
    assert answer.accepted, answer.reason
    one.run(200, POLICY, "EXECUTING")
    journal = one.recorder.intake.journal
    assert journal is not None
    return answer, journal


def fill(one: Bench) -> Response:
    """Record until the journal can no longer be written."""
    answer, journal = begin(one)

    def full() -> bool:
        one.run(100, DAMPING, "DAMPING")
        wait_until(lambda: journal.error or journal.bytes_waiting == 0, "all is written, or cannot be")
        return journal.error is not None

    wait_until(full, "the disk is full", 60.0)
    return answer


def on_a_full_disk(disk: Disk) -> dict[str, Any]:
    """What a full disk does to an episode, and what becomes of it when there is space again."""
    one = Bench(disk.folder, min_free_stop_gb=0.0)
    one.recorder.disk.stop()
    one.padding = BIG
    answer = fill(one)
    one.tick_until(RecorderState.FAILED)
    journal = Path(answer.path).with_name(".episode_0.mcap")
    found = read_journal(journal)
    result = {
        "events": dict(one.events),
        "last_error": one.recorder.status().last_error,
        "whole": found.whole_bytes == found.size,
        "left": sorted(path.name for path in journal.parent.iterdir()),
    }
    one.recorder.close()
    disk.free_space()
    later = Bench(disk.folder)
    recover(later.recorder, later.parameters, lambda _, *event: later.events.append(event))

    def recovered() -> bool:
        later.recorder.tick()
        return "journal_recovered" in dict(later.events)

    wait_until(recovered, "it is saved at the next start")
    return {**result, "recovered": dict(later.events), "problems": problems(Path(answer.path))}


def on_a_disk_that_gets_low(disk: Disk) -> dict[str, Any]:
    """The episode is finished while its file still fits."""
    one = Bench(disk.folder, min_free_stop_gb=0.0005)
    one.recorder.disk.stop()
    one.padding = BIG
    answer, journal = begin(one)

    def low() -> bool:
        one.run(100, DAMPING, "DAMPING")
        wait_until(lambda: journal.bytes_waiting == 0, "all is written")
        one.recorder.disk.free = min(free_bytes(disk.folder), SPACE - journal.bytes_written)
        one.recorder.tick()
        return one.recorder.state != RecorderState.RECORDING

    wait_until(low, "the episode is finished", 60.0)
    one.tick_until(RecorderState.SAVED)
    return {"events": dict(one.events), "problems": problems(Path(answer.path))}


def on_a_disk_that_may_not_be_written(disk: Disk) -> dict[str, Any]:
    """A start is refused by name."""
    disk.forbid_writing()
    one = Bench(disk.folder)
    one.hear()
    return {"reason": one.start().reason, "state": one.recorder.state.name}


def main() -> int:
    """Run one scenario."""
    disk = Disk(Path(sys.argv[1]), sys.argv[2])
    print(json.dumps(globals()[sys.argv[3]](disk)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
