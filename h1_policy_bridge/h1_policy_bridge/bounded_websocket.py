"""websocket-client with a limit on what it reads, a mask that costs nothing, and an ear for whether the peer lives."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import websocket
from websocket._abnf import frame_buffer

from h1_policy_bridge.transport import LinkError


class BoundedWebSocket(websocket.WebSocket):
    """Refuses a message by its announced length, before its bytes are taken into memory.

    Attributes:
        heard_s: when the last whole frame came, pongs included; time.monotonic.
    """

    def __init__(self, max_bytes: int, **options: Any) -> None:
        super().__init__(skip_utf8_validation=True, **options)
        self._bounded = self.frame_buffer = _BoundedFrameBuffer(self._recv, max_bytes)
        self.heard_s = time.monotonic()

    def recv_frame(self) -> Any:
        frame = self._bounded.recv_frame()
        self._bounded.count(frame)
        self.heard_s = time.monotonic()
        return frame


class _BoundedFrameBuffer(frame_buffer):
    """websocket-client's reader of frames, with a limit on a message's length, over all its fragments."""

    def __init__(self, receive: Any, max_bytes: int) -> None:
        super().__init__(receive, skip_utf8_validation=True)
        self._max_bytes = max_bytes
        self._received = 0

    def recv_length(self) -> None:
        super().recv_length()
        length = self._received + (self.length or 0)
        if length > self._max_bytes:
            raise LinkError(f"the policy server sent a message of {length} bytes; at most {self._max_bytes} are read")

    def count(self, frame: Any) -> None:
        """Remember what came of a message that is not whole yet."""
        if frame.opcode in (websocket.ABNF.OPCODE_CONT, websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            self._received = 0 if frame.fin else self._received + len(frame.data)


class NumpyMaskedFrame(websocket.ABNF):
    """A frame masked by numpy: 450 kB in 0.1 ms, where websocket-client's big integers take 1.9."""

    def _get_masked(self, mask_key: str | bytes) -> bytes:
        key = mask_key.encode("latin-1") if isinstance(mask_key, str) else mask_key
        assert isinstance(self.data, bytes)
        data = np.frombuffer(self.data, np.uint8)
        masked = np.empty(len(key) + data.size, np.uint8)
        masked[: len(key)] = np.frombuffer(key, np.uint8)
        body, whole = masked[len(key) :], data.size // 4 * 4
        np.bitwise_xor(data[:whole].view(np.uint32), np.frombuffer(key, np.uint32), out=body[:whole].view(np.uint32))
        np.bitwise_xor(data[whole:], np.frombuffer(key, np.uint8)[: data.size - whole], out=body[whole:])
        return masked.tobytes()


logging.getLogger("websocket").addHandler(logging.NullHandler())
