# SPDX-License-Identifier: Apache-2.0
"""`POST /act` against PyPI's json-numpy."""

from __future__ import annotations

import time

import numpy as np
import pytest
from policy_protocol_builders import ACTIONS, asked, expected
from policy_servers import answer_json, http_server
from policy_wire import running


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
        (b'"error"', 200, "policy server error: error, and no more; its log says why"),
        (b'{"detail": "Missing observation"}', 200, "policy server error: Missing observation"),
        (b"Internal Server Error", 500, "answered HTTP 500: Internal Server Error"),
        (b"[1, 2", 200, "not JSON"),
        (b"[" * 100_000, 200, "not JSON"),
        (b'[["a"]]', 200, "a list that is no array of numbers"),
        (b"[[1, 2], [3]]", 200, "a list that is no array of numbers"),
        (b'{"__numpy__": "AAAA", "dtype": "|O", "shape": []}', 200, "array dtype is '|O'"),
        (b'{"__numpy__": "AAAA", "dtype": "<f4", "shape": [9]}', 200, "needs 36 bytes, has 3"),
        (b'{"__numpy__": "AAAA", "dtype": "<f4", "shape": [-1]}', 200, "array shape [-1] is negative or too large"),
        (b'{"__numpy__": "AAAA", "dtype": "<f4", "shape": 3}', 200, "array shape is 3; expected a list"),
        (b'{"__numpy__": 3, "dtype": "<f4", "shape": []}', 200, "array cannot be decoded"),
        (b'[["1.5", "2.5"]]', 200, "a list that is no array of numbers"),
        (b"[[true, 0.5]]", 200, "a list that is no array of numbers"),
        (b"[[1" + b"0" * 400 + b"]]", 200, "a list that is no array of numbers"),
        (b'{"actions": [[0.5]], "server_timing": {"infer_ms": 1' + b"0" * 400 + b"}}", 200, "'actions' is 1x1"),
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
