# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmarks of the packages named, one after the other, and prints one table of figures beside their bars.

    python h1_training_bringup/bench/run_all.py h1_recorder h1_policy_bridge ...

Each benchmark is a script of its own in its package's `bench/`; it starts and ends what it measures, and leaves its
figures in `data/bench/<package>.json`. A figure is judged nowhere: the bar is printed beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 180

BARS = {
    "arm_period_p99_ms": "≤ 4.5",
    "arm_cpu_percent": "≤ 12",
    "arm_hold_cpu_percent": "≤ 12",
    "arm_policy_cpu_percent": "≤ 12",
    "state_frozen_to_damping_ms": "≤ 100",
    "foreign_commander_ms": "≤ 50",
    "key_to_damping_p99_ms": "≤ 20",
    "guard_takeover_ms": "≤ 500",
    "recorder_cpu_percent": "≤ 5",
    "recorder_rss_mb": "≤ 150",
    "save_60s_s": "≤ 2.5",
    "export_speed_over_lerobot": "≥ 5",
    "export_many_rss_mb": "≤ 300",
    "export_many_relabel_encoded": "0",
    "save_over_copy_ratio": "≤ 3",
    "recorder_over_rosbags_ratio": "≤ 1.0",
    "kill_lost_ms_max": "≤ 20",
    "observation_p50_ms": "≤ 3",
    "missing_ticks_400ms": "0",
    "seam_ratio_400ms": "≤ 1.5",
    "ready_s": "≤ 10",
    "first_session_s": "≤ 100",
    "page_cpu_percent": "≤ 15",
}


def main() -> int:
    """Run every script; exit status 1 if one failed or took too long."""
    failed = []
    for package in sys.argv[1:]:
        for script in sorted((ROOT / package / "bench").glob("*.py")):
            if script == Path(__file__).resolve() or not script.name.startswith("bench_"):
                continue
            name = script.relative_to(ROOT)
            print(f"== {name}", flush=True)
            try:
                result = subprocess.run([sys.executable, str(script)], cwd=ROOT, timeout=TIMEOUT_S, check=False)
            except subprocess.TimeoutExpired:
                failed.append(f"{name} took more than {TIMEOUT_S} s")
                continue
            if result.returncode != 0:
                failed.append(f"{name} ended with exit status {result.returncode}")
    print_table(sys.argv[1:])
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


def print_table(packages: list[str]) -> None:
    """Figure, value, bar, of every package's JSON file."""
    print(f"\n{'figure':<34}{'value':>12}   bar")
    for package in packages:
        path = ROOT / "data/bench" / f"{package}.json"
        figures = json.loads(path.read_text()) if path.exists() else {}
        for figure, value in figures.items():
            text = f"{value:.3g}" if isinstance(value, float) else str(value)
            print(f"{figure:<34}{text:>12}   {BARS.get(figure.removeprefix('loaded_'), '')}")


if __name__ == "__main__":
    sys.exit(main())
