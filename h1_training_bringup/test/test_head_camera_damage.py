# SPDX-License-Identifier: Apache-2.0
"""An image that was damaged between its markers is dropped and counted, cut or not, in the core and over the wire."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from head_camera_builders import ClassicServer, jpeg
from test_head_camera_node import Viewer, a_camera, open_later  # noqa: F401 (a fixture)

from h1_training_bringup.head_camera.frame_splitter import FrameSplitter, Method, damage_check
from h1_training_bringup.head_camera.head_camera_node import encoder
from h1_training_bringup.head_camera.layout import FrameLayout
from h1_training_bringup.head_camera.payload import RefusedFrameError, frame_of, jpeg_header
from h1_training_testing import Graph

CHECK = damage_check()
pytestmark = pytest.mark.skipif(CHECK is None, reason="the library libturbojpeg is not installed")
WHOLE = jpeg()
SCAN = WHOLE.index(b"\xff\xda") + 14


def half_of_it(data: bytes = WHOLE) -> bytes:
    """The lower half is missing, the end marker is there: what a USB camera sends that lost a packet."""
    return data[: SCAN + (len(data) - SCAN) // 2] + data[-2:]


def splitter() -> FrameSplitter:
    return FrameSplitter(
        FrameLayout(), None, lossless=None, encode_again=encoder(85), why_not_lossless="none", check=CHECK
    )


@pytest.mark.parametrize(
    "damaged", [half_of_it(), WHOLE[:SCAN] + WHOLE[-2:], WHOLE[: SCAN + 200] + WHOLE[SCAN + 900 :]]
)
def test_an_image_that_lost_image_data_between_its_markers_is_refused(damaged: bytes) -> None:
    assert jpeg_header(damaged) == jpeg_header(WHOLE), "its markers say nothing"
    with pytest.raises(RefusedFrameError) as error:
        splitter().split(frame_of([damaged], 10_000_000))
    assert error.value.cause == "corrupt"


@pytest.mark.parametrize("form", [{}, {"grey": True}, {"progressive": True}, {"seed": 3}])
def test_a_sound_image_is_passed_on_as_the_very_bytes_that_came(form: dict[str, object]) -> None:
    frame = frame_of([jpeg(**form)], 10_000_000)  # type: ignore[arg-type]
    images = splitter().split(frame)
    assert images.method is Method.PASSED_ON and images.jpegs["ego_cam"] is frame.jpeg


def test_over_the_wire_damaged_images_are_dropped_counted_and_never_passed_on(
    graph: Graph,
    open_later: Callable,  # noqa: F811
) -> None:
    turn = itertools.cycle([WHOLE, half_of_it()])
    server = open_later(ClassicServer(lambda: next(turn)))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port)
    graph.spin_until(
        lambda: any("corrupt" in line for line in viewer.reported("head_camera_frames_dropped")), "reported"
    )
    before = len(viewer.images["ego_cam"])
    graph.spin_until(lambda: len(viewer.images["ego_cam"]) > before + 5, "good frames go on")
    assert {bytes(image.data) for image in viewer.images["ego_cam"]} == {WHOLE}
