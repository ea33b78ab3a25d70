# SPDX-License-Identifier: Apache-2.0
"""wss: certificates are checked, and what is wrong is said with what to do."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import numpy as np
import pytest
from policy_builders import METADATA, answering, reply, server
from policy_protocol_builders import ACTIONS, asked, expected
from policy_servers import answer_json, http_server
from policy_wire import frame, handshake_answer, raw_server, running

from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.parameters import BridgeParameters
from h1_policy_bridge.values import InferenceRequest
from h1_training_testing import wait_until

TLS_FILE = Path(__file__).with_name("policy_tls.pem")
"""A certificate for 127.0.0.1 that vouches for itself, and its key."""


def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS_FILE)
    return context


def until_shown(it, words: str) -> None:
    wait_until(lambda: words in it.client.state.reason, f"'{words}' is shown")


def test_an_authority_of_the_system_is_enough(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS_FILE))
    with (
        server(answering(reply()), ssl=tls()) as address,
        running(ServerAddress("wss://127.0.0.1", address.port)) as it,
    ):
        assert it.outcome().chunk is not None
        big = {"x": np.zeros(450_000, np.uint8)}
        assert it.outcome(InferenceRequest(2, lambda _facts: big, np.zeros(14), 0)).chunk is not None


def test_an_authority_may_be_named_in_a_file():
    config = BridgeParameters(ca_file=str(TLS_FILE)).client_config({})
    secure = server(answering(reply()), ssl=tls())
    with secure as address, running(ServerAddress("wss://127.0.0.1", address.port), ca_file=config.link.ca_file) as it:
        assert it.outcome().chunk is not None


def test_a_certificate_that_nobody_vouches_for_is_refused():
    with (
        server(answering(reply()), ssl=tls()) as address,
        running(ServerAddress("wss://127.0.0.1", address.port)) as it,
    ):
        until_shown(it, "certificate not accepted (self-signed certificate); name its authority's PEM file")


def test_a_certificate_of_another_host_is_refused(monkeypatch):
    here = socket.getaddrinfo("127.0.0.1", 0, type=socket.SOCK_STREAM)[0]
    secure = server(answering(reply()), ssl=tls())
    with secure as address, monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", lambda *_, **__: [(*here[:4], ("127.0.0.1", address.port))])
        with running(ServerAddress("wss://elsewhere.example", address.port), ca_file=str(TLS_FILE)) as it:
            until_shown(it, "is the name in 'host' the certificate's?")


def test_https_is_checked_alike_for_each_request():
    peers = set()

    def respond(handler, _observation) -> None:
        peers.add(handler.client_address)
        answer_json(handler, ACTIONS.tolist())

    with http_server(respond, tls=tls()) as address:
        where = ServerAddress("https://127.0.0.1", address.port)
        with running(where, protocol="http", expected=expected("openvla_oft"), ca_file=str(TLS_FILE)) as it:
            for tag in range(5):
                assert it.outcome(asked("openvla_oft", tag)).chunk is not None
            assert it.client.state.connections == 1
        with running(where, protocol="http") as it:
            until_shown(it, "certificate not accepted (self-signed certificate)")
    assert len(peers) == 5  # a connection each


def test_a_server_without_tls_is_said_to_be_none():
    with server(answering(reply())) as address, running(ServerAddress("wss://127.0.0.1", address.port)) as it:
        until_shown(it, "does this port use TLS (wss://), or plain ws://?")


def test_a_server_with_tls_that_is_asked_without_is_a_reason():
    with server(answering(reply()), ssl=tls()) as address, running(address) as it:
        until_shown(it, "breaks off the WebSocket handshake; check the port; does it want wss://?")


def test_a_tls_handshake_that_is_not_answered_is_given_up():
    limits = {"connect_timeout_s": 0.2, "handshake_timeout_s": 2.0}
    mute = socket.create_server(("127.0.0.1", 0))
    with mute, running(ServerAddress("wss://127.0.0.1", mute.getsockname()[1]), **limits) as it:
        until_shown(it, "the handshake was not answered in time")


def test_half_a_tls_record_does_not_keep_the_client_from_ending():
    def behaviour(connection, stop):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inside = tls().wrap_bio(incoming, outgoing, server_side=True)

        def until(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    incoming.write(connection.recv(65536))

        until(inside.do_handshake)
        request = b""
        while b"\r\n\r\n" not in request:
            request += until(lambda: inside.read(65536))
        inside.write(handshake_answer(request))
        inside.write(frame(METADATA))
        connection.sendall(outgoing.read())
        inside.write(frame(reply()))
        connection.sendall(outgoing.read()[:100])
        stop.wait(10.0)

    raw = raw_server(behaviour)
    with raw as address, running(ServerAddress("wss://127.0.0.1", address.port), ca_file=str(TLS_FILE)) as it:
        it.until_connected()
        it.client.stop(timeout_s=10.0)
        assert not it.client._thread.is_alive()


@pytest.mark.parametrize(("content", "words"), [("rubbish", "no certificate in PEM form"), (None, "No such file")])
def test_a_file_without_a_certificate_is_refused_at_the_start(tmp_path, content, words):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=f"'ca_file': cannot use .*{words}"):
        BridgeParameters(ca_file=str(path)).client_config({})
