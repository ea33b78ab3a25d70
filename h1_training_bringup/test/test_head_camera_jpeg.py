# SPDX-License-Identifier: Apache-2.0
"""JPEGs judged by their markers, and payloads taken apart."""

from __future__ import annotations

import pytest
from head_camera_builders import decoded, jpeg, with_header
from hypothesis import given, settings
from hypothesis import strategies as st

from h1_training_bringup.head_camera.payload import (
    BadJpegError,
    DeviceStamp,
    JpegHeader,
    RefusedFrameError,
    frame_of,
    jpeg_header,
)
from h1_training_node.cameras import jpeg_size

WHOLE = jpeg(64, 48)
MAX = 1_000_000


def test_size_and_grid_are_read_without_decoding() -> None:
    assert jpeg_header(jpeg(640, 480)) == JpegHeader(640, 480, 3, 16, 16)
    assert jpeg_header(jpeg(640, 480, grey=True)) == JpegHeader(640, 480, 1, 8, 8)


def test_a_progressive_jpeg_with_many_scans_is_whole() -> None:
    assert jpeg_header(jpeg(320, 240, progressive=True)).width == 320


@pytest.mark.parametrize("form", [{}, {"grey": True}, {"progressive": True}])
def test_the_size_that_all_nodes_read_is_the_same(form: dict[str, bool]) -> None:
    assert jpeg_size(jpeg(320, 240, **form)) == (320, 240)


@given(st.binary(max_size=60) | st.integers(0, len(WHOLE)).map(lambda length: WHOLE[:length]))
def test_of_any_bytes_a_size_or_none_is_read(data: bytes) -> None:
    size = jpeg_size(data)
    assert size is None or len(size) == 2


def test_zeros_behind_the_end_are_what_usb_cameras_pad_with() -> None:
    assert jpeg_header(WHOLE + bytes(100)).width == 64


def test_other_bytes_behind_the_end_are_not() -> None:
    with pytest.raises(BadJpegError) as error:
        jpeg_header(WHOLE + b"\x00tail")
    assert error.value.cause == "corrupt"


@given(st.integers(3, len(WHOLE) - 1))
def test_a_jpeg_cut_anywhere_is_truncated(length: int) -> None:
    with pytest.raises(BadJpegError) as error:
        jpeg_header(WHOLE[:length])
    assert error.value.cause == "truncated"


def test_a_marker_within_the_image_data_is_damage() -> None:
    middle = len(WHOLE) - 40
    with pytest.raises(BadJpegError, match="marker ff c0 in the middle") as error:
        jpeg_header(WHOLE[:middle] + b"\xff\xc0" + WHOLE[middle + 2 :])
    assert error.value.cause == "corrupt"


def test_an_image_without_height_is_damage() -> None:
    at = WHOLE.index(b"\xff\xc0") + 5
    with pytest.raises(BadJpegError, match="an image of 64x0"):
        jpeg_header(WHOLE[:at] + b"\x00\x00" + WHOLE[at + 2 :])


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_jpeg_or_refused(data: bytes) -> None:
    for candidate in (data, b"\xff\xd8" + data, b"\xff\xd8\xff\xda" + data):
        with pytest.raises(BadJpegError):
            jpeg_header(candidate)


@settings(max_examples=300)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_changed_byte_is_found_or_leaves_a_jpeg_of_sane_size(position: int, value: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[position] = value
    try:
        header = jpeg_header(bytes(damaged))
    except BadJpegError as error:
        assert error.cause in {"not_jpeg", "truncated", "corrupt"}
    else:
        assert 0 < header.width < 65536
        assert 0 < header.height < 65536


def test_a_bare_jpeg_comes_out_as_it_went_in() -> None:
    frame = frame_of([WHOLE], MAX)
    assert frame.jpeg is WHOLE
    assert frame.device is None


@given(st.floats(allow_nan=False), st.integers(0, 2**32 - 1))
def test_the_header_of_twelve_bytes_is_taken_off_whatever_it_says(time_s: float, frame_id: int) -> None:
    frame = frame_of([with_header(WHOLE, frame_id, time_s)], MAX)
    assert frame.jpeg == WHOLE
    assert frame.device == DeviceStamp(time_s, frame_id)


def test_a_header_that_looks_like_a_jpeg_by_chance_is_still_a_header() -> None:
    frame = frame_of([b"\xff\xd8\xff\xe0" + bytes(8) + WHOLE], MAX)
    assert frame.jpeg == WHOLE


@pytest.mark.parametrize(
    ("parts", "cause"),
    [
        ([b""], "empty"),
        ([WHOLE + bytes(MAX)], "oversized"),
        ([WHOLE, WHOLE], "several_parts"),
        ([WHOLE[:-2]], "truncated"),
        ([with_header(WHOLE[:-2], 1)], "truncated"),
        ([b"\x89PNG\r\n\x1a\n" + bytes(50)], "not_jpeg"),
        ([b'{"timestamps": {}, "images": {}}'], "not_jpeg"),
        ([with_header(b"", 1)], "not_jpeg"),
    ],
)
def test_what_is_no_frame_is_refused_by_cause(parts: list[bytes], cause: str) -> None:
    with pytest.raises(RefusedFrameError) as error:
        frame_of(parts, MAX)
    assert error.value.cause == cause


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_message_is_a_frame_or_refused(payload: bytes) -> None:
    with pytest.raises(RefusedFrameError):
        frame_of([payload], MAX)


def test_what_is_accepted_decodes() -> None:
    assert decoded(frame_of([with_header(jpeg(), 0)], MAX).jpeg).shape == (480, 640, 3)
