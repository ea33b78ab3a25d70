# SPDX-License-Identifier: Apache-2.0
"""openpi's protocol with the codec of openpi-client, what all protocols share, and how one is chosen."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from policy_protocol_builders import ACTIONS, asked, expected, groot_answers
from policy_servers import groot_server, http_server, openpi_server
from policy_wire import raw_server, running

from h1_policy_bridge import connection
from h1_policy_bridge.chunk import ReplyError
from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.parameters import BridgeParameters
from h1_policy_bridge.protocols import PROTOCOLS
from h1_training_testing import wait_until


def test_openpi_with_the_codec_of_openpi_client():
    seen: list[dict] = []

    def infer(observation: dict) -> dict:
        seen.append(observation)
        return {"actions": ACTIONS.astype(np.float32), "server_timing": {"infer_ms": 2.5}}

    with openpi_server(infer, {"reset_pose": [0.0]}) as address, running(address, expected=expected("h1")) as it:
        chunk = it.outcome(asked("h1")).chunk
    assert chunk is not None
    np.testing.assert_allclose(chunk.actions, ACTIONS, atol=1e-6)
    assert chunk.server_ms == 2.5
    assert seen[0]["images"]["cam_head"].shape == (224, 224, 3)
    np.testing.assert_allclose(seen[0]["state"], np.linspace(0.0, 0.3, 14), atol=1e-6)


def test_images_go_as_jpeg_only_where_the_metadata_allow_it():
    seen: list[dict] = []

    def infer(observation: dict) -> dict:
        seen.append(observation)
        return {"actions": ACTIONS}

    for metadata in ({}, {"image_encodings": ["raw", "jpeg"]}):
        with openpi_server(infer, metadata) as address, running(address) as it:
            assert it.outcome(asked("aloha")).chunk is not None
    raw, jpeg = (observation["images"]["cam_high"] for observation in seen)
    assert raw.shape == (3, 224, 224)
    assert jpeg.ndim == 1
    assert jpeg[:2].tolist() == [0xFF, 0xD8]


@pytest.mark.parametrize("protocol", ["groot", "http"])
def test_a_reconnection_interrupts_a_wait_for_an_answer(protocol):
    release = threading.Event()

    def answer(request: dict) -> bytes:
        if request["endpoint"] == "get_action":
            release.wait(10.0)
        return groot_answers([])(request)

    serving = groot_server(answer) if protocol == "groot" else http_server(lambda *_: release.wait(10.0))
    with serving as address, running(address, protocol=protocol, expected=expected("groot")) as it:
        it.until_connected()
        assert it.client.submit(asked("groot"))
        it.client.reconnect(3)
        results: list = []
        wait_until(lambda: results.extend(it.client.take_results()) or results, "it is called off", 5.0)
        release.set()
    assert results[0].reason == "the connection was made again"


def test_lerobots_own_protocol_is_refused_with_what_to_run_instead():
    with pytest.raises(ValueError, match=r"CVE-2026-25874.*lerobot_policy_server"):
        BridgeParameters(protocol="lerobot")


@pytest.mark.parametrize(
    ("protocol", "host", "url"),
    [
        ("openpi", "gpu", "ws://gpu:8000"),
        ("groot", "gpu", "tcp://gpu:8000"),
        ("http", "https://gpu/act", "https://gpu:8000/act"),
    ],
)
def test_an_address_has_its_protocols_scheme(protocol, host, url):
    assert BridgeParameters(protocol=protocol, host=host).client_config({}).link.address.url == url


def test_an_address_of_another_protocol_is_refused():
    with pytest.raises(ValueError, match=r"'http://' is another protocol's; expected .* ws://HOST:PORT"):
        BridgeParameters(protocol="openpi", host="http://gpu")


def test_the_pages_own_protocol_works_as_it_stands_there(monkeypatch):
    page = (Path(__file__).parents[1] / "docs/policy_server.md").read_text()
    (code,) = re.findall(r"```python\n(class JsonLinesLink:.*?)```", page, re.DOTALL)
    names: dict = {"contextlib": contextlib, "json": json, "np": np, "ReplyError": ReplyError, **vars(connection)}
    exec(compile(code, "policy_server.md", "exec"), names)
    monkeypatch.setitem(PROTOCOLS, "json_lines", names["JsonLinesLink"])
    good = json.dumps({"actions": ACTIONS.tolist()}).encode() + b"\n"

    def behaviour(peer, stop):
        for answer in (good, b"{}\n", good):
            while b"\n" not in peer.recv(65536):
                pass
            peer.sendall(answer)
        stop.wait(5.0)

    with raw_server(behaviour) as address:
        where = ServerAddress("127.0.0.1", address.port, "tcp")
        with running(where, protocol="json_lines") as it:
            results = [it.outcome(asked("h1", tag)) for tag in range(3)]
            assert it.client.state.connections == 1
    assert [result.chunk is not None for result in results] == [True, False, True]
    assert "no line of JSON with 'actions'" in results[1].reason
