"""What the recorder costs, how long a save takes, and what a kill loses; see DESIGN §8.

Starts a recorder process of its own under a full session's load (3 cameras at 30 Hz × 60 kB, arms, policy, hands).
Prints a line a figure and writes data/bench/h1_recorder.json.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import rclpy
from rclpy.experimental.events_executor import EventsExecutor
from recorder_load import SessionLoad

from h1_recorder.cdr import Layout, stamp_ns
from h1_recorder.journal_file import read_journal
from h1_training_msgs.msg import RecorderStatus
from h1_training_msgs.srv import FinishEpisode, StartEpisode
from h1_training_node.clock import SessionClock
from h1_training_node.domain import DomainClaim

ROOT = Path(__file__).resolve().parents[2]
MEASURE_S = 20.0
KILLS = 8
SAVE_ROWS_S = 60.0
_FIGURES = ROOT / "data" / "bench" / "h1_recorder.json"


class Bench:
    """The load, an executor, and recorder processes."""

    def __init__(self, folder: Path) -> None:
        self.clock = SessionClock.from_environment()
        self.clock.export(os.environ)
        self.folder = folder
        rclpy.init()
        self.load = SessionLoad(self.clock)
        self._executor = EventsExecutor()
        self._executor.add_node(self.load)

    def spin(self, until: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout_s} s: {what}")
            self._executor.spin_once(timeout_sec=0.02)

    def spin_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.spin(lambda: time.monotonic() >= end, "time", seconds + 10)

    @contextmanager
    def recorder(self) -> Iterator[psutil.Process]:
        """A recorder process that has heard every stream."""
        self.load.status = RecorderStatus()
        command = [sys.executable, "-m", "h1_recorder.recorder_node", "--ros-args", "-p", "min_free_start_gb:=0.0"]
        with (self.folder / "recorder.log").open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            names = ("arm_status", "ego_cam", "cam_left_wrist", "cam_right_wrist")

            def heard() -> bool:
                status = self.load.status
                rates = dict(zip(status.streams, status.rates, strict=True))
                return all(rates.get(name, 0) > 5 for name in names)

            self.spin(heard, "the recorder hears the load")
            yield psutil.Process(process.pid)
        finally:
            process.kill()
            process.wait()

    def start(self) -> str:
        future = self.load.start.call_async(StartEpisode.Request(directory=str(self.folder), epoch=0))
        self.spin(future.done, "recorder/start")
        answer = future.result()
        if not answer.accepted:
            raise RuntimeError(answer.reason)
        return str(answer.episode_id)

    def finish(self, episode_id: str) -> None:
        request = FinishEpisode.Request(episode_id=episode_id, end_reason="operator", outcome="success")
        future = self.load.finish.call_async(request)
        self.spin(future.done, "recorder/finish")
        self.spin(lambda: self.load.status.state in (RecorderStatus.SAVED, RecorderStatus.FAILED), "saved", 60.0)
        if self.load.status.state != RecorderStatus.SAVED:
            raise RuntimeError(self.load.status.last_error)


def measure_cost(bench: Bench) -> dict[str, float]:
    """CPU and memory of a recording recorder, and whether anything was lost."""
    with bench.recorder() as process:
        episode_id = bench.start()
        bench.spin_for(2.0)
        before, memory = process.cpu_times(), process.memory_info().rss
        begun = time.monotonic()
        bench.spin_for(MEASURE_S)
        after, took_s = process.cpu_times(), time.monotonic() - begun
        cpu = (after.user + after.system - before.user - before.system) / took_s * 100
        grown = process.memory_info().rss - memory
        resident = process.memory_info().rss
        bench.finish(episode_id)
        return {
            "recorder_cpu_percent": round(cpu, 2),
            "recorder_rss_mb": round(resident / 1e6, 1),
            "recorder_rss_growth_mb": round(grown / 1e6, 2),
            "recorder_drops": float(sum(bench.load.status.drops)),
        }


def measure_kills(bench: Bench) -> dict[str, float]:
    """`kill -9` at random moments: age of the oldest message that was sent and is not in the journal."""
    lost_ms = []
    chosen = random.Random(1)
    for _ in range(KILLS):
        with bench.recorder() as process:
            bench.start()
            journal = Path(bench.folder / f".{_newest_journal(bench.folder)}")
            begun_ns = bench.clock.now_ns()
            bench.spin_for(chosen.uniform(0.5, 1.5))
            killed_ns = bench.clock.now_ns()
            process.kill()
            process.wait()
        missing = _missing(bench, journal, begun_ns, killed_ns)
        lost_ms.append((killed_ns - min(missing, default=killed_ns)) / 1e6)
        journal.unlink()
    return {"kill_lost_ms_max": round(max(lost_ms), 2), "kills": float(KILLS)}


def _newest_journal(folder: Path) -> str:
    return max(folder.glob(".episode_*.mcap"), key=lambda path: path.stat().st_mtime).name[1:]


def _missing(bench: Bench, journal: Path, begun_ns: int, killed_ns: int) -> list[int]:
    """Stamps of the messages sent between the two times that the journal does not have."""
    found = set()
    for recorded in read_journal(journal).streams.values():
        if "Header header" not in recorded.schema or not recorded.data:
            continue
        layout = Layout(recorded.schema, recorded.type, "header")
        found |= {(recorded.name, stamp_ns(layout.decode(raw))) for raw in recorded.data}
    return [stamp for name, stamp in bench.load.sent if begun_ns < stamp < killed_ns and (name, stamp) not in found]


def measure_save(bench: Bench) -> dict[str, float]:
    """Seconds that a 60 s episode takes to save, beside copying and syncing the finished file."""
    with bench.recorder():
        episode_id = bench.start()
        bench.spin_for(SAVE_ROWS_S)
        begun = time.monotonic()
        bench.finish(episode_id)
        save_s = time.monotonic() - begun
    path = Path(bench.load.status.last_path)
    copies = []
    for number in range(3):
        copy = path.with_name(f"copy_{number}")
        begun = time.monotonic()
        with path.open("rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        copies.append(time.monotonic() - begun)
        copy.unlink()
    copy_s = sorted(copies)[1]
    return {
        "save_60s_s": round(save_s, 2),
        "save_60s_mb": round(path.stat().st_size / 1e6, 1),
        "copy_60s_s": round(copy_s, 2),
        "save_over_copy_ratio": round(save_s / copy_s, 2),
    }


def main() -> int:
    """Measure everything, one after the other."""
    claim = DomainClaim()
    os.environ["ROS_DOMAIN_ID"] = str(claim.domain_id)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    scratch = ROOT / "data" / "bench"
    scratch.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=scratch, prefix="recorder_") as folder:
        bench = Bench(Path(folder))
        for measure in (measure_cost, measure_save, measure_kills):
            found = measure(bench)
            for name, value in found.items():
                print(f"{name:28} {value}", flush=True)
            figures |= found
        rclpy.shutdown()
    figures["recorder_load_average"] = round(os.getloadavg()[0], 2)
    _FIGURES.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
