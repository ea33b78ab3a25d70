# SPDX-License-Identifier: Apache-2.0
"""Each protocol against a server that its own project's codec, or the format that it publishes, speaks for."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from policy_builders import ramp
from policy_servers import answer_json, groot_packed, groot_server, http_server, openpi_server
from policy_wire import raw_server, running

from h1_policy_bridge import connection
from h1_policy_bridge.chunk import Expectation, ReplyError
from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.layout import PRESETS
from h1_policy_bridge.observation import LatestInputs, ObservationRules, Stamped, observe
from h1_policy_bridge.parameters import BridgeParameters
from h1_policy_bridge.protocols import PROTOCOLS
from h1_policy_bridge.values import InferenceRequest
from h1_training_node.message_numbers import Connection
from h1_training_testing import wait_until

ACTIONS = ramp(slope=0.005)
LIMBS = {"left_arm": slice(0, 7), "right_arm": slice(7, 14)}
MODALITIES = {
    "video": {"__ModalityConfig_class__": True, "as_json": {"modality_keys": ["ego_view"], "delta_indices": [0]}},
    "state": {"__ModalityConfig_class__": True, "as_json": {"modality_keys": ["left_arm", "right_arm"]}},
    "action": {"__ModalityConfig_class__": True, "as_json": {"modality_keys": ["left_arm", "right_arm"]}},
}


def asked(preset: str, tag: int = 1) -> InferenceRequest:
    """A request of three grey images and a state that is recognised again."""
    latest = LatestInputs(arms=Stamped(10, np.linspace(0.0, 0.3, 14)))
    rules = ObservationRules(PRESETS[preset], allow_dummy_cameras=True)
    observation = observe(latest, rules, now_ns=20, task="stack")
    return InferenceRequest(tag, observation.message, observation.state, observation.stamp_ns)


def expected(preset: str) -> Expectation:
    return Expectation(layout=PRESETS[preset])


def groot_answers(seen: list[dict], *, modalities: object = MODALITIES, flat: bool = False):
    """GR00T's endpoints, with actions by limb."""

    def answer(request: dict) -> bytes:
        seen.append(request)
        if request["endpoint"] == "ping":
            return groot_packed({"status": "ok", "message": "Server is running"})
        if request["endpoint"] == "get_modality_config":
            return groot_packed(modalities)
        if flat:
            return groot_packed({f"action.{limb}": ACTIONS[:, where] for limb, where in LIMBS.items()})
        limbs = {limb: ACTIONS[None, :, where].astype(np.float32) for limb, where in LIMBS.items()}
        return groot_packed([limbs, {}])

    return answer


# -- openpi --------------------------------------------------------------------------------------------------------


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


# -- GR00T ---------------------------------------------------------------------------------------------------------


def test_groot_n1_6_gets_batch_and_time_axes_and_gives_actions_by_limb():
    seen: list[dict] = []
    with (
        groot_server(groot_answers(seen)) as address,
        running(address, protocol="groot", api_key="secret", expected=expected("groot")) as it,
    ):
        chunk = it.outcome(asked("groot")).chunk
        assert it.client.state.facts.action_dim == 0
    assert chunk is not None
    np.testing.assert_allclose(chunk.actions, ACTIONS, atol=1e-6)
    observation = seen[-1]["data"]["observation"]
    assert seen[-1]["data"]["options"] is None
    assert {request.get("api_token") for request in seen} == {"secret"}
    assert observation["video"]["ego_view"].shape == (1, 1, 224, 224, 3)
    assert observation["video"]["ego_view"].dtype == np.uint8
    assert {name: part.shape for name, part in observation["state"].items()} == {
        "left_arm": (1, 1, 7),
        "right_arm": (1, 1, 7),
    }
    assert observation["state"]["left_arm"].dtype == np.float32
    assert observation["language"] == {"annotation.human.task_description": [["stack, Advantage=True"]]}


def test_groot_n1_5_has_flat_names_and_no_batch():
    seen: list[dict] = []
    with (
        groot_server(groot_answers(seen, modalities={}, flat=True)) as address,
        running(address, protocol="groot", expected=expected("groot_n1_5")) as it,
    ):
        chunk = it.outcome(asked("groot_n1_5")).chunk
    assert chunk is not None
    np.testing.assert_allclose(chunk.actions, ACTIONS)
    data = seen[-1]["data"]
    assert data["video.ego_view"].shape == (1, 224, 224, 3)
    assert data["state.right_arm"].shape == (1, 7)
    assert data["annotation.human.task_description"] == ["stack, Advantage=True"]


@pytest.mark.parametrize(
    ("kind", "keys", "words"),
    [
        ("video", ["front_view"], "wants video 'front_view', the observation has ego_view, left_wrist_view"),
        ("state", ["left_leg"], "wants state 'left_leg', the observation has left_arm, right_arm"),
        ("action", ["left_arm"], "gives no action 'right_arm', only left_arm"),
    ],
)
def test_a_groot_policy_of_other_modalities_is_refused_before_the_first_inference(kind, keys, words):
    modalities = {**MODALITIES, kind: {"__ModalityConfig_class__": True, "as_json": {"modality_keys": keys}}}
    with (
        groot_server(groot_answers([], modalities=modalities)) as address,
        running(address, protocol="groot", expected=expected("groot")) as it,
    ):
        wait_until(lambda: it.client.state.connection is Connection.REFUSED, "it is refused")
        assert words in it.client.state.reason


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (groot_packed({"error": "Video key 'ego_view' must be in observation"}), "policy server error: Video key"),
        (groot_packed([{"left_arm": np.zeros((1, 16, 7))}, {}]), "'actions' is 16x7; expected steps x 14"),
        (groot_packed([{"left_arm": np.zeros((1, 16, 7)), "right_arm": np.zeros((1, 8, 7))}, {}]), "[8, 16] steps"),
        (groot_packed([{"left_arm": np.zeros((1, 16, 6)), "right_arm": np.zeros((1, 16, 7))}, {}]), "is 16x6"),
        (groot_packed([{"left_arm": np.full((1, 16, 7), np.nan), "right_arm": np.zeros((1, 16, 7))}, {}]), "is nan"),
        (groot_packed([{"legs": np.zeros((1, 16, 7))}, {}]), "reply has no 'actions'; it has legs"),
        (groot_packed([{"left_arm": {"__ndarray_class__": True, "as_npy": b"\x93NUMPY"}}, {}]), "no .npy file"),
        (groot_packed({"left_arm": {"__ndarray_class__": True}}), "array without its .npy file"),
        (b"\xc1", "not a msgpack message"),
        (b"\xc7\x01\x05x", "msgpack extension"),
    ],
)
def test_a_groot_reply_that_cannot_be_used_is_refused_and_the_connection_lives_on(reply, words):
    good = groot_answers([])

    def answer(request: dict) -> bytes:
        return reply if request["endpoint"] == "get_action" else good(request)

    with (
        groot_server(answer) as address,
        running(address, protocol="groot", expected=expected("groot")) as it,
    ):
        result = it.outcome(asked("groot"))
        assert result.chunk is None
        assert words in result.reason
        assert it.client.state.connections == 1


def test_a_pickled_array_of_groot_is_never_loaded():
    file_of_objects = groot_packed([{"left_arm": {"__ndarray_class__": True, "as_npy": _npy_of_objects()}}, {}])
    good = groot_answers([])

    def answer(request: dict) -> bytes:
        return file_of_objects if request["endpoint"] == "get_action" else good(request)

    with groot_server(answer) as address, running(address, protocol="groot", expected=expected("groot")) as it:
        assert "allow_pickle=False" in it.outcome(asked("groot")).reason


def _npy_of_objects() -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


def test_a_groot_server_that_never_answers_is_given_up_and_connected_to_again():
    good = groot_answers([])

    def answer(request: dict) -> bytes | None:
        return None if request["endpoint"] == "get_action" else good(request)

    with (
        groot_server(answer) as address,
        running(address, protocol="groot", expected=expected("groot"), first_request_timeout_s=0.3) as it,
    ):
        assert it.outcome(asked("groot")).reason == "the policy server gave no answer within 0.3 s"


def test_an_idle_groot_connection_is_kept_by_pings_and_a_request_comes_between():
    seen: list[dict] = []
    with (
        groot_server(groot_answers(seen)) as address,
        running(address, protocol="groot", expected=expected("groot"), ping_interval_s=0.05) as it,
    ):
        wait_until(lambda: sum(request["endpoint"] == "ping" for request in seen) >= 3, "pings")
        for tag in range(5):
            assert it.outcome(asked("groot", tag)).chunk is not None
            time.sleep(0.06)
        assert it.client.state.connections == 1


def test_a_groot_server_that_stops_answering_pings_is_lost():
    good = groot_answers([])

    def answer(request: dict) -> bytes | None:
        return None if request["endpoint"] == "ping" else good(request)

    limits = {"ping_interval_s": 0.05, "silence_s": 0.2}
    with (
        groot_server(answer) as address,
        running(address, protocol="groot", expected=expected("groot"), **limits) as it,
    ):
        wait_until(lambda: "answered no ping" in it.client.state.reason, "it is lost")


def test_nobody_at_a_groot_port_is_reported_at_once():
    address = ServerAddress("127.0.0.1", 1, "tcp")
    with running(address, protocol="groot") as it:
        wait_until(lambda: "connection refused by tcp://127.0.0.1:1" in it.client.state.reason, "it is shown")


# -- POST /act -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        list(ACTIONS.astype(np.float32)),  # OpenVLA-OFT: a list with one array a step
        ACTIONS,
        ACTIONS.tolist(),
        {"actions": ACTIONS},
        {"action": ACTIONS.tolist()},
    ],
)
def test_http_act_takes_the_forms_in_which_such_servers_answer(reply):
    seen: list = []

    def respond(handler, observation) -> None:
        seen.append((handler.path, dict(handler.headers), observation))
        answer_json(handler, reply)

    with (
        http_server(respond) as address,
        running(address, protocol="http", api_key="secret", expected=expected("openvla_oft")) as it,
    ):
        for tag in (1, 2):
            chunk = it.outcome(asked("openvla_oft", tag)).chunk
            assert chunk is not None
            np.testing.assert_allclose(chunk.actions, ACTIONS, atol=1e-6)
    path, headers, observation = seen[0]
    assert path == "/act"
    assert headers["Authorization"] == "Api-Key secret"
    assert set(observation) == {"full_image", "left_wrist_image", "right_wrist_image", "state", "instruction"}
    assert observation["full_image"].shape == (224, 224, 3)
    assert observation["instruction"] == "stack, Advantage=True"


@pytest.mark.parametrize(
    ("raw", "status", "words"),
    [
        (b'"error"', 200, "policy server error: error"),
        (b'{"detail": "Missing observation"}', 200, "policy server error: Missing observation"),
        (b"Internal Server Error", 500, "answered HTTP 500: Internal Server Error"),
        (b"[1, 2", 200, "not JSON"),
        (b"[" * 100_000, 200, "not JSON"),
        (b'[["a"]]', 200, "a list that is no array of numbers"),
        (b"[[1, 2], [3]]", 200, "a list that is no array of numbers"),
        (b'{"__numpy__": "AAAA", "dtype": "|O", "shape": []}', 200, "array dtype is '|O'"),
        (b'{"__numpy__": "AAAA", "dtype": "<f4", "shape": [9]}', 200, "array cannot be decoded"),
        (b'{"__numpy__": "AAAA", "dtype": "<f4", "shape": [-1]}', 200, "array shape is [-1]"),
        (b'{"__numpy__": "not base64", "dtype": "<f4", "shape": []}', 200, "array cannot be decoded"),
        (b"[[NaN]]", 200, "'actions' is 1x1"),
    ],
)
def test_an_http_reply_that_cannot_be_used_is_refused_and_the_connection_lives_on(raw, status, words):
    with (
        http_server(lambda handler, _: answer_json(handler, None, status=status, raw=raw)) as address,
        running(address, protocol="http", expected=expected("openvla_oft")) as it,
    ):
        result = it.outcome(asked("openvla_oft"))
        assert result.chunk is None
        assert words in result.reason
        assert it.client.state.connections == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "check the API key"), (404, "to POST /act; check host, port and path"), (307, "redirects to http://other/")],
)
def test_an_http_server_that_is_another_one_is_lost_with_what_to_do(status, words):
    def respond(handler, _observation) -> None:
        handler.send_response(status)
        handler.send_header("Location", "http://other/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with http_server(respond) as address, running(address, protocol="http") as it:
        assert words in it.outcome(asked("openvla_oft")).reason


def test_an_http_answer_without_end_and_one_that_drips_are_given_up():
    def endless(handler, _observation) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        while True:
            handler.wfile.write(b"[" * 65536)

    def unbounded(handler, _observation) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while True:
            handler.wfile.write(b"[" * 65536)

    def dripping(handler, _observation) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b" ")
            time.sleep(0.01)

    for behaviour in (endless, unbounded):
        with http_server(behaviour) as address, running(address, protocol="http", max_reply_bytes=1_000_000) as it:
            assert "at most 1000000 are read" in it.outcome(asked("openvla_oft")).reason
    with http_server(dripping) as address, running(address, protocol="http", first_request_timeout_s=0.3) as it:
        assert it.outcome(asked("openvla_oft")).reason == "the policy server gave no answer within 0.3 s"


def test_a_server_that_closes_after_each_http_answer_is_asked_again():
    def respond(handler, _observation) -> None:
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(str(ACTIONS.tolist()).encode())

    with http_server(respond) as address, running(address, protocol="http", expected=expected("openvla_oft")) as it:
        for tag in range(3):
            assert it.outcome(asked("openvla_oft", tag)).chunk is not None
        assert it.client.state.connections == 1


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


# -- configuration -------------------------------------------------------------------------------------------------


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
