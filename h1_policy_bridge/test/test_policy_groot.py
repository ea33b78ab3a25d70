# SPDX-License-Identifier: Apache-2.0
"""GR00T's protocol against the format that its project publishes."""

from __future__ import annotations

import contextlib
import io
import json
import time

import numpy as np
import pytest
from policy_protocol_builders import ACTIONS, MODALITIES, asked, expected, groot_answers
from policy_servers import groot_packed, groot_server
from policy_wire import running

from h1_policy_bridge.connection import ServerAddress
from h1_training_node.message_numbers import Connection
from h1_training_testing import wait_until


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
        ("language", ["task"], "wants language 'task', the observation has annotation.human.task_description"),
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
    ("kind", "keys", "words"),
    [
        ("video", ["video.ego_view", "video.left_wrist_view"], ""),
        ("video", ["video.webcam"], "wants video 'video.webcam', the observation has video.ego_view"),
        ("state", ["state.left_leg"], "wants state 'state.left_leg', the observation has state.left_arm"),
        ("action", ["action.left_arm"], "gives no action 'action.right_arm', only action.left_arm"),
        ("language", ["annotation.human.action.task_description"], "the observation has annotation.human.task_desc"),
    ],
)
def test_groot_n1_5_says_its_modalities_as_json_text_and_is_checked_by_them_too(kind, keys, words):
    modalities = {kind: {"__ModalityConfig_class__": True, "as_json": json.dumps({"modality_keys": keys})}}
    with (
        groot_server(groot_answers([], modalities=modalities, flat=True)) as address,
        running(address, protocol="groot", expected=expected("groot_n1_5")) as it,
    ):
        if words:
            wait_until(lambda: it.client.state.connection is Connection.REFUSED, "it is refused")
            assert words in it.client.state.reason
        else:
            assert it.outcome(asked("groot_n1_5")).chunk is not None


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", '{"modality_keys": 3}'])
def test_modalities_that_are_no_json_are_left_alone(text):
    modalities = {"video": {"__ModalityConfig_class__": True, "as_json": text}}
    with (
        groot_server(groot_answers([], modalities=modalities, flat=True)) as address,
        running(address, protocol="groot", expected=expected("groot_n1_5")) as it,
    ):
        assert it.outcome(asked("groot_n1_5")).chunk is not None


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (groot_packed({"error": "Video key 'ego_view' must be in observation"}), "policy server error: Video key"),
        (groot_packed([{"left_arm": np.zeros((1, 16, 7))}, {}]), "'actions' is 16x7; expected steps x 14"),
        (groot_packed([{"left_arm": np.zeros((1, 16, 7)), "right_arm": np.zeros((1, 8, 7))}, {}]), "[8, 16] steps"),
        (groot_packed([{"left_arm": np.zeros((1, 16, 6)), "right_arm": np.zeros((1, 16, 7))}, {}]), "is 16x6"),
        (groot_packed([{"left_arm": np.full((1, 16, 7), np.nan), "right_arm": np.zeros((1, 16, 7))}, {}]), "is nan"),
        (groot_packed([{"right_arm": np.zeros((1, 16, 7))}, {}]), "reply has no 'left_arm', only right_arm"),
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
        assert "array dtype is '|O'; only plain numbers" in it.outcome(asked("groot")).reason


def _npy_of_objects() -> bytes:
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


def test_a_groot_server_that_is_started_again_is_connected_to_again_with_its_new_metadata():
    other = {**MODALITIES, "video": {"__ModalityConfig_class__": True, "as_json": {"modality_keys": []}}}
    limits = {"ping_interval_s": 0.1, "silence_s": 0.3}
    with contextlib.ExitStack() as stack:
        first = groot_server(groot_answers([]))
        address = first.__enter__()
        it = stack.enter_context(running(address, protocol="groot", expected=expected("groot"), **limits))
        assert it.outcome(asked("groot")).chunk is not None
        before = it.client.state.facts
        first.__exit__(None, None, None)
        wait_until(lambda: it.client.state.connection is not Connection.CONNECTED, "it is lost")
        with groot_server(groot_answers([], modalities=other), port=address.port):
            assert it.outcome(asked("groot", 2)).chunk is not None
            assert it.client.state.facts.digest != before.digest
