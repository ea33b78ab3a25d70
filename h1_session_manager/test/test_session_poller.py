# SPDX-License-Identifier: Apache-2.0
"""The poller against real HTTP servers, most of which misbehave."""

import json
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.sync import server as websockets_server

from h1_session_manager.parameters import SessionParameters
from h1_session_manager.poller import MOST_BYTES, Poller, PollError, parse, poll
from h1_session_manager.values import Polled
from h1_training_testing import wait_until

TLS_FILE = Path(__file__).with_name("session_tls.pem")
"""A certificate for 127.0.0.1 that vouches for itself, and its key."""


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None], *, tls: bool = False) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS_FILE)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/training_status"
    finally:
        server.shutdown()
        server.server_close()


def replying(body: bytes, status: int = 200) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "text/plain; charset=utf-8")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_the_documented_reply_is_understood_though_it_is_plain_text():
    with serving(replying(b'{"ready": true, "epoch": 3}\n')) as url:
        assert poll(url) == Polled(ready=True, epoch=3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"OK", "no JSON: OK"),
        (b" \n", "the reply is empty"),
        (b"\x1b[2J\x1b]0;mine\x07", "no JSON: [2J ]0;mine"),
        (b"[true, 3]", 'not {"ready"'),
        (b'{"ready": 1, "epoch": 3}', "'ready' is 1, expected true or false"),
        (b'{"ready": true}', "'epoch' is null, expected a whole number"),
        (b'{"ready": true, "epoch": true}', "'epoch' is true"),
        (b'{"ready": true, "epoch": -1}', "'epoch' is -1"),
        (b'{"ready": true, "epoch": 1.5}', "'epoch' is 1.5"),
        (b'{"ready": true, "epoch": 99999999999999999999}', "'epoch' is 99999999999999999999"),
        (b"\xff\xfe{}", "no JSON"),
    ],
)
def test_anything_else_is_an_error_that_shows_what_came(body, message):
    with serving(replying(body)) as url:
        assert message in poll(url).error


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_reply_whatever_breaks_the_parser(body):
    with suppress(PollError):
        assert isinstance(parse(body), Polled)


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5))
def test_no_json_whatever_breaks_the_parser(document):
    with suppress(PollError):
        parse(json.dumps(document).encode())


def test_another_status_is_named():
    with serving(replying(b"Failed", 426)) as url:
        assert "answered 426" in poll(url).error


def test_a_redirect_is_not_followed():
    with serving(replying(b"", 302)) as url:
        assert "answered 302" in poll(url).error


def test_an_endless_reply_is_cut():
    with serving(replying(b" " * (MOST_BYTES + 10))) as url:
        assert f"longer than {MOST_BYTES} bytes" in poll(url).error


def test_nobody_listening_is_named_as_such():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "Connection refused" in poll(f"http://127.0.0.1:{port}/training_status").error


def test_a_server_that_never_answers_is_left_after_the_time_out():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/training_status"
        assert "did not answer within 0.2 s" in poll(url, 0.2).error


def test_a_server_that_drips_is_left_as_well():
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not stop.wait(0.05):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    with serving(drip) as url:
        assert poll(url, 0.3).error
        stop.set()


def test_a_connection_cut_in_the_middle_is_an_error():
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b'{"ready"')
        handler.connection.shutdown(socket.SHUT_RDWR)

    with serving(cut) as url:
        assert poll(url).error


def test_one_poll_runs_at_a_time():
    results: list[Polled] = []
    go = threading.Event()
    asked: list[int] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(1)
        go.wait(5)
        replying(b'{"ready": false, "epoch": 0}')(handler)

    with serving(answer) as url:
        poller = Poller(url, results.append)
        poller.start()
        wait_until(lambda: asked, "the first poll")
        poller.start()
        go.set()
        wait_until(lambda: results, "a result")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("10.0.0.5", 8000, "http://10.0.0.5:8000/training_status"),
        ("fe80::1", 8000, "http://[fe80::1]:8000/training_status"),
        ("ws://a.example", 8000, "http://a.example:8000/training_status"),
        ("wss://a.example/policy/", 0, "https://a.example/policy/training_status"),
        ("wss://a.example:9", 8000, "https://a.example:9/training_status"),
    ],
)
def test_the_status_is_asked_for_where_the_policy_is_served_however_that_is_written(host, port, url):
    assert SessionParameters(policy_host=host, policy_port=port).status_url == url


def test_the_key_is_sent_as_openpis_client_sends_it_and_to_nobody_without_one():
    seen = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers.get("Authorization"))
        replying(b'{"ready": true, "epoch": 3}')(handler)

    with serving(answer) as url:
        poll(url, api_key="sesame")
        poll(url)
    assert seen == ["Api-Key sesame", None]


def test_through_tls_the_servers_certificate_is_checked():
    with serving(replying(b'{"ready": true, "epoch": 3}'), tls=True) as url:
        assert poll(url, ca_file=str(TLS_FILE)) == Polled(ready=True, epoch=3)
        assert "certificate not accepted; name its authority's PEM file" in poll(url).error


def raw(answer: bytes, drip_s: float = 0.0) -> Callable[[BaseHTTPRequestHandler], None]:
    """Bytes as they are, past the HTTP server's own; with `drip_s`, one by one."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        for byte in answer:
            try:
                handler.wfile.write(bytes([byte]))
            except OSError:
                return
            if drip_s:
                time.sleep(drip_s)

    return send


def test_a_server_that_drips_its_headers_is_left_within_the_time_out():
    began_s = time.monotonic()
    with serving(raw(b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 200, drip_s=0.05)) as url:
        assert "did not answer within 0.3 s" in poll(url, 0.3).error
        assert time.monotonic() - began_s < 2.0


def test_what_a_server_says_of_its_training_is_understood():
    body = {
        "ready": True,
        "epoch": 4,
        "phase": "TRAINING",
        "progress": 0.25,
        "reason": "9 episodes",
        "checkpoint": "e4",
        "curve": [[2, 0.5, 6], [3, 1, 4]],
    }
    with serving(replying(json.dumps(body).encode())) as url:
        assert poll(url) == Polled(
            ready=True,
            epoch=4,
            phase="TRAINING",
            progress=0.25,
            reason="9 episodes",
            checkpoint="e4",
            curve=((2, 0.5, 6), (3, 1.0, 4)),
        )


@pytest.mark.parametrize(
    "curve", [None, "up", [1], [[1, 2, 3]], [[0, 0.5]], [[True, 0.5, 1]], [["1", 0.5, 1]], [[0, 0.5, -1]], {"0": 0.5}]
)
def test_a_curve_that_is_none_is_left_out(curve):
    assert parse(json.dumps({"ready": True, "epoch": 4, "curve": curve}).encode()).curve == ()


@pytest.mark.parametrize("progress", [None, "half", True, -0.1, 1.1, 10**400])
def test_progress_that_is_no_share_is_left_out(progress):
    assert math.isnan(
        parse(json.dumps({"ready": True, "epoch": 4, "progress": progress, "phase": 3}).encode()).progress
    )


def test_an_errors_text_is_printed():
    with serving(replying(b'{"error": "no checkpoint in /models"}')) as url:
        assert "the server reports an error: no checkpoint in /models" in poll(url).error
    with serving(replying(b'{"error": "still loading"}', 503)) as url:
        assert "answered 503 Service Unavailable: still loading" in poll(url).error


def test_a_byte_order_mark_is_tolerated():
    assert parse(b'\xef\xbb\xbf{"ready": true, "epoch": 3}') == Polled(ready=True, epoch=3)


def test_deep_nesting_is_an_error():
    with pytest.raises(PollError, match="nested too deeply"):
        parse(b"[" * 2000)
    with serving(replying(b"[" * (MOST_BYTES - 1))) as url:
        assert "nested too deeply" in poll(url).error


def test_a_redirect_names_where_to():
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(308)
        handler.send_header("Location", "https://policy.example/training_status")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with serving(redirect) as url:
        error = poll(url).error
    assert "it redirects to https://policy.example/training_status: name that address" in error


@pytest.mark.parametrize(
    ("answer", "is_unsupported"),
    [
        (replying(b"Failed to open a WebSocket connection", 426), True),
        (replying(b"", 404), True),
        (replying(b'Can "Upgrade" only to "WebSocket".', 400), True),
        (replying(b"bad request", 400), False),
        (replying(b"", 500), False),
        (replying(b"", 401), False),
        (raw(b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f"), True),  # ZeroMQ's greeting
        (raw(b""), False),
    ],
)
def test_a_server_that_reports_no_training_differs_from_one_that_fails(answer, is_unsupported):
    with serving(answer) as url:
        polled = poll(url)
    assert polled.error
    assert polled.is_unsupported is is_unsupported


def test_websockets_own_server_which_openpi_uses_reports_no_training():
    with websockets_server.serve(lambda _connection: None, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        polled = poll(f"http://127.0.0.1:{port}/training_status")
        server.shutdown()
    assert polled.is_unsupported, polled
