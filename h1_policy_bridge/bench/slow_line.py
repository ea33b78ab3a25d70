# SPDX-License-Identifier: Apache-2.0
"""A line of so many Mbit/s to a server: `tc` in a network namespace where that is allowed, else a pacing proxy.

The namespace has one veth pair with a token bucket (tbf) at either end, so requests and replies are paced alike by the
kernel. Without the right to make one (root, `ip`, `tc`), a proxy in this process forwards by a token bucket of its own,
which paces bytes and not packets; the bench says which it was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

_BURST_BYTES = 16 * 1024
_QUEUE_BYTES = 4 * 1024 * 1024
"""More than any request: nothing is dropped, so it is the rate alone that is measured."""
_PIECE_BYTES = 8 * 1024


@dataclass(frozen=True)
class Line:
    """Where a server behind a line is to listen, and how it is started there.

    Attributes:
        host: address that reaches it.
        prefix: of the command that starts it.
        how: for a person.
    """

    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    how: str = "loopback"


@contextlib.contextmanager
def namespace(mbit: int) -> Iterator[Line]:
    """A network namespace behind `mbit` Mbit/s in each direction.

    Raises:
        OSError: it cannot be had; says why.
    """
    name = f"h1bench{os.getpid()}"
    here, there = f"h1b{os.getpid()}a", f"h1b{os.getpid()}b"
    near, far = (f"198.18.{os.getpid() % 256}.{end}" for end in (1, 2))  # RFC 2544: for benchmarks of networks
    inside = ("ip", "netns", "exec", name)
    shaped = ("root", "tbf", "rate", f"{mbit}mbit", "burst", str(_BURST_BYTES), "limit", str(_QUEUE_BYTES))
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", here, "type", "veth", "peer", "name", there)
        _run("ip", "link", "set", there, "netns", name)
        _run("ip", "address", "add", f"{near}/30", "dev", here)
        _run("ip", "link", "set", here, "up")
        _run(*inside, "ip", "address", "add", f"{far}/30", "dev", there)
        _run(*inside, "ip", "link", "set", there, "up")
        _run("tc", "qdisc", "add", "dev", here, *shaped)
        _run(*inside, "tc", "qdisc", "add", "dev", there, *shaped)
        yield Line(far, inside, f"tc, {mbit} Mbit/s")
    finally:
        for command in (("ip", "link", "delete", here), ("ip", "netns", "delete", name)):
            subprocess.run(command, capture_output=True, check=False)


def why_no_namespace() -> str:
    """Empty if namespaces can be had."""
    try:
        with namespace(100):
            return ""
    except OSError as error:
        return str(error)


def _run(*command: str) -> None:
    if shutil.which(command[0]) is None:
        raise OSError(f"no program '{command[0]}'")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command[:3])}: {done.stderr.strip() or done.returncode}")


@contextlib.contextmanager
def proxy(port: int, mbit: int) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to `port` at `mbit` Mbit/s in each direction."""
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port))
                ends.extend((near, far))
                for source, sink in ((near, far), (far, near)):
                    sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=_pace, args=(source, sink, mbit * 1e6 / 8), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        for end in (listener, *ends):
            end.close()


def _pace(source: socket.socket, sink: socket.socket, bytes_per_s: float) -> None:
    """Forward until either end closes; the bucket holds `_BURST_BYTES`."""
    due_s = time.monotonic()
    with contextlib.suppress(OSError):
        while data := source.recv(_PIECE_BYTES):
            due_s = max(due_s, time.monotonic() - _BURST_BYTES / bytes_per_s) + len(data) / bytes_per_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
