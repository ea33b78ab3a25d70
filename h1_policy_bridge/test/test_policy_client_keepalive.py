# SPDX-License-Identifier: Apache-2.0
"""A quiet connection is kept, a busy server is tolerated, a dead one is noticed. All times are short, in proportion."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import websockets.asyncio.server
from policy_builders import METADATA, answering, reply, server
from policy_wire import accept_handshake, frame, raw_server, running

from h1_policy_bridge.connection import ServerAddress
from h1_training_testing import wait_until


def limits(**changes: float) -> dict[str, float]:
    values = {"connect_timeout_s": 5.0, "handshake_timeout_s": 5.0, "ping_interval_s": 0.05, "silence_s": 60.0}
    return {**values, **changes}


@contextlib.contextmanager
def blocking_server(first_inference_s: float):
    """As openpi's: infers inside its event loop, so that nothing is answered meanwhile, and compiles first."""
    started, loop, ended = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    bound: list[int] = []
    first = [True]

    async def converse(connection):
        await connection.send(METADATA)
        async for _ in connection:
            if first:
                time.sleep(first_inference_s)  # the slow peer itself, not a wait: its event loop stands still
            await connection.send(reply())
            first.clear()

    async def serve() -> None:
        serving = websockets.asyncio.server.serve(
            converse, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=0.5, ping_timeout=0.5
        )
        async with serving as running_server:
            bound.append(running_server.sockets[0].getsockname()[1])
            started.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    started.wait()
    try:
        yield ServerAddress("127.0.0.1", bound[0])
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def test_a_server_that_answers_nothing_while_it_compiles_is_waited_for():
    """Server: a ping every 0.5 s, 0.5 s of patience, 1 s for the first inference; in real life 20, 20 and 40 s."""
    with blocking_server(1.0) as address, running(address, **limits(), first_request_timeout_s=30.0) as it:
        it.until_connected()
        # The server may miss the answers to its own pings, which it could not read, and close: then once more.
        chunks = [it.outcome().chunk for _ in range(6)]
        assert any(chunk is not None and chunk.inference_ms >= 1000.0 for chunk in chunks)
        assert chunks[-1] is not None


def test_a_quiet_connection_is_kept_alive_by_pings():
    received = []

    def behaviour(connection, stop):
        accept_handshake(connection)
        connection.sendall(frame(METADATA))
        while not stop.is_set():
            head = connection.recv(2)
            if head[:1] != b"\x89":
                return
            connection.recv(4 + (head[1] & 0x7F))
            received.append(head)
            connection.sendall(frame(b"", opcode=0x0A))

    # The patience is longer than any stall of the machine, and the pings go on for longer than it.
    with raw_server(behaviour) as address, running(address, **limits(ping_interval_s=0.25, silence_s=2.0)) as it:
        wait_until(lambda: len(received) >= 9, "pings arrive")
        assert it.client.state.connections == 1


def test_a_server_that_hangs_while_nothing_is_asked_is_noticed():
    def behaviour(connection, stop):
        accept_handshake(connection)
        connection.sendall(frame(METADATA))
        stop.wait(30.0)

    with raw_server(behaviour) as address, running(address, **limits(silence_s=0.2)) as it:
        wait_until(lambda: "has answered no ping for" in it.client.state.reason, "the silence is noticed")


def test_pings_do_not_disturb_requests():
    with server(answering(reply())) as address, running(address, **limits(ping_interval_s=0.001)) as it:
        assert all(it.outcome().chunk is not None for _ in range(20))
        assert it.client.state.connections == 1
