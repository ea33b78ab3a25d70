# SPDX-License-Identifier: Apache-2.0
"""The cameras' images on their way to a page."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage

from h1_session_manager.web.frames import CdrError, Frames, Window, jpeg_of


def serialized(frame_id: str = "head", form: str = "jpeg", data: bytes = b"\xff\xd8data\xff\xd9") -> bytes:
    message = CompressedImage(format=form, data=data)
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = 1_700_000_000, 123_456_789
    return bytes(serialize_message(message))


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    st.text("abc ;", max_size=9),
    st.binary(max_size=50),
)
def test_a_serialized_image_is_read_as_rclpy_wrote_it(frame_id: str, form: str, data: bytes) -> None:
    stamp_ns, jpeg = jpeg_of(serialized(frame_id, form, data))
    assert stamp_ns == 1_700_000_000_123_456_789
    assert bytes(jpeg) == data


def test_the_image_is_not_copied() -> None:
    cdr = serialized(data=b"x" * 1000)
    assert jpeg_of(cdr)[1].obj is cdr


@given(st.data())
def test_a_message_that_is_cut_is_refused(data: st.DataObject) -> None:
    whole = serialized().rstrip(b"\0")
    with pytest.raises(CdrError):
        jpeg_of(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=80))
def test_anything_else_is_refused_or_read_but_never_breaks(raw: bytes) -> None:
    try:
        _, jpeg = jpeg_of(raw)
    except CdrError:
        return
    assert len(jpeg) <= len(raw)


def parts(message: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(message):
        place, length, _ = struct.unpack_from("<BxxxId", message, at)
        found.append((place, message[at + 16 : at + 16 + length]))
        at += 16 + length
    return found


def test_a_page_gets_the_newest_of_each_camera_and_nothing_twice() -> None:
    async def scenario() -> None:
        frames = Frames(("a", "b"))
        frames.put(0, 1, memoryview(b"old"))
        frames.put(0, 2, memoryview(b"new"))
        frames.put(1, 3, memoryview(b"other"))
        known, message = await frames.newer(frames.nothing())
        assert parts(message) == [(0, b"new"), (1, b"other")]
        frames.put(1, 4, memoryview(b"next"))
        known, message = await frames.newer(known)
        assert parts(message) == [(1, b"next")]

    asyncio.run(scenario())


def test_nothing_new_is_waited_for() -> None:
    async def scenario() -> None:
        frames = Frames(("a",))
        waiting = asyncio.create_task(frames.newer(frames.nothing()))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        frames.put(0, 1, memoryview(b"image"))
        assert parts((await waiting)[1]) == [(0, b"image")]

    asyncio.run(scenario())


def test_a_page_that_acknowledges_nothing_has_two_messages_under_way() -> None:
    async def scenario() -> None:
        window = Window()
        await window.acquire()
        await window.acquire()
        third = asyncio.create_task(window.acquire())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not third.done()
        window.acknowledge()
        await third

    asyncio.run(scenario())


def test_acknowledging_what_was_never_sent_opens_nothing() -> None:
    async def scenario() -> None:
        window = Window()
        for _ in range(100):
            window.acknowledge()
        await window.acquire()
        await window.acquire()
        third = asyncio.create_task(window.acquire())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not third.done()
        third.cancel()

    asyncio.run(scenario())
