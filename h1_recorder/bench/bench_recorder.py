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
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import psutil
import rclpy
from recorder_rig import Rig, cpu_seconds, process

from h1_recorder.recorder.jobs import SaveStarter, save_arguments
from h1_recorder.recorder.journal_file import read_journal
from h1_recorder.recorder.peek import Peek
from h1_training_node.domain import DomainClaim

ROOT = Path(__file__).resolve().parents[2]
WINDOW_S, SAVE_ROWS_S = 6.0, 60.0
PAIRS, WARM_S = 5, 2.0
KILLS = 10
_FIGURES = ROOT / "data" / "bench" / "h1_recorder.json"


def measure_cost(rig: Rig) -> dict[str, float]:
    """CPU and memory of a recording recorder, with rosbags' writer beside it `PAIRS` times; then a save."""
    with rig.recorder() as recorder:
        episode_id = rig.start()
        begun_recording = time.monotonic()
        rig.spin_for(2.0)
        memory = recorder.memory_info().rss
        pairs = [_beside(rig, "rosbags", [recorder]) for _ in range(PAIRS)]
        resident = recorder.memory_info().rss
        rosbags_sum, recorder_sum = (sum(share[of] for share, _ in pairs) for of in (0, 1))
        ratios = sorted(of_recorder / of_rosbags for (of_rosbags, of_recorder), _ in pairs)
        figures = {
            "recorder_cpu_percent": round(median(of_recorder for (_, of_recorder), _ in pairs), 2),
            "recorder_over_rosbags_ratio": round(recorder_sum / rosbags_sum, 2),
            "recorder_over_rosbags_ratio_median": round(median(ratios), 2),
            "recorder_over_rosbags_ratio_min": round(ratios[0], 2),
            "recorder_over_rosbags_ratio_max": round(ratios[-1], 2),
            "recorder_rss_mb": round(resident / 1e6, 1),
            "recorder_rss_growth_mb": round((resident - memory) / 1e6, 2),
            "recorder_drops": float(sum(rig.load.status.drops)),
            **{name: round(median(found[name] for _, found in pairs), 2) for name in pairs[0][1]},
        }
        rig.spin_for(max(0.0, SAVE_ROWS_S - (time.monotonic() - begun_recording)))
        begun = time.monotonic()
        rig.finish(episode_id)
        figures["save_60s_s"] = round(time.monotonic() - begun, 2)
        path = Path(rig.load.status.last_path)
        figures["save_60s_mb"] = round(path.stat().st_size / 1e6, 1)
        return figures | _save_over_copy(path)  # before the recorder ends, which deletes the journal


def _cpu_percent(rig: Rig, processes: Sequence[psutil.Process]) -> tuple[float, ...]:
    """Of each over the same window, of a core."""
    before_s, begun = [cpu_seconds(of) for of in processes], time.monotonic()
    rig.spin_for(WINDOW_S)
    took_s = time.monotonic() - begun
    return tuple((cpu_seconds(of) - start_s) / took_s * 100 for of, start_s in zip(processes, before_s, strict=True))


def _save_over_copy(path: Path) -> dict[str, float]:
    """Saves of the same journal and copies of the finished file, by turns: the median of their ratios."""
    journal = path.with_name(f".{path.stem}.mcap")
    pairs = []
    for number in range(PAIRS):
        folder = path.parent / f"again_{number}"
        folder.mkdir()
        again = folder / journal.name
        again.hardlink_to(journal)
        pairs.append((_save_s(again), _copy_s(path, folder / "copy")))
        shutil.rmtree(folder)
    ratios = sorted(save_s / copy_s for save_s, copy_s in pairs)
    return {
        "copy_60s_s": round(sorted(copy_s for _, copy_s in pairs)[PAIRS // 2], 2),
        "save_over_copy_ratio": round(ratios[PAIRS // 2], 2),
        "save_over_copy_ratio_max": round(ratios[-1], 2),
    }


def _save_s(journal: Path) -> float:
    """Of a child that is ready, as a recording recorder keeps one."""
    starter = SaveStarter()
    starter.warm()
    time.sleep(WARM_S)
    begun = time.monotonic()
    child = starter.start(save_arguments([journal]))
    while (status := child.poll()) is None:
        time.sleep(0.005)
    if status:
        raise RuntimeError(f"the saver ended with status {status}: {child.reports}")
    return time.monotonic() - begun


def _copy_s(source: Path, target: Path) -> float:
    begun = time.monotonic()
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())
    return time.monotonic() - begun


def measure_buffering(rig: Rig) -> dict[str, float]:
    """The same load recorded by a client that buffers everything and writes it at the end."""
    return _beside(rig, "plain", [])[1]


def _beside(rig: Rig, kind: str, others: Sequence[psutil.Process]) -> tuple[tuple[float, ...], dict[str, float]]:
    """Run another writer; what it and `others` took of a core over the same time, and the figures of that writer."""
    folder = rig.folder / kind
    folder.mkdir()
    log = folder / "log"
    command = [sys.executable, str(Path(__file__).with_name("other_writers.py")), kind, str(folder)]
    with process(command, log) as writer:
        rig.spin(lambda: rig.load.count_subscribers("joint_states") > len(others), "it listens")
        rig.spin_for(2.0)
        memory, begun = writer.memory_info().rss, time.monotonic()
        shares = _cpu_percent(rig, [writer, *others])
        took_s, grown = time.monotonic() - begun, writer.memory_info().rss - memory
        writer.send_signal(signal.SIGTERM)
        rig.spin(lambda: log.read_text().strip(), "it has written", 60.0)
        end_s = float(log.read_text().split()[-1])
    shutil.rmtree(folder)
    return shares, {
        f"{kind}_writer_cpu_percent": round(shares[0], 2),
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
        for measure in (measure_cost, measure_buffering, measure_kills):
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
