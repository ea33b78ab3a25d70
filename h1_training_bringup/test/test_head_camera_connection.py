# SPDX-License-Identifier: Apache-2.0
"""The head camera's connection over the real wire: what is too large, a server that ends, IPv6, a grey camera."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from head_camera_builders import ClassicServer, jpeg
from test_head_camera_node import Viewer, a_camera, a_free_port, open_later  # noqa: F401 (a fixture)

from h1_training_testing import Graph


def test_messages_too_large_to_be_received_are_reported_and_good_ones_follow(
    graph: Graph,
    open_later: Callable,  # noqa: F811
) -> None:
    good = jpeg(64, 48)
    sent = [good + bytes(1_000_000)]
    server = open_later(ClassicServer(lambda: sent[0]))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port, max_frame_bytes=100_000)
    graph.spin_until(lambda: viewer.reported("head_camera_cut_off"), "the event")
    assert "more than 400000 bytes" in viewer.reported("head_camera_cut_off")[0]
    assert viewer.images["ego_cam"] == []
    sent[0] = good
    graph.spin_until(lambda: viewer.images["ego_cam"], "an image")


def test_a_server_that_ends_is_reported_as_cut_off(graph: Graph) -> None:
    sent, port = jpeg(64, 48), a_free_port()
    server = ClassicServer(lambda: sent, port)
    viewer = graph.add(Viewer())
    a_camera(graph, port)
    graph.spin_until(lambda: viewer.images["ego_cam"], "an image")
    server.close()
    graph.spin_until(lambda: viewer.reported("head_camera_cut_off"), "the event")
    assert f"tcp://127.0.0.1:{port}" in viewer.reported("head_camera_cut_off")[0]


def test_a_grey_camera_says_so(graph: Graph, open_later: Callable) -> None:  # noqa: F811
    sent = jpeg(64, 48, grey=True)
    server = open_later(ClassicServer(lambda: sent))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port)
    graph.spin_until(lambda: viewer.images["ego_cam"], "an image")
    assert viewer.images["ego_cam"][0].format == "mono8; jpeg compressed mono8"


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_an_image_server_is_reached_by_ipv6(graph: Graph, open_later: Callable) -> None:  # noqa: F811
    sent = jpeg(64, 48)
    server = open_later(ClassicServer(lambda: sent, host="[::1]"))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port, host="::1")
    graph.spin_until(lambda: viewer.images["ego_cam"], "an image")
