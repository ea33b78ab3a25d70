# SPDX-License-Identifier: Apache-2.0
"""Which part of a frame is whose, and how it is cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from head_camera_builders import decoded, jpeg
from hypothesis import given
from hypothesis import strategies as st

from h1_training_bringup.head_camera.frame_splitter import Cutter, FrameSplitter, Method, lossless_cutter
from h1_training_bringup.head_camera.head_camera_node import REPORT_EVERY_NS, LossCount, encoder
from h1_training_bringup.head_camera.layout import LAYOUTS, BadConfigurationError, Cut, FrameLayout, Source, streams_of
from h1_training_bringup.head_camera.payload import Frame, RefusedFrameError, frame_of

LOSSLESS, WHY_NOT = lossless_cutter()
needs_turbo = pytest.mark.skipif(LOSSLESS is None, reason=WHY_NOT)


def a_frame(width: int, height: int = 480) -> Frame:
    return frame_of([jpeg(width, height)], 10_000_000)


def never(_jpeg: bytes, _cuts: Sequence[Cut]) -> list[bytes]:
    raise AssertionError("not to be used here")


def a_splitter(layout: FrameLayout, lossless: Cutter | None = LOSSLESS, encode_again: Cutter = never) -> FrameSplitter:
    return FrameSplitter(
        layout, None, lossless=lossless, encode_again=encode_again, why_not_lossless="" if lossless else "none"
    )


def test_a_head_alone_is_the_whole_frame() -> None:
    assert FrameLayout().cuts(640, 480) == (Cut("ego_cam", 0, 640, 480),)


def test_a_head_of_two_images_side_by_side_has_two_eyes() -> None:
    assert FrameLayout().cuts(1280, 480) == (Cut("ego_cam", 0, 640, 480),)
    assert FrameLayout(eye="right").cuts(1280, 480) == (Cut("ego_cam", 640, 640, 480),)
    assert FrameLayout(eye="both").cuts(1280, 480) == (Cut("ego_cam", 0, 1280, 480),)


def test_a_named_layout_goes_before_the_shape() -> None:
    assert FrameLayout(eyes=2).cuts(960, 480) == (Cut("ego_cam", 0, 480, 480),)
    assert FrameLayout(eyes=1).cuts(1280, 480) == (Cut("ego_cam", 0, 1280, 480),)


@pytest.mark.parametrize(
    ("width", "height", "eyes"),
    [(640, 480, 1), (848, 480, 1), (1280, 720, 1), (1920, 1080, 1), (1280, 480, 2), (2560, 720, 2), (3840, 1080, 2)],
)
def test_the_shapes_that_cameras_have_are_distinguished(width: int, height: int, eyes: int) -> None:
    (cut,) = FrameLayout().cuts(width, height)
    assert cut.width == width // eyes


@pytest.mark.parametrize(("width", "height"), [(1920, 480), (960, 480), (1000, 480), (1920, 240)])
def test_a_shape_that_may_be_something_else_is_refused_with_the_layouts_to_choose_from(width: int, height: int) -> None:
    with pytest.raises(
        RefusedFrameError, match=r"set robot\.head_camera_layout to one of mono, stereo, mono_left"
    ) as error:
        FrameLayout().cuts(width, height)
    assert error.value.cause == "wrong_shape"


def test_a_head_and_two_wrists_in_1920_by_480_is_what_its_name_says() -> None:
    eyes, wrists = LAYOUTS["mono_wrists"]
    layout = FrameLayout(eyes=eyes, wrists=wrists)
    assert [(cut.x, cut.width) for cut in layout.cuts(1920, 480)] == [(0, 640), (640, 640), (1280, 640)]
    assert layout.described(1920, 480) == "head 640x480, wrists in frame: 2"


@pytest.mark.parametrize("eye", ["left", "right", "both"])
def test_an_eye_taller_than_wide_is_none(eye: str) -> None:
    with pytest.raises(RefusedFrameError, match="two eyes of 320x480 would be taller than wide"):
        FrameLayout(eyes=2, eye=eye).cuts(640, 480)


def test_the_classic_default_frame_holds_two_eyes_and_two_wrists() -> None:
    assert FrameLayout(wrists=2).cuts(2560, 480) == (
        Cut("ego_cam", 0, 640, 480),
        Cut("cam_left_wrist", 1280, 640, 480),
        Cut("cam_right_wrist", 1920, 640, 480),
    )


def test_a_frame_with_unexpected_wrists_is_refused_with_what_to_set() -> None:
    with pytest.raises(RefusedFrameError, match=r"may hold wrist images: set robot\.head_camera_layout") as error:
        FrameLayout().cuts(2560, 480)
    assert error.value.cause == "wrong_shape"


def test_a_frame_too_narrow_for_its_wrists_is_refused() -> None:
    with pytest.raises(RefusedFrameError, match="cannot hold a head and 2 wrist images of 640 px"):
        FrameLayout(wrists=2).cuts(1280, 480)


@given(st.integers(1, 4000), st.integers(1, 2000), st.integers(0, 2), st.integers(8, 1000), st.sampled_from("lrb"))
def test_every_cut_lies_within_its_frame(width: int, height: int, wrists: int, wrist_width: int, eye: str) -> None:
    layout = FrameLayout(wrists=wrists, wrist_width=wrist_width, eye={"l": "left", "r": "right", "b": "both"}[eye])
    try:
        cuts = layout.cuts(width, height)
    except RefusedFrameError as error:
        assert error.cause == "wrong_shape"
        return
    assert len(cuts) == 1 + wrists
    assert all(cut.x >= 0 and cut.width >= 1 and cut.x + cut.width <= width for cut in cuts)


def test_a_frame_that_needs_no_cut_is_passed_on_byte_for_byte() -> None:
    frame = a_frame(640)
    images = a_splitter(FrameLayout(), never).split(frame)
    assert images.method is Method.PASSED_ON
    assert images.jpegs["ego_cam"] is frame.jpeg


@needs_turbo
def test_a_cut_on_the_grid_moves_coefficients_and_leaves_the_pixels() -> None:
    frame = a_frame(2560)
    images = a_splitter(FrameLayout(wrists=2)).split(frame)
    assert images.method is Method.CUT
    whole = decoded(frame.jpeg)
    for camera, x in (("ego_cam", 0), ("cam_left_wrist", 1280), ("cam_right_wrist", 1920)):
        part = decoded(images.jpegs[camera])
        assert part.shape == (480, 640, 3)
        assert np.array_equal(part[:, 1:-1], whole[:, x + 1 : x + 639])


@needs_turbo
def test_a_cut_off_the_grid_is_encoded_again_and_says_why() -> None:
    images = a_splitter(FrameLayout(eye="right"), encode_again=encoder(85)).split(a_frame(1304))
    assert images.method is Method.ENCODED
    assert images.why == "the cut at 652 px is not on the JPEG's grid of 16 px"
    assert decoded(images.jpegs["ego_cam"]).shape == (480, 652, 3)


def test_without_the_library_everything_is_encoded_again() -> None:
    frame = a_frame(1280)
    images = a_splitter(FrameLayout(), None, encoder(85)).split(frame)
    assert images.method is Method.ENCODED
    difference = decoded(images.jpegs["ego_cam"]).astype(int) - decoded(frame.jpeg)[:, :640]
    assert abs(difference).mean() < 2


@pytest.mark.parametrize("lossless", [pytest.param(LOSSLESS, marks=needs_turbo), None])
def test_a_frame_whose_image_data_is_damaged_is_refused_when_it_must_be_cut(lossless: Cutter | None) -> None:
    whole = jpeg(1280, 480)
    start = whole.index(b"\xff\xda") + 14
    hollow = whole[:start] + whole[-2:]
    frame = frame_of([hollow], 10_000_000)

    def refuses(data: bytes, cuts: Sequence[Cut]) -> list[bytes]:
        raise ValueError("cannot decode it")

    with pytest.raises(RefusedFrameError) as error:
        a_splitter(FrameLayout(), lossless, refuses).split(frame)
    assert error.value.cause == "corrupt"


def test_the_first_frame_settles_the_shape() -> None:
    splitter = a_splitter(FrameLayout())
    splitter.split(a_frame(640))
    with pytest.raises(RefusedFrameError, match="320x480 instead of 640x480") as error:
        splitter.split(a_frame(320))
    assert error.value.cause == "wrong_shape"
    splitter.split(a_frame(640))


def test_a_frame_that_does_not_fit_the_layout_settles_nothing() -> None:
    splitter = a_splitter(FrameLayout(wrists=1), encode_again=encoder(85))
    with pytest.raises(RefusedFrameError):
        splitter.split(a_frame(640))
    assert set(splitter.split(a_frame(1280)).jpegs) == {"ego_cam", "cam_left_wrist"}


def test_drops_are_reported_at_once_and_then_once_a_second_with_their_number() -> None:
    drops = LossCount()
    drops.add("head", "truncated", "too short")
    assert drops.due(0) == ["head: 1 dropped, truncated (too short); 1 so far"]
    for _ in range(29):
        drops.add("head", "truncated", "too short")
    assert drops.due(REPORT_EVERY_NS - 1) == []
    assert drops.due(REPORT_EVERY_NS) == ["head: 29 dropped, truncated (too short); 30 so far"]
    assert drops.due(3 * REPORT_EVERY_NS) == []


def test_each_cause_is_reported_by_itself() -> None:
    drops = LossCount()
    drops.add("head", "truncated", "too short")
    drops.add("head", "empty", "nothing")
    assert len(drops.due(0)) == 2
    assert drops.total("empty") == 1


def test_teleimagers_streams_are_taken_from_its_configuration() -> None:
    answer = b'{"head_camera": {"enable_zmq": true, "zmq_port": 55555, "binocular": true}, "left_wrist_camera": {}}'
    assert streams_of(answer, "robot", ("ego_cam",)) == (Source("tcp://robot:55555", "ego_cam", True, True),)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "expected an object"),
        (b"{}", "has no head_camera"),
        (b'{"head_camera": {"enable_zmq": false, "zmq_port": 1}}', "enable_zmq off"),
        (b'{"head_camera": {"zmq_port": "55555"}}', "zmq_port '55555'; expected a port number"),
        (b'{"head_camera": {"zmq_port": true}}', "expected a port number"),
        (b'{"head_camera": {"zmq_port": 70000}}', "expected a port number"),
    ],
)
def test_a_configuration_without_a_stream_is_refused_with_what_is_wrong(answer: bytes, message: str) -> None:
    with pytest.raises(BadConfigurationError, match=message):
        streams_of(answer, "robot", ("ego_cam",))


@given(st.binary(max_size=60))
def test_any_answer_is_a_configuration_or_refused(answer: bytes) -> None:
    with pytest.raises(BadConfigurationError):
        streams_of(answer, "robot", ("ego_cam",))
