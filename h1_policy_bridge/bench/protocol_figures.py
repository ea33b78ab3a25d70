# SPDX-License-Identifier: Apache-2.0
"""What a request costs in each protocol: bytes, time to encode, round trip; against servers that only answer.

The servers are those of the tests: openpi-client's codec, GR00T's format, json-numpy. They decode each request as the
real ones do, in this process, so the round trip holds that time too.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "test"))
from policy_builders import client_config
from policy_servers import answer_json, groot_packed, groot_server, http_server, openpi_server

from h1_policy_bridge.chunk import Expectation
from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.layout import PRESETS
from h1_policy_bridge.observation import LatestInputs, ObservationRules, Stamped, observe
from h1_policy_bridge.policy_client import PolicyClient
from h1_policy_bridge.protocols.groot import GrootLink
from h1_policy_bridge.protocols.http_act import HttpActLink
from h1_policy_bridge.protocols.openpi import OpenpiLink
from h1_policy_bridge.values import InferenceRequest, InferenceResult

ROUNDS = 60
NOW_NS = 1_000_000_000
ACTIONS = np.zeros((50, 14), np.float32)


def request(preset: str, jpegs: list[bytes], encoding: str) -> InferenceRequest:
    latest = LatestInputs(arms=Stamped(NOW_NS, np.zeros(14)))
    layout = PRESETS[preset]
    latest.images = {camera: Stamped(NOW_NS, jpeg) for camera, jpeg in zip(layout.cameras, jpegs, strict=True)}
    observation = observe(latest, ObservationRules(layout, image_encoding=encoding), now_ns=NOW_NS, task="stack")
    message = observation.message()
    return InferenceRequest(1, lambda _facts: message, observation.state, observation.stamp_ns)


def groot_answer(asked: dict[str, Any]) -> bytes:
    if asked["endpoint"] == "get_modality_config":
        return groot_packed({})
    return groot_packed([{"left_arm": ACTIONS[None, :, :7], "right_arm": ACTIONS[None, :, 7:]}, {}])


def protocol_figures(jpegs: list[bytes]) -> dict[str, float]:
    """A line a protocol, and the figures by its name."""
    cases = (
        ("openpi", "openpi", "h1", "raw", OpenpiLink, openpi_server(lambda _: {"actions": ACTIONS}, {})),
        ("openpi_jpeg", "openpi", "h1", "jpeg", OpenpiLink, openpi_server(lambda _: {"actions": ACTIONS}, {})),
        ("groot", "groot", "groot", "raw", GrootLink, groot_server(groot_answer)),
        ("http", "http", "openvla_oft", "raw", HttpActLink, http_server(lambda at, _: answer_json(at, ACTIONS))),
    )
    print("\nProtocols, three images of 224 x 224: request, encoding (p50), round trip on loopback (p50)")
    figures: dict[str, float] = {}
    for name, protocol, preset, encoding, link, server in cases:
        asked = request(preset, jpegs, encoding)
        message, encode_ms = encoded(link, asked)
        with server as address, connected(address, protocol, preset) as it:
            trips = [answer_ms(it, asked) for _ in range(ROUNDS)]
        figures[f"{name}_request_kb"] = len(message) / 1e3
        figures[f"{name}_encode_p50_ms"] = encode_ms
        figures[f"{name}_round_trip_p50_ms"] = float(np.median(trips))
        on_lines = ", ".join(f"{len(message) * 8e-3 / mbit:.0f} ms at {mbit}" for mbit in (10, 50, 100))
        print(
            f"  {name:<12}{len(message) / 1e3:6.0f} kB {encode_ms:6.2f} ms {np.median(trips):6.1f} ms; "
            f"on the line by size alone: {on_lines} Mbit/s",
            flush=True,
        )
    return figures


@contextlib.contextmanager
def connected(address: ServerAddress, protocol: str, preset: str) -> Iterator[PolicyClient]:
    config = client_config(address, protocol=protocol, expected=Expectation(layout=PRESETS[preset]))
    client = PolicyClient(config, now_ns=time.monotonic_ns, log=print)
    client.start()
    try:
        yield client
    finally:
        client.stop()


def answer_ms(client: PolicyClient, asked: InferenceRequest) -> float:
    while not client.submit(asked):
        time.sleep(1e-3)
    results: list[InferenceResult] = []
    while not results:
        time.sleep(5e-4)
        results = client.take_results()
    assert results[0].chunk is not None, results[0].reason
    return results[0].chunk.inference_ms


def encoded(link: type, asked: InferenceRequest) -> tuple[bytes, float]:
    """A request's bytes, and the median time to make them, ms; `encode` needs no connection."""
    unopened = object.__new__(link)
    unopened._config = type("Config", (), {"api_key": ""})
    observation = asked.build(None)
    times, message = [], b""
    for _ in range(ROUNDS):
        began = time.perf_counter()
        message = unopened.encode(observation)
        times.append((time.perf_counter() - began) * 1e3)
    return message, float(np.median(times))
