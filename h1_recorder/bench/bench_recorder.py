# SPDX-License-Identifier: Apache-2.0
"""What the recorder costs beside other ways of recording, how long a save takes, and what kills lose.

Starts a recorder process of its own under a full session's load (3 cameras at 30 Hz × 60 kB, arms, policy, hands).
Prints a line a figure and writes data/bench/h1_recorder.json.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import rclpy
from recorder_rig import Rig, cpu_seconds, process

from h1_recorder.recorder.journal_file import read_journal
from h1_recorder.recorder.peek import Peek
from h1_training_node.domain import DomainClaim

ROOT = Path(__file__).resolve().parents[2]
MEASURE_S, OTHERS_S, SAVE_ROWS_S = 20.0, 10.0, 60.0
KILLS = 10
_FIGURES = ROOT / "data" / "bench" / "h1_recorder.json"


def measure_cost(rig: Rig) -> dict[str, float]:
    """CPU and memory of a recording recorder, whether anything was lost, and the save of the same episode."""
    with rig.recorder() as recorder:
        episode_id = rig.start()
        begun_recording = time.monotonic()
        rig.spin_for(2.0)
        before_s, memory, begun = cpu_seconds(recorder), recorder.memory_info().rss, time.monotonic()
        rig.spin_for(MEASURE_S)
        cpu = (cpu_seconds(recorder) - before_s) / (time.monotonic() - begun) * 100
        resident = recorder.memory_info().rss
        figures = {
            "recorder_cpu_percent": round(cpu, 2),
            "recorder_rss_mb": round(resident / 1e6, 1),
            "recorder_rss_growth_mb": round((resident - memory) / 1e6, 2),
            "recorder_drops": float(sum(rig.load.status.drops)),
        }
        rig.spin_for(SAVE_ROWS_S - (time.monotonic() - begun_recording))
        begun = time.monotonic()
        rig.finish(episode_id)
        save_s = time.monotonic() - begun
    return {**figures, **_save_figures(Path(rig.load.status.last_path), save_s)}


def _save_figures(path: Path, save_s: float) -> dict[str, float]:
    """Seconds of a save beside those of copying and syncing the finished file."""
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


def measure_others(rig: Rig) -> dict[str, float]:
    """The same load recorded by rosbags' writer, and by a client that buffers everything and writes it at the end."""
    return {**_other(rig, "rosbags"), **_other(rig, "plain")}


def _other(rig: Rig, kind: str) -> dict[str, float]:
    folder = rig.folder / kind
    folder.mkdir()
    log = folder / "log"
    command = [sys.executable, str(Path(__file__).with_name("other_writers.py")), kind, str(folder)]
    with process(command, log) as writer:
        rig.spin(lambda: rig.load.count_subscribers("joint_states") > 0, "it listens")
        rig.spin_for(2.0)
        before_s, memory, begun = cpu_seconds(writer), writer.memory_info().rss, time.monotonic()
        rig.spin_for(OTHERS_S)
        took_s = time.monotonic() - begun
        grown = writer.memory_info().rss - memory
        cpu = (cpu_seconds(writer) - before_s) / took_s * 100
        writer.send_signal(signal.SIGTERM)
        rig.spin(lambda: log.read_text().strip(), "it has written", 60.0)
        end_s = float(log.read_text().split()[-1])
    shutil.rmtree(folder)
    return {
        f"{kind}_writer_cpu_percent": round(cpu, 2),
        f"{kind}_writer_growth_mb_per_minute": round(grown / 1e6 * 60 / took_s, 1),
        f"{kind}_writer_end_s_per_minute": round(end_s * 60 / (took_s + 2.0), 2),
    }


def measure_kills(rig: Rig) -> dict[str, float]:
    """`kill -9` at random moments: age of the oldest message that was sent and is not in the journal."""
    lost_ms = []
    chosen = random.Random(1)
    for _ in range(KILLS):
        with rig.recorder() as recorder:
            rig.start()
            journal = max(rig.folder.glob(".episode_*.mcap"), key=lambda path: path.stat().st_mtime)
            begun_ns = rig.clock.now_ns()
            rig.spin_for(chosen.uniform(0.5, 1.5))
            killed_ns = rig.clock.now_ns()
            recorder.kill()
            recorder.wait()
        missing = _missing(rig, journal, begun_ns, killed_ns)
        lost_ms.append((killed_ns - min(missing, default=killed_ns)) / 1e6)
        journal.unlink()
    return {
        "kill_lost_ms_max": round(max(lost_ms), 2),
        "kill_lost_ms_median": round(sorted(lost_ms)[len(lost_ms) // 2], 2),
        "kills": float(KILLS),
    }


def _missing(rig: Rig, journal: Path, begun_ns: int, killed_ns: int) -> list[int]:
    """When the messages were sent, between the two times, that the journal does not have."""
    found = set()
    for recorded in read_journal(journal).streams.values():
        if "Header header" not in recorded.schema or not recorded.data:
            continue
        peek = Peek(recorded.name, recorded.schema, recorded.type)
        found |= {(recorded.name, peek.read(bytes(raw)).stamp_ns) for raw in recorded.data}
    return [
        sent_ns
        for name, stamp, sent_ns in rig.load.sent
        if begun_ns < sent_ns < killed_ns and (name, stamp) not in found
    ]


def main() -> int:
    """Measure everything, one after the other."""
    claim = DomainClaim()
    os.environ["ROS_DOMAIN_ID"] = str(claim.domain_id)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    scratch = ROOT / "data" / "bench"
    scratch.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=scratch, prefix="recorder_") as folder:
        rig = Rig(Path(folder))
        for measure in (measure_cost, measure_others, measure_kills):
            found = measure(rig)
            for name, value in found.items():
                print(f"{name:36} {value}", flush=True)
            figures |= found
        rclpy.shutdown()
    figures["recorder_load_average"] = round(os.getloadavg()[0], 2)
    known = json.loads(_FIGURES.read_text()) if _FIGURES.exists() else {}
    _FIGURES.write_text(json.dumps(known | figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
