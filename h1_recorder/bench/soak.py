# SPDX-License-Identifier: Apache-2.0
"""Records for a long time under a full session's load, and prints what becomes of rates, memory and rows.

    make soak MINUTES=60

Episode after episode, policy and person by turns, each saved, checked and deleted again. A line a minute; at the end a
table. Exit status 1 if anything was lost: a row, a message, a save.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import rclpy
from recorder_rig import Rig, cpu_seconds

from h1_recorder.episode.episode import read
from h1_recorder.episode.validate import problems
from h1_training_msgs.msg import ArmStatus
from h1_training_node.domain import DomainClaim

ROOT = Path(__file__).resolve().parents[2]
EPISODE_S, TURN_S, LINE_S = 300.0, 20.0, 60.0
_TURNS = (("EXECUTING", ArmStatus.MODE_POLICY), ("DAMPING", ArmStatus.MODE_DAMPING))
_SHOWN = ("arm_status", "ego_cam", "cam_left_wrist", "cam_right_wrist", "policy/action", "hands/left/state")


@dataclass
class Totals:
    """Over all episodes."""

    rows: int = 0
    gaps: int = 0
    duplicates: int = 0
    stale: int = 0
    lost: int = 0
    save_s_per_minute: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Soak:
    """One recorder under load for `minutes`."""

    def __init__(self, rig: Rig, recorder: psutil.Process, minutes: float) -> None:
        self._rig, self._recorder = rig, recorder
        self._end = time.monotonic() + 60 * minutes
        self._begun = time.monotonic()
        self._line_at = self._begun + LINE_S
        self._cpu = (cpu_seconds(recorder), self._begun)
        self.memory_mb: list[float] = [recorder.memory_info().rss / 1e6]
        self.totals = Totals()

    def run(self) -> None:
        """Until the time is over."""
        while time.monotonic() < self._end:
            self._episode(min(EPISODE_S, max(5.0, self._end - time.monotonic())))

    def _episode(self, seconds: float) -> None:
        episode_id = self._rig.start()
        until, turn = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            self._rig.load.state, self._rig.load.mode = _TURNS[turn % 2]
            turn += 1
            turn_ends = min(until, time.monotonic() + TURN_S)
            self._rig.spin(lambda turn_ends=turn_ends: self._watched() >= turn_ends, "time", TURN_S + 60)
        begun = time.monotonic()
        self._rig.finish(episode_id)
        took_s = (time.monotonic() - begun) * 60 / seconds
        self.totals.save_s_per_minute = max(self.totals.save_s_per_minute, took_s)
        self._check(Path(self._rig.load.status.last_path))
        self._rig.load.sent.clear()

    def _watched(self) -> float:
        """Now; prints a line when one is due."""
        now = time.monotonic()
        if now >= self._line_at:
            self._line_at += LINE_S
            self._print_line(now)
        return now

    def _print_line(self, now: float) -> None:
        status = self._rig.load.status
        rates = dict(zip(status.streams, status.rates, strict=True))
        used, (before, since) = cpu_seconds(self._recorder), self._cpu
        self._cpu = (used, now)
        self.memory_mb.append(self._recorder.memory_info().rss / 1e6)
        shown = "  ".join(f"{name.split('/')[-1]} {rates[name]:.1f}" for name in _SHOWN if name in rates)
        print(
            f"{(now - self._begun) / 60:5.1f} min  {shown} Hz  lost {sum(status.drops)}"
            f"  cpu {(used - before) / (now - since):.1%}  {self.memory_mb[-1]:.0f} MB"
            f"  journal {status.bytes_written / 1e6:.0f} MB  load {os.getloadavg()[0]:.1f}",
            flush=True,
        )

    def _check(self, path: Path) -> None:
        episode, totals = read(path), self.totals
        found = episode.attributes
        totals.rows += len(episode)
        totals.gaps += found["gap_count"]
        totals.duplicates += found["duplicate_rows"]
        totals.stale += sum(found[f"stale_frames_{camera}"] for camera in episode.cameras)
        totals.lost += sum(json.loads(found["lost_messages"]).values())
        totals.wrong += problems(path, decode_images=False)
        for left in (path, path.with_name(f".{path.stem}.mcap")):
            left.unlink(missing_ok=True)


def main() -> int:
    """Soak, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    minutes = parser.parse_args().minutes
    claim = DomainClaim()
    os.environ["ROS_DOMAIN_ID"] = str(claim.domain_id)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    (ROOT / "data").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "data", prefix="soak_") as folder:
        rig = Rig(Path(folder))
        with rig.recorder() as recorder:
            soak = Soak(rig, recorder, minutes)
            soak.run()
        rclpy.shutdown()
    return _report(soak)


def _report(soak: Soak) -> int:
    totals, memory = soak.totals, soak.memory_mb
    lost = totals.gaps + totals.duplicates + totals.lost + len(totals.wrong)
    for name, value in (
        ("rows", totals.rows),
        ("gaps", totals.gaps),
        ("rows without a new arm state", totals.duplicates),
        ("rows with an old image", totals.stale),
        ("messages lost", totals.lost),
        ("files that do not validate", len(totals.wrong)),
        ("memory, first to last (most)", f"{memory[0]:.1f} to {memory[-1]:.1f} ({max(memory):.1f}) MB"),
        ("save, longest a recorded minute", f"{totals.save_s_per_minute:.2f} s"),
    ):
        print(f"{name:34}{value}")
    print(*totals.wrong, sep="\n" if totals.wrong else "")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
