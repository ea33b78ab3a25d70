# SPDX-License-Identifier: Apache-2.0
"""The head camera's node over its real wires: ZeroMQ on one side, ROS on the other."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import TypeVar

import pytest
from head_camera_builders import ClassicServer, ConfigServer, jpeg, teleimager_configuration, with_header
from sensor_msgs.msg import CompressedImage

from h1_training_bringup.head_camera.frame_splitter import lossless_cutter
from h1_training_bringup.head_camera.head_camera_node import HeadCameraNode
from h1_training_bringup.head_camera.payload import jpeg_header
from h1_training_msgs.msg import Event
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.cameras import CAMERA_FRAMES, CAMERA_TOPICS, CAMERAS
from h1_training_node.parameter import from_values
from h1_training_node.stamps import to_ns
from h1_training_testing import Graph

T = TypeVar("T")
HAS_TURBO = lossless_cutter()[0] is not None


class Viewer(BaseNode):
    """Keeps every image and event."""

    def __init__(self) -> None:
        super().__init__("viewer")
        self.images: dict[str, list[CompressedImage]] = {camera: [] for camera in CAMERAS}
        self.events: list[Event] = []
        for camera, topic in CAMERA_TOPICS.items():
            self.create_subscription(CompressedImage, topic, self.images[camera].append, qos.IMAGE)
        self.create_subscription(Event, "session/event", self.events.append, qos.STATE)

    def reported(self, reason: str) -> list[str]:
        return [event.detail for event in self.events if event.reason == reason]


@pytest.fixture
def open_later() -> Iterator[Callable]:
    """Closes at the end of the test what is handed to it."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(closing(server))


def a_camera(graph: Graph, port: int, **values: object) -> HeadCameraNode:
    class Camera(HeadCameraNode):
        """With parameters of its own, since those of the command line belong to the whole process."""

        def parameters(self, cls: type[T]) -> T:
            return from_values(cls, {"host": "127.0.0.1", "port": port, "format": "image_server"} | values)

    return graph.add(Camera())


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def size(image: CompressedImage) -> tuple[int, int]:
    header = jpeg_header(bytes(image.data))
    return header.width, header.height


def test_a_frame_is_passed_on_byte_for_byte_with_session_time_and_optical_frame(graph: Graph, open_later) -> None:
    sent = jpeg()
    server = open_later(ClassicServer(lambda: sent))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port)
    graph.spin_until(
        lambda: viewer.images["ego_cam"] and viewer.reported("head_camera_passthrough"), "an image and its event"
    )
    image = viewer.images["ego_cam"][0]
    assert bytes(image.data) == sent
    assert image.format == "bgr8; jpeg compressed bgr8"
    assert image.header.frame_id == "head_camera_color_optical_frame"
    assert abs(viewer.now_ns() - to_ns(image.header.stamp)) < 5_000_000_000
    assert viewer.images["cam_left_wrist"] == []


def test_a_frame_of_two_eyes_and_two_wrists_is_cut_into_three_images_of_one_stamp(graph: Graph, open_later) -> None:
    sent = jpeg(2560, 480)
    server = open_later(ClassicServer(lambda: with_header(sent, 0)))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port, layout="stereo_wrists")
    graph.spin_until(lambda: all(viewer.images.values()), "all three images")
    first = [images[0] for images in viewer.images.values()]
    assert [size(image) for image in first] == [(640, 480)] * 3
    assert len({to_ns(image.header.stamp) for image in first}) == 1
    assert [image.header.frame_id for image in first] == [CAMERA_FRAMES[camera] for camera in CAMERAS]
    reason = "head_camera_cut_lossless" if HAS_TURBO else "head_camera_reencoded"
    graph.spin_until(lambda: viewer.reported(reason), "the event")


def test_bad_frames_are_dropped_counted_and_never_passed_on(graph: Graph, open_later) -> None:
    good = jpeg()
    bad = [b"", good[:-2], b"x" * 100, jpeg(320, 240), good + bytes(200_000), [good, good], b'{"images": {}}']
    turn = itertools.cycle([good, *bad])
    server = open_later(ClassicServer(lambda: next(turn)))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port, max_frame_bytes=150_000, width=640, height=480)
    causes = ("empty", "truncated", "not_jpeg", "wrong_shape", "oversized", "several_parts")

    def all_reported() -> bool:
        reported = " ".join(viewer.reported("head_camera_frames_dropped"))
        return all(cause in reported for cause in causes)

    graph.spin_until(all_reported, "every cause is reported")
    graph.spin_until(lambda: len(viewer.images["ego_cam"]) >= 5, "good frames go on")
    assert {bytes(image.data) for image in viewer.images["ego_cam"]} == {good}


def test_gaps_in_the_servers_frame_numbers_are_counted_as_lost(graph: Graph, open_later) -> None:
    sent, numbers = jpeg(), itertools.count(0, 3)
    server = open_later(ClassicServer(lambda: with_header(sent, next(numbers))))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port)
    graph.spin_until(lambda: viewer.reported("head_camera_frames_dropped"), "the event")
    assert "lost_on_the_way" in viewer.reported("head_camera_frames_dropped")[0]


def test_a_silent_server_is_reported_once_and_its_return_too(graph: Graph, open_later) -> None:
    sent: list[bytes | None] = [jpeg()]
    server = open_later(ClassicServer(lambda: sent[0]))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port, silent_after_s=0.3)
    graph.spin_until(lambda: viewer.images["ego_cam"], "an image")
    sent[0] = None
    graph.spin_until(lambda: viewer.reported("head_camera_silent"), "the silence is reported")
    sent[0] = jpeg()
    graph.spin_until(lambda: len(viewer.reported("head_camera_connected")) == 2, "the return is reported")
    assert len(viewer.reported("head_camera_silent")) == 1


def test_a_server_that_was_restarted_is_found_again(graph: Graph, open_later) -> None:
    sent, port = jpeg(), a_free_port()
    viewer = graph.add(Viewer())
    a_camera(graph, port, first_frame_within_s=0.3)
    graph.spin_until(lambda: viewer.reported("head_camera_silent"), "nobody is there yet")
    first = ClassicServer(lambda: sent, port)
    graph.spin_until(lambda: viewer.images["ego_cam"], "an image")
    first.close()
    before = len(viewer.images["ego_cam"])
    open_later(ClassicServer(lambda: sent, port))
    graph.spin_until(lambda: len(viewer.images["ego_cam"]) > before + 3, "images again")


def test_teleimager_is_asked_for_its_streams(graph: Graph, open_later) -> None:
    sent = {name: jpeg(640, 480, seed=seed) for seed, name in enumerate(CAMERAS)}
    servers = {name: open_later(ClassicServer(lambda data=data: data)) for name, data in sent.items()}
    config = open_later(ConfigServer(teleimager_configuration(*(server.port for server in servers.values()))))
    viewer = graph.add(Viewer())
    a_camera(graph, a_free_port(), format="teleimager", config_port=config.port, layout="mono_wrists")
    graph.spin_until(lambda: all(viewer.images.values()), "all three images")
    assert {name: bytes(images[0].data) for name, images in viewer.images.items()} == sent


def test_teleimagers_word_on_two_eyes_counts(graph: Graph, open_later) -> None:
    sent = jpeg(960, 480)
    server = open_later(ClassicServer(lambda: sent))
    config = open_later(ConfigServer(teleimager_configuration(server.port, binocular=True)))
    viewer = graph.add(Viewer())
    a_camera(graph, a_free_port(), format="teleimager", config_port=config.port)
    graph.spin_until(lambda: viewer.images["ego_cam"], "an image")
    assert size(viewer.images["ego_cam"][0]) == (480, 480)


def test_a_teleimager_without_the_camera_is_reported_and_asked_again(graph: Graph, open_later) -> None:
    sent = jpeg()
    server = open_later(ClassicServer(lambda: sent))
    config = open_later(ConfigServer({"left_wrist_camera": {}}))
    viewer = graph.add(Viewer())
    a_camera(graph, a_free_port(), format="teleimager", config_port=config.port)
    graph.spin_until(lambda: viewer.reported("head_camera_not_configured"), "the trouble is reported")
    assert "teleimager has no head_camera" in viewer.reported("head_camera_not_configured")[0]
    config.configuration = teleimager_configuration(server.port)
    graph.spin_until(lambda: viewer.images["ego_cam"], "an image")


@pytest.mark.parametrize("kind", ["image_server", "teleimager"])
def test_the_format_is_detected(graph: Graph, open_later, kind: str) -> None:
    sent = jpeg()
    server = open_later(ClassicServer(lambda: sent))
    viewer = graph.add(Viewer())
    if kind == "image_server":
        a_camera(graph, server.port, format="auto", config_port=a_free_port())
    else:
        config = open_later(ConfigServer(teleimager_configuration(server.port)))
        a_camera(graph, a_free_port(), format="auto", config_port=config.port)
    graph.spin_until(lambda: viewer.images["ego_cam"], "an image")
    assert bytes(viewer.images["ego_cam"][0].data) == sent


def test_a_robot_that_comes_back_with_the_other_server_is_found_again(graph: Graph, open_later) -> None:
    first, second, port = jpeg(seed=1), jpeg(seed=2), a_free_port()
    teleimager = ClassicServer(lambda: first)
    config = ConfigServer(teleimager_configuration(teleimager.port))
    viewer = graph.add(Viewer())
    a_camera(graph, port, format="auto", config_port=config.port, silent_after_s=0.3)
    graph.spin_until(lambda: viewer.images["ego_cam"], "an image of teleimager")
    teleimager.close()
    config.close()
    open_later(ClassicServer(lambda: second, port))
    graph.spin_until(lambda: bytes(viewer.images["ego_cam"][-1].data) == second, "an image of the classic server")


def test_a_stop_ends_the_node_at_once_and_cleanly(graph: Graph) -> None:
    camera = a_camera(graph, a_free_port(), format="auto", config_port=a_free_port())
    camera.request_stop("SIGTERM")
    graph.spin_until(lambda: camera.exit_status == 0, "the node has ended")
