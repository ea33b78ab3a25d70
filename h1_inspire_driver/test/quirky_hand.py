# SPDX-License-Identifier: Apache-2.0
"""A Modbus TCP server that behaves as badly as hands in the field do, on a free port of 127.0.0.1, in a thread.

Written on bare sockets, so that it shares nothing with what it tests.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

ANGLE_ACT, ANGLE_SET, SPEED_SET, FORCE_SET, CLEAR_ERROR = 1546, 1486, 1522, 1498, 1004
READABLE = {1546: 6, 1582: 6, 1594: 6, 1606: 3, 1612: 3, 1618: 3}
WRITABLE = {1486: 6, 1498: 6, 1522: 6, 1004: 1}


@dataclass(frozen=True)
class Write:
    """A write that arrived."""

    time_ns: int
    address: int
    values: tuple[int, ...]


@dataclass
class Quirks:
    """What is wrong with this hand; may be changed while it serves.

    Attributes:
        id_offset: added to the transaction id of every answer.
        delay_s: before each answer; asked again each time.
        drop: asked before each answer; True closes the connection instead.
        is_mute: answers nothing.
        answers: how many times each answer is sent.
        garble: turns the bytes of an answer into others.
        refuses: function code of Modbus exceptions instead of answers, by address.
        single_client: a second client is turned away at once.
        slot_pause_s: after a close, everybody is turned away for this long.
    """

    id_offset: int = 0
    delay_s: Callable[[], float] = lambda: 0.0
    drop: Callable[[], bool] = lambda: False
    is_mute: bool = False
    answers: int = 1
    garble: Callable[[bytes], bytes] = lambda answer: answer
    refuses: set[int] = field(default_factory=set)
    single_client: bool = True
    slot_pause_s: float = 0.0


class QuirkyHand:
    """Serves until `close`.

    Attributes:
        registers: by base address of the block; what is read.
        writes: every write, in order.
        clients: connections that were served.
        turned_away: connections that were closed at once.
    """

    def __init__(self, quirks: Quirks | None = None, port: int = 0) -> None:
        self.quirks = quirks or Quirks()
        self.registers = {address: [0] * count for address, count in READABLE.items()}
        self.registers[ANGLE_ACT] = [1000, 900, 800, 700, 600, 500]
        self.writes: list[Write] = []
        self.reads: list[int] = []
        self.clients = 0
        self.turned_away = 0
        self._closed_at = 0.0
        self._is_closing = False
        self._current: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def written(self, address: int) -> list[tuple[int, ...]]:
        """The values of every write to the block at `address`."""
        return [write.values for write in list(self.writes) if write.address == address]

    def drop_client(self) -> None:
        """Close the connection to whoever is connected."""
        if self._current is not None:
            self._current.shutdown(socket.SHUT_RDWR)

    def send(self, data: bytes) -> None:
        """Send something unasked."""
        assert self._current is not None
        self._current.sendall(data)

    def close(self) -> None:
        """Switch the hand off."""
        self._is_closing = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._current is not None:
            self._current.close()

    def _accept(self) -> None:
        while not self._is_closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            busy = self.quirks.single_client and self._current is not None
            if busy or time.monotonic() < self._closed_at + self.quirks.slot_pause_s:
                self.turned_away += 1
                client.close()
                continue
            self.clients += 1
            self._current = client
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                while request := self._request(client):
                    answer = self._answer(*request)
                    time.sleep(self.quirks.delay_s())  # a slow hand, not a wait
                    if self.quirks.drop():
                        return
                    if not self.quirks.is_mute:
                        client.sendall(self.quirks.garble(answer) * self.quirks.answers)
        except OSError:
            pass
        finally:
            self._closed_at = time.monotonic()
            self._current = None

    def _request(self, client: socket.socket) -> tuple[int, int, bytes] | None:
        header = self._exactly(client, 7)
        if not header:
            return None
        transaction, _, length, unit = struct.unpack(">HHHB", header)
        return transaction, unit, self._exactly(client, length - 1)

    @staticmethod
    def _exactly(client: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = client.recv(count - len(data))
            if not part:
                return b""
            data += part
        return data

    def _answer(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        function, address, count = struct.unpack(">BHH", pdu[:5])
        allowed = {3: READABLE, 16: WRITABLE}.get(function, {})
        if address in self.quirks.refuses or allowed.get(address) != count:
            body = struct.pack(">BB", function | 0x80, 2)
        elif function == 3:
            self.reads.append(address)
            body = struct.pack(f">BB{count}H", 3, 2 * count, *(value & 0xFFFF for value in self.registers[address]))
        else:
            values = struct.unpack(f">{count}h", pdu[6:])
            self.writes.append(Write(time.monotonic_ns(), address, values))
            body = pdu[:5]
        identity = (transaction + self.quirks.id_offset) % 65536
        return struct.pack(">HHHB", identity, 0, len(body) + 1, unit) + body
