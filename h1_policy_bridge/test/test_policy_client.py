# SPDX-License-Identifier: Apache-2.0
"""The client over real sockets: connecting, asking, the key, epochs."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time

import numpy as np
from policy_builders import METADATA, answering, reply, request, server, unanswering
from policy_wire import running
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.policy_client import PolicyClient
from h1_policy_bridge.values import InferenceRequest, ObservationError
from h1_training_node.message_numbers import Connection
from h1_training_testing import wait_until


def test_the_metadata_are_read_before_the_client_is_idle():
    metadata = msgpack_numpy.pack({"action_dim": 14, "action_horizon": 50})
    with server(answering(reply(), metadata=metadata)) as address, running(address) as it:
        it.until_connected()
        state = it.client.state
    assert (state.connection, state.facts.action_dim, state.facts.horizon) == (Connection.CONNECTED, 14, 50)
    assert state.since_ns > 0
    assert state.reason == ""


def test_a_reply_becomes_a_chunk_with_its_times_and_its_observation():
    with server(answering(reply())) as address, running(address) as it:
        chunk = it.outcome().chunk
    assert chunk is not None
    assert chunk.actions.shape == (50, 14)
    assert chunk.observation_ns == 7
    assert chunk.server_ms == 1.5
    assert chunk.inference_ms > 0


def test_a_stock_server_without_metadata_is_accepted_and_its_time_is_not_a_number():
    bare = msgpack_numpy.pack({"actions": np.zeros((10, 14))})
    with server(answering(bare, metadata=b"\x80")) as address, running(address) as it:
        chunk = it.outcome().chunk
        assert it.client.state.facts.action_dim == 0
    assert chunk is not None
    assert math.isnan(chunk.server_ms)


def test_pings_are_answered_while_nothing_is_asked():
    answered = threading.Event()

    def handler(connection):
        connection.send(METADATA)
        if connection.ping().wait(5.0):
            answered.set()
        connection.recv()

    with server(handler) as address, running(address) as it:
        it.until_connected()
        wait_until(answered.is_set, "the ping is answered")


def test_nobody_there_is_said_and_tried_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with running(ServerAddress("127.0.0.1", port)) as it:
        wait_until(lambda: "connection refused" in it.client.state.reason, "the refusal is shown")

        def handler(connection):
            connection.send(METADATA)
            connection.recv()

        with serve(handler, "127.0.0.1", port, compression=None, max_size=None) as late:
            thread = threading.Thread(target=late.serve_forever, daemon=True)
            thread.start()
            it.until_connected()
            late.shutdown()


def test_a_request_handed_in_as_the_connection_is_lost_gets_its_result(monkeypatch):
    leave, is_idle = threading.Event(), PolicyClient.is_idle

    def handler(connection):
        if leave.is_set():  # for ever unreachable from then on
            return
        connection.send(METADATA)
        leave.wait(10)

    def slowly(client):
        idle = is_idle.fget(client)
        if idle and not leave.is_set():
            leave.set()  # the connection is lost after it was found idle, and before the request is there
            deadline = time.monotonic() + 0.5
            while client.state.connection is Connection.CONNECTED and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.1)
        return idle

    with server(handler) as address, running(address) as it:
        it.until_connected()
        monkeypatch.setattr(PolicyClient, "is_idle", property(slowly))
        assert it.client.submit(request())
        results = []
        wait_until(lambda: results.extend(it.client.take_results()) or results, "the result")
        assert results[0].chunk is None and "closed the connection" in results[0].reason


def test_the_api_key_is_sent_and_never_shown():
    headers = []

    def handler(connection):
        headers.append(connection.request.headers.get("Authorization"))
        connection.send(METADATA)
        connection.recv()
        connection.send("RuntimeError: x")

    with server(handler) as address, running(address, api_key="top-secret") as it:
        outcome = it.outcome()
        shown = repr(it.client._config) + repr(it.client.state) + outcome.reason + "".join(it.log)
    assert headers[0] == "Api-Key top-secret"
    assert "top-secret" not in shown


def test_a_new_epoch_makes_the_connection_again_and_is_reported_with_the_new_metadata():
    epochs = iter([14, 26])

    def handler(connection):
        connection.send(msgpack_numpy.pack({"action_dim": next(epochs)}))
        for _ in connection:
            pass

    with server(handler) as address, running(address) as it:
        it.until_connected()
        assert it.client.state.epoch == -1
        it.client.reconnect(3)
        assert not it.client.is_idle
        wait_until(lambda: it.client.state.epoch == 3, "the connection is made again")
        assert it.client.state.connection is Connection.REFUSED


def test_a_request_under_way_is_called_off_by_a_reconnection():
    with server(unanswering()) as address, running(address) as it:
        it.until_connected()
        assert it.client.submit(request(5))
        it.client.reconnect(1)
        wait_until(lambda: it.client.state.epoch == 1 and it.client.is_idle, "the client is idle again")
        assert [(outcome.tag, outcome.reason) for outcome in it.client.take_results()] == [
            (5, "the connection was made again")
        ]


def test_a_second_request_is_not_taken_while_one_is_under_way():
    with server(answering(reply())) as address, running(address) as it:
        it.until_connected()
        blocked = threading.Event()
        slow = InferenceRequest(1, lambda _facts: blocked.wait(5.0) and {"state": 1}, np.zeros(14), 0)
        assert it.client.submit(slow)
        assert not it.client.submit(request(2))
        blocked.set()


def test_an_observation_that_cannot_be_built_is_not_sent():
    received = []

    def handler(connection):
        connection.send(METADATA)
        received.extend(connection)

    def build(_facts):
        raise ObservationError("ego_cam sent rubbish")

    with server(handler) as address, running(address) as it:
        outcome = it.outcome(InferenceRequest(1, build, np.zeros(14), 0))
        assert (outcome.reason, outcome.was_sent) == ("ego_cam sent rubbish", False)
        assert it.client.is_idle
    assert received == []


def test_a_bug_while_building_is_logged_and_the_client_lives_on():
    def build(_facts):
        raise ZeroDivisionError

    with server(answering(reply())) as address, running(address) as it:
        assert it.outcome(InferenceRequest(1, build, np.zeros(14), 0)).chunk is None
        assert any("ZeroDivisionError" in line for line in it.log)
        assert it.outcome(request(2)).chunk is not None


def test_a_request_arrives_as_it_was_built():
    received = []

    def handler(connection):
        connection.send(METADATA)
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                received.append(msgpack_numpy.unpack(message))
                connection.send(reply())

    with server(handler) as address, running(address) as it:
        for size in (0, 1, 2, 3, 150_528):
            build = {"x": np.arange(size, dtype=np.uint32).astype(np.uint8), "state": np.zeros(14)}
            it.outcome(InferenceRequest(size, lambda _facts, build=build: build, np.zeros(14), 0))
            np.testing.assert_equal(received.pop(), build)


def test_a_stop_ends_the_thread_in_the_middle_of_anything():
    with server(unanswering()) as address, running(address) as it:
        it.until_connected()
        it.client.submit(request())
        it.client.stop()
        assert not it.client._thread.is_alive()
        assert it.client.state.connection is Connection.DISCONNECTED
