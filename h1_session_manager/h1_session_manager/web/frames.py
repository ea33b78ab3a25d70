# SPDX-License-Identifier: Apache-2.0
"""The cameras' JPEGs on their way to the pages: untouched, newest only, and never faster than a page takes them.

A page acknowledges what it has shown. At most two messages are under way to it, so that a slow network drops frames
instead of filling buffers with old ones, and no page waits for another.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

MOST_UNDER_WAY = 2
GATHER_S = 0.03
"""Images that arrive within this time go in one message."""
_HEAD = struct.Struct("<BxxxId")


class CdrError(ValueError):
    """Not a serialized sensor_msgs/CompressedImage."""


def jpeg_of(cdr: bytes) -> tuple[int, memoryview]:
    """Stamp in ns and the data of a serialized sensor_msgs/CompressedImage, without a copy.

    Source of the layout: OMG DDS-XTypes, plain CDR version 1, little endian: four bytes of encapsulation, then
    stamp, frame_id, format, data; each length is aligned to four bytes, counted from behind the encapsulation.

    Raises:
        CdrError: it ends before its data, or has another encoding.
    """
    view = memoryview(cdr)
    if len(view) < 4 or view[0] != 0 or view[1] != 1:
        raise CdrError("not in little-endian CDR")
    at = 4
    try:
        sec, nanosec = struct.unpack_from("<iI", view, at)
        at += 8
        for _ in ("frame_id", "format"):
            (length,) = struct.unpack_from("<I", view, at)
            at += 4 + length
            at += -at % 4
        (length,) = struct.unpack_from("<I", view, at)
    except struct.error:
        raise CdrError(f"ends after {len(view)} bytes, within its header") from None
    at += 4
    if at + length > len(view):
        raise CdrError(f"says {length} bytes of data, has {len(view) - at}")
    return sec * 1_000_000_000 + nanosec, view[at : at + length]


class Frames:
    """The newest image of each camera, for any number of pages.

    Args:
        cameras: their names; a page knows them by their places in this order.
    """

    def __init__(self, cameras: tuple[str, ...]) -> None:
        self.cameras = cameras
        self._newest: list[tuple[int, int, memoryview]] = [(0, 0, memoryview(b""))] * len(cameras)
        self._arrived = asyncio.Event()
        self._shared: tuple[tuple[int, ...], tuple[int, ...], bytes] | None = None
        self.watchers = 0

    def put(self, camera: int, stamp_ns: int, jpeg: memoryview) -> None:
        """The newest of a camera. In the event loop's thread."""
        self._newest[camera] = (self._newest[camera][0] + 1, stamp_ns, jpeg)
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()

    async def newer(self, than: tuple[int, ...]) -> tuple[tuple[int, ...], bytes]:
        """Wait until any camera has an image that is newer; returns the numbers of the newest and one message.

        Args:
            than: number of each camera's last image that the page has.

        Returns:
            The numbers, and for each newer image: camera's place u8, 3 bytes of nothing, length u32, stamp f64 (s);
            then its bytes. Little endian.
        """
        while self._numbers() == than:
            await self._arrived.wait()
        await asyncio.sleep(GATHER_S)
        numbers = self._numbers()
        if self._shared is None or self._shared[:2] != (than, numbers):
            parts: list[bytes | memoryview] = []
            for place, (number, stamp_ns, jpeg) in enumerate(self._newest):
                if number != than[place]:
                    parts += [_HEAD.pack(place, len(jpeg), stamp_ns / 1e9), jpeg]
            self._shared = (than, numbers, b"".join(parts))
        return numbers, self._shared[2]

    def nothing(self) -> tuple[int, ...]:
        """The numbers of a page that has no image yet."""
        return (0,) * len(self.cameras)

    def _numbers(self) -> tuple[int, ...]:
        return tuple(number for number, _, _ in self._newest)


class Window(asyncio.BoundedSemaphore):
    """How many messages are under way to one page; `acquire` waits until one more may go."""

    def __init__(self) -> None:
        super().__init__(MOST_UNDER_WAY)

    def acknowledge(self) -> None:
        """The page has shown one; what it was never sent opens nothing."""
        with contextlib.suppress(ValueError):
            self.release()
