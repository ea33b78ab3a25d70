# SPDX-License-Identifier: Apache-2.0
"""The head camera's node against the simulated cameras, over the wire, in every way that robots send images."""

from __future__ import annotations

import socket
from typing import Any, TypeVar

import pytest
from test_head_camera_node import HAS_TURBO, Viewer, a_camera, a_free_port, size

from h1_training_bringup.sim.cameras_node import SimulatedCamerasNode
from h1_training_node.parameter import from_values
from h1_training_testing import Graph

T = TypeVar("T")


def ports_in_a_row(count: int) -> int:
    """The first of some free ports, one behind the other."""
    for first in range(20000, 30000, count):
        held: list[socket.socket] = []
        try:
            held += [socket.create_server(("127.0.0.1", first + index)) for index in range(count)]
        except OSError:
            continue
        else:
            return first
        finally:
            for server in held:
                server.close()
    raise AssertionError("no free ports")


def simulated(graph: Graph, **values: Any) -> None:
    class Cameras(SimulatedCamerasNode):
        """With parameters of its own."""

        def parameters(self, cls: type[T]) -> T:
            return from_values(cls, values)

    graph.add(Cameras())


@pytest.mark.parametrize("header", [False, True])
def test_the_classic_frame_of_two_eyes_and_two_wrists(graph: Graph, header: bool) -> None:
    port = ports_in_a_row(1)
    simulated(graph, head_port=port, head_binocular=True, head_with_wrists=True, head_header=header)
    viewer = graph.add(Viewer())
    a_camera(graph, port, format="auto", config_port=a_free_port(), layout="stereo_wrists")
    graph.spin_until(lambda: all(viewer.images.values()), "all three images")
    assert [size(images[0]) for images in viewer.images.values()] == [(640, 480)] * 3
    graph.spin_until(
        lambda: viewer.reported("head_camera_cut_lossless" if HAS_TURBO else "head_camera_reencoded"), "how it was cut"
    )


@pytest.mark.parametrize("binocular", [False, True])
def test_teleimagers_streams_are_found_by_its_configuration(graph: Graph, binocular: bool) -> None:
    first = ports_in_a_row(4)
    simulated(
        graph,
        head_server="teleimager",
        head_port=first,
        head_config_port=first + 3,
        head_binocular=binocular,
        head_with_wrists=True,
    )
    viewer = graph.add(Viewer())
    a_camera(
        graph,
        a_free_port(),
        format="auto",
        config_port=first + 3,
        layout="stereo_wrists" if binocular else "mono_wrists",
    )
    graph.spin_until(lambda: all(viewer.images.values()), "all three images")
    assert [size(images[0]) for images in viewer.images.values()] == [(640, 480)] * 3
