# SPDX-License-Identifier: Apache-2.0
"""What the policy bridge costs and how even its stream is; prints a table, writes figures and a diagram.

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
from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.layout import PRESETS
from h1_policy_bridge.observation import LatestInputs, ObservationRules, Stamped, observe
from h1_policy_bridge.policy_client import ClientConfig, PolicyClient
from h1_policy_bridge.protocols.link import LinkConfig
from h1_policy_bridge.values import InferenceRequest, InferenceResult

sys.path.insert(0, str(Path(__file__).parent))
from protocol_figures import protocol_figures
from strategies_figure import INFERENCE_MS, SHOWN_TICKS, draw, recorded, table
from stream_stage import Stream, measured_stream, simulated_server

FOLDER = Path("data/bench")
NOW_NS = 1_000_000_000
ROUNDS = 300
STREAM_S = 8.0


def main() -> int:
    """Run everything; about 130 s."""
    cv2.setNumThreads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float | int] = {}
    jpegs = images()
    figures.update(observation_figures(jpegs))
    figures.update(round_trip_figures(jpegs))
    figures.update(protocol_figures(jpegs))
    print("\nSame recorded chunks, jitter 30 %: ticks missing / held, largest step over the largest inside chunks")
    figures.update(table())
    figures.update(streams(jpegs))
    figure = draw_figure()
    (FOLDER / "h1_policy_bridge.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\nwritten: {FOLDER / 'h1_policy_bridge.json'}, {figure}")
    return 0


def streams(jpegs: list[bytes]) -> dict[str, float | int]:
    """Node and simulated server as processes, on real topics."""
    print("\nStream on real topics, three cameras, jitter 30 %")
    figures: dict[str, float | int] = {}
    for strategy in ("blend", "open_loop"):
        for inference_ms in INFERENCE_MS:
            stream = measured_stream(strategy, inference_ms, jpegs, seconds=STREAM_S)
            print(stream.line(f"{strategy}, {inference_ms} ms"), flush=True)
            figures.update(stream_figures(strategy, inference_ms, stream))
    with busy_cores():
        stream = measured_stream("blend", 400, jpegs, seconds=STREAM_S)
    print(stream.line("blend, 400, loaded"), flush=True)
    figures["missing_ticks_400ms_loaded"] = stream.missing_ticks
    figures["tick_p99_400ms_loaded"] = stream.tick_p99_ms
    return figures


def draw_figure() -> Path:
    """The diagram, and the recording that it shows, for another strategy to be drawn beside."""
    recording = recorded(200.0, SHOWN_TICKS + 60)
    recording.save(FOLDER / "h1_policy_bridge_chunks.npz")
    figure = FOLDER / "h1_policy_bridge_strategies.png"
    draw(figure, recording, "The same chunks, three ways: inference 200 ms ± 30 %")
    return figure


def images() -> list[bytes]:
    """Three 640x480 JPEGs of about 60 kB, noise of a grain that gives this size.

    Encoded as the cameras' own programs do, by OpenCV with its default colour sampling (4:2:0).
    """
    chance = np.random.default_rng(0)
    noise = [cv2.GaussianBlur(chance.integers(0, 255, (480, 640, 3), np.uint8), (0, 0), 1.6) for _ in range(3)]
    return [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes() for image in noise]


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


def medians_ms(*works: Callable[[], object]) -> list[float]:
    """p50 of `ROUNDS` calls of each, in turn, so that whatever else runs slows all of them alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, taken in zip(works, times, strict=True):
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
    return [float(np.median(taken)) * 1e3 for taken in times]


def observation_figures(jpegs: list[bytes]) -> dict[str, float]:
    """Building and encoding one observation of three cameras, beside the straightforward way."""
    rules = ObservationRules(PRESETS["h1"])
    latest = LatestInputs(arms=Stamped(NOW_NS, np.zeros(14)))
    latest.images = {camera: Stamped(NOW_NS, jpeg) for camera, jpeg in zip(rules.layout.cameras, jpegs, strict=True)}

    def build() -> dict[str, object]:
        return observe(latest, rules, now_ns=NOW_NS, task="stack the cubes").message()

    def plain() -> list[object]:
        whole = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in jpegs]
        return [cv2.cvtColor(cv2.resize(image, (224, 224)), cv2.COLOR_BGR2RGB) for image in whole]

    message = build()
    built, straight, encoded = medians_ms(build, plain, lambda: msgpack_numpy.pack(message))
    figures = {"observation_p50_ms": built, "plain_p50_ms": straight, "plain_over_observation_ratio": straight / built}
    figures["encode_p50_ms"] = encoded
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
    with simulated_server(inference_ms=0) as server:
        client = PolicyClient(
            ClientConfig(LinkConfig(ServerAddress("127.0.0.1", server.port))), now_ns=time.monotonic_ns, log=print
        )
        client.start()
        over = []
        for tag in range(ROUNDS):
            while not client.submit(InferenceRequest(tag, lambda _facts: message, np.zeros(14), 0)):
                time.sleep(1e-3)
            outcomes: list[InferenceResult] = []
            while not outcomes:
                time.sleep(5e-4)
                outcomes = client.take_results()
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
