# SPDX-License-Identifier: Apache-2.0
"""One connection to one hand: whole blocks in, whole blocks out, or `HandLostError`.

Every doubt ends the connection. A hand that answered late, twice, with the wrong length or to another question cannot
be distinguished from one that answers the next question wrongly, and a reconnection costs a second at most.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
from collections.abc import Sequence

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU

from h1_inspire_driver.registers import Block

logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)
"""What pymodbus would log at every attempt is reported once, by name, through `HandLostError`."""
_ID_COUNT = 1 << 16


class HandLostError(ConnectionError):
    """The hand cannot be reached, or no longer be believed. The message says which, for a person."""


class HandLink:
    """A Modbus TCP client of one hand; used from one thread.

    Args:
        host: address of the hand.
        port: its TCP port.
        unit_id: Modbus unit id.
        timeout_s: longest wait for a connection, and for an answer.
    """

    def __init__(self, host: str, port: int, *, unit_id: int, timeout_s: float) -> None:
        self.address = f"{host}:{port}"
        self._unit_id = unit_id
        self._timeout_s = timeout_s
        self._client = ModbusTcpClient(host, port=port, timeout=timeout_s, retries=0)
        self._framer = make_tolerant(self._client)
        self._answered = False

    @property
    def has_unread(self) -> bool:
        """Something has arrived that was not asked for: bytes, or the connection's end."""
        sock = self._client.socket
        return sock is not None and bool(select.select([sock], [], [], 0)[0])

    def connect(self) -> None:
        """Open the connection.

        Raises:
            HandLostError: nobody answers at the address.
        """
        self._answered = False
        try:
            self._client.socket = socket.create_connection(
                (self._client.comm_params.host, self._client.comm_params.port), timeout=self._timeout_s
            )
        except TimeoutError:
            raise HandLostError(
                f"{self.address} does not answer; is the hand powered, is its cable plugged in (ping it)?"
            ) from None
        except OSError as error:
            raise HandLostError(f"{self.address} cannot be reached ({error.strerror or error})") from None
        self._client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connection; safe to call at any time."""
        self._client.close()  # type: ignore[no-untyped-call]

    def read(self, block: Block) -> list[int]:
        """The registers of `block`, each 0..65535.

        Raises:
            HandLostError: no good answer in time; the connection is closed.
        """
        answer = self._ask(block, None)
        if answer.function_code != 3 or len(answer.registers) != block.count:
            raise self._lost(f"{self.address} answered something else than {block.count} registers of {block.name}")
        return list(answer.registers)

    def write(self, block: Block, values: Sequence[int]) -> None:
        """Write the registers of `block` and wait for the acknowledgement; negative values as two's complement.

        Raises:
            HandLostError: not acknowledged in time; the connection is closed.
        """
        if len(values) != block.count:
            raise ValueError(f"{block.name} takes {block.count} values; got {len(values)}")
        answer = self._ask(block, [value & 0xFFFF for value in values])
        if answer.function_code != 16 or (answer.address, answer.count) != (block.address, block.count):
            raise self._lost(f"{self.address} acknowledged something else than a write of {block.name}")

    def _ask(self, block: Block, values: list[int] | None) -> ModbusPDU:
        """One request and its answer."""
        sock = self._client.socket
        if sock is None:
            raise HandLostError(f"{self.address} is not connected")
        if self.has_unread:
            raise self._lost(self._ended() if self._is_at_end(sock) else f"{self.address} sent what nobody asked for")
        try:
            if values is None:
                answer = self._client.read_holding_registers(block.address, count=block.count, device_id=self._unit_id)
            else:
                answer = self._client.write_registers(block.address, values, device_id=self._unit_id)
        except (ConnectionException, OSError):
            raise self._lost(self._ended()) from None
        except (ModbusException, struct.error, ValueError, IndexError):
            why = f"{self.address} did not answer properly to {block.name} within {self._timeout_s:g} s"
            raise self._lost(why) from None
        if self._framer.bytes_behind:
            raise self._lost(f"{self.address} sent {self._framer.bytes_behind} bytes more than the answer")
        if answer.isError():
            raise self._lost(
                f"{self.address} refuses {block.name} (Modbus exception {answer.exception_code}); is it an RH56DFTP?"
            )
        self._answered = True
        return answer

    @staticmethod
    def _is_at_end(sock: socket.socket) -> bool:
        """Is what there is to read only the end of the connection?"""
        try:
            return not sock.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _ended(self) -> str:
        """Why the other end may have closed the connection."""
        if self._answered:
            return f"{self.address} closed the connection"
        return f"{self.address} closed the connection at once; a hand serves one client: is another one connected?"

    def _lost(self, why: str) -> HandLostError:
        self.close()
        return HandLostError(why)


class TolerantFramer(FramerSocket):
    """Takes an answer whose transaction id is that of its request, one less or one more: the hand's are off by one.

    Reported of the real firmware by `inspire_rh56dftp` 0.1.0 (`client.py`, module docstring). pymodbus compares ids
    strictly and has no switch for it: every read then times out. Accepting a neighbouring id is safe only because one
    request at most is ever under way on a connection, the connection is closed after a time-out, and bytes that nobody
    asked for, before a request or behind its answer, close it as well: a late answer can never be taken for the answer
    to a later question.

    Attributes:
        bytes_behind: how many bytes arrived together with the last answer, behind it.
    """

    bytes_behind = 0

    def handleFrame(  # noqa: N802 (pymodbus's name)
        self, data: bytes, exp_devid: int, exp_tid: int
    ) -> tuple[int, ModbusPDU | None]:
        """Frame `data`, which is all that has arrived since the request; see `FramerBase.handleFrame`."""
        used, pdu = super().handleFrame(data, exp_devid, 0)
        self.bytes_behind = len(data) - used if pdu is not None else 0
        if pdu is not None and (pdu.transaction_id - exp_tid + 1) % _ID_COUNT <= 2:
            pdu.transaction_id = exp_tid
        return used, pdu


def make_tolerant(client: ModbusTcpClient) -> TolerantFramer:
    """Give a synchronous client the tolerant framer, and return it. Doing it twice is doing it once."""
    if isinstance(client.framer, TolerantFramer):
        return client.framer
    framer = TolerantFramer(DecodePDU(False))
    client.framer = client.transaction.framer = framer
    return framer
