# SPDX-License-Identifier: Apache-2.0
"""A Modbus TCP framer that tolerates the hand's transaction ids, which are off by one.

Reported of the real firmware by `inspire_rh56dftp` 0.1.0 (`client.py`, module docstring). pymodbus compares ids
strictly and has no switch for it: every read then times out. Accepting a neighbouring id is safe only because one
request at most is ever under way on a connection, the connection is closed after a time-out, and bytes that nobody
asked for, before a request or behind its answer, close it as well (`hand_link.py`): a late answer can never be taken
for the answer to a later question.
"""

from __future__ import annotations

from pymodbus.client import ModbusTcpClient
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU

_ID_COUNT = 1 << 16


class TolerantFramer(FramerSocket):
    """Takes an answer whose transaction id is that of its request, one less or one more.

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
