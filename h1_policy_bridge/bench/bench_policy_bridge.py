"""What the policy bridge costs and how even its stream is; prints a table, writes figures and a picture.

    python h1_policy_bridge/bench/bench_policy_bridge.py

Writes `data/bench/h1_policy_bridge.json` and `data/bench/h1_policy_bridge_strategies.png`. The stream is measured on
real topics: node, simulated policy server and surroundings are processes of their own in a ROS domain of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.address import Address
from h1_policy_bridge.exchange import Outcome, Request
from h1_policy_bridge.layout import PRESETS
from h1_policy_bridge.observation import ObservationRules, Senses, Stamped, take
from h1_policy_bridge.policy_client import ClientConfig, PolicyClient

sys.path.insert(0, str(Path(__file__).parent))
from strategies_figure import draw, table
from stream_stage import Stream, measured_stream, simulated_server

FOLDER = Path("data/bench")
NOW_NS = 1_000_000_000
ROUNDS = 300
STREAM_S = 12.0


def main() -> int:
    """Run everything; about 110 s."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float | int] = {}
    jpegs = pictures()
    figures.update(observation_figures(jpegs))
    figures.update(round_trip_figures(jpegs))
    print("\nStrategies in virtual time, same policy, jitter 30 %: ticks missing / held, largest step over inside step")
    figures.update(table())
    print("\nStream on real topics, jitter 30 %")
    for strategy, inference_ms in (("blend", 50), ("blend", 100), ("blend", 200), ("blend", 400), ("open_loop", 120)):
        stream = measured_stream(strategy, inference_ms, jpegs, seconds=STREAM_S)
        print(stream.line(f"{strategy}, {inference_ms} ms"), flush=True)
        figures.update(stream_figures(strategy, inference_ms, stream))
    with busy_cores():
        stream = measured_stream("blend", 400, jpegs, seconds=STREAM_S)
    print(stream.line("blend, 400, loaded"), flush=True)
    figures["missing_ticks_400ms_loaded"] = stream.missing_ticks
    figures["tick_p99_400ms_loaded"] = stream.tick_p99_ms
    picture = FOLDER / "h1_policy_bridge_strategies.png"
    draw(picture)
    (FOLDER / "h1_policy_bridge.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\nwritten: {FOLDER / 'h1_policy_bridge.json'}, {picture}")
    return 0


def pictures() -> list[bytes]:
    """Three 640x480 JPEGs of about 60 kB, as cameras send them: noise of a grain that gives this size."""
    chance = np.random.default_rng(0)
    made = []
    for _ in range(3):
        noise = cv2.GaussianBlur(chance.integers(0, 255, (480, 640, 3), np.uint8), (0, 0), 2.5)
        made.append(simplejpeg.encode_jpeg(np.ascontiguousarray(noise), quality=85, colorspace="RGB"))
    return made


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """As many processes that compute without pause as there are cores."""
    command = [sys.executable, "-S", "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def median_ms(work: Callable[[], object]) -> float:
    """p50 of `ROUNDS` calls."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e3


def observation_figures(jpegs: list[bytes]) -> dict[str, float]:
    """Building and encoding one observation of three cameras, beside the straightforward way."""
    rules = ObservationRules(PRESETS["h1"])
    senses = Senses(arms=Stamped(NOW_NS, np.zeros(14)))
    senses.images = {camera: Stamped(NOW_NS, jpeg) for camera, jpeg in zip(rules.layout.cameras, jpegs, strict=True)}

    def build() -> dict[str, object]:
        return take(senses, rules, now_ns=NOW_NS, task="stack the cubes").message()

    def plain() -> list[object]:
        whole = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in jpegs]
        return [cv2.cvtColor(cv2.resize(image, (224, 224)), cv2.COLOR_BGR2RGB) for image in whole]

    message = build()
    figures = {"observation_p50_ms": median_ms(build), "plain_p50_ms": median_ms(plain)}
    figures["plain_over_observation_ratio"] = figures["plain_p50_ms"] / figures["observation_p50_ms"]
    figures["encode_p50_ms"] = median_ms(lambda: msgpack_numpy.pack(message))
    size = sum(map(len, jpegs)) / len(jpegs) / 1e3
    print(f"Observation of 3 cameras, 640x480, {size:.0f} kB each: {figures['observation_p50_ms']:.2f} ms (p50)")
    print(f"  decoding whole, then resizing: {figures['plain_p50_ms']:.2f} ms", end="")
    print(f", {figures['plain_over_observation_ratio']:.2f} times as long")
    print(f"  encoding: {figures['encode_p50_ms']:.2f} ms for {len(msgpack_numpy.pack(message)) / 1e3:.0f} kB")
    return figures


def round_trip_figures(jpegs: list[bytes]) -> dict[str, float]:
    """Request sent to reply decoded, less what the server says it took, over a real socket."""
    images = {f"cam_{index}": simplejpeg.decode_jpeg(jpeg)[:224, :224].copy() for index, jpeg in enumerate(jpegs)}
    names = dict(zip(("cam_head", "cam_left_wrist", "cam_right_wrist"), images.values(), strict=True))
    message = {"state": np.zeros(14, np.float32), "images": names, "prompt": "stack"}
    with simulated_server(inference_ms=0) as port:
        client = PolicyClient(ClientConfig(Address("127.0.0.1", port)), now_ns=time.monotonic_ns, log=print)
        client.start()
        over = []
        for tag in range(ROUNDS):
            while not client.submit(Request(tag, lambda: message, np.zeros(14), 0)):
                time.sleep(1e-3)
            outcomes: list[Outcome] = []
            while not outcomes:
                time.sleep(5e-4)
                outcomes = client.take_outcomes()
            chunk = outcomes[0].chunk
            assert chunk is not None, outcomes[0].reason
            over.append(chunk.inference_ms - chunk.server_ms)
        client.stop()
    p50 = float(np.median(over))
    print(f"Round trip less the server's own time: {p50:.2f} ms (p50), {np.percentile(over, 99):.2f} ms (p99)")
    return {"round_trip_overhead_p50_ms": p50, "round_trip_overhead_p99_ms": float(np.percentile(over, 99))}


def stream_figures(strategy: str, inference_ms: int, stream: Stream) -> dict[str, float | int]:
    """The bars' figures by their own names, the others with the strategy's."""
    prefix = "" if strategy == "blend" else f"{strategy}_"
    return {
        f"{prefix}missing_ticks_{inference_ms}ms": stream.missing_ticks,
        f"{prefix}held_ticks_{inference_ms}ms": stream.held_ticks,
        f"{prefix}seam_ratio_{inference_ms}ms": stream.seam_ratio,
        f"{prefix}tick_p99_{inference_ms}ms": stream.tick_p99_ms,
    }


if __name__ == "__main__":
    sys.exit(main())
