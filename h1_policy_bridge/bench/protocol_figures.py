# SPDX-License-Identifier: Apache-2.0
"""What a request costs in each protocol: bytes, time to encode, round trip less the server's own time, on four lines.

Each server is a process of its own (`protocol_server.py`): openpi-client's codec, GR00T's format, json-numpy. It states
its own time, which is taken off: what remains is the client and the line.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "test"))
from policy_builders import client_config
from policy_protocol_builders import encoded
from slow_line import Line, namespace, proxy, why_no_namespace

from h1_policy_bridge.chunk import Expectation
from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.images import encoded as jpeg_of
from h1_policy_bridge.layout import PRESETS, find
from h1_policy_bridge.metadata import ServerFacts
from h1_policy_bridge.observation import LatestInputs, Observation, ObservationRules, Stamped, observe
from h1_policy_bridge.policy_client import PolicyClient
from h1_policy_bridge.protocols import PROTOCOLS
from h1_policy_bridge.values import InferenceRequest, InferenceResult

ROUNDS = 40
NOW_NS = 1_000_000_000
LINES_MBIT = (100, 50, 10)
CASES = (
    ("openpi", "openpi", "h1", "raw"),
    ("openpi_jpeg", "openpi", "h1", "auto"),  # the bench's server states image_encodings: JPEG is chosen by itself
    ("groot", "groot", "groot", "auto"),
    ("http", "http", "openvla_oft", "auto"),
)


def protocol_figures(jpegs: list[bytes]) -> dict[str, float]:
    """A row a protocol, and the figures by its name."""
    reason = why_no_namespace()
    how = f"a pacing proxy in this process ({reason})" if reason else "tc (tbf) in a network namespace"
    print(
        "\nProtocols, three images of 224 x 224: bytes of a request, encoding (p50), round trip less the server's own"
    )
    print(f"time (p50) on loopback and at {LINES_MBIT} Mbit/s; lines by {how}; `jpeg` where the metadata allow it")
    figures: dict[str, float] = {}
    for name, protocol, preset, encoding in CASES:
        observation = observed(preset, jpegs, encoding)
        facts = ServerFacts(takes_jpeg=protocol == "openpi")
        size = len(encoded(protocol, observation.message(facts)))
        figures[f"{name}_request_kb"] = size / 1e3
        figures[f"{name}_encode_p50_ms"] = encode_ms(protocol, observation, facts)
        trips = {"loopback": round_trips_ms(Line(), protocol, preset, observation, ROUNDS)}
        for mbit in LINES_MBIT:
            rounds = max(6, ROUNDS * mbit // 200)
            if reason:
                trips[f"{mbit}mbit"] = round_trips_ms(Line(), protocol, preset, observation, rounds, paced_mbit=mbit)
            else:
                with namespace(mbit) as line:
                    trips[f"{mbit}mbit"] = round_trips_ms(line, protocol, preset, observation, rounds)
        for where, times in trips.items():
            figures[f"{name}_round_trip_{where}_p50_ms"] = float(np.median(times))
        row = "".join(f"{np.median(times):8.1f}" for times in trips.values())
        print(f"  {name:<12}{size / 1e3:6.0f} kB {figures[f'{name}_encode_p50_ms']:6.2f} ms{row} ms", flush=True)
    return figures


def observed(preset: str, jpegs: list[bytes], encoding: str) -> Observation:
    latest = LatestInputs(arms=Stamped(NOW_NS, np.zeros(14)))
    layout = PRESETS[preset]
    latest.images = {camera: Stamped(NOW_NS, jpeg) for camera, jpeg in zip(layout.cameras, jpegs, strict=True)}
    return observe(latest, ObservationRules(layout, image_encoding=encoding), now_ns=NOW_NS, task="stack")


def encode_ms(protocol: str, observation: Observation, facts: ServerFacts) -> float:
    """Median time from pixels to bytes: JPEG files where they are sent, and the message's own encoding."""
    pixels, message = observation.message(), observation.message(facts)
    images = [find(pixels, path) for _, path in observation.rules.layout.images]
    is_jpeg = images[0].nbytes > find(message, observation.rules.layout.images[0][1]).nbytes
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for image in images if is_jpeg else ():
            jpeg_of(image)
        encoded(protocol, message)
        times.append((time.perf_counter() - began) * 1e3)
    return float(np.median(times))


def round_trips_ms(
    line: Line, protocol: str, preset: str, observation: Observation, rounds: int, *, paced_mbit: int = 0
) -> list[float]:
    """From request sent to reply decoded, less what the server says that it took itself."""
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(served(line, protocol))
        if paced_mbit:
            port = stack.enter_context(proxy(port, paced_mbit))
        address = ServerAddress(line.host, port, PROTOCOLS[protocol].scheme)
        config = client_config(address, protocol=protocol, expected=Expectation(layout=PRESETS[preset]))
        client = PolicyClient(config, now_ns=time.monotonic_ns, log=print)
        client.start()
        stack.callback(client.stop)
        asked = InferenceRequest(1, observation.message, observation.state, observation.stamp_ns)
        return [answer_ms(client, asked) for _ in range(rounds + 1)][1:]


@contextlib.contextmanager
def served(line: Line, protocol: str) -> Iterator[int]:
    """A server's process behind `line`; its port."""
    script = str(Path(__file__).with_name("protocol_server.py"))
    command = [*line.prefix, sys.executable, script, protocol, "--host", line.host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def answer_ms(client: PolicyClient, asked: InferenceRequest) -> float:
    deadline_s = time.monotonic() + 20.0
    while not client.submit(asked):
        assert time.monotonic() < deadline_s, client.state.reason
        time.sleep(1e-3)
    results: list[InferenceResult] = []
    while not results:
        time.sleep(5e-4)
        results = client.take_results()
    chunk = results[0].chunk
    assert chunk is not None, results[0].reason
    return chunk.inference_ms - chunk.server_ms
