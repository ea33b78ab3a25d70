# SPDX-License-Identifier: Apache-2.0
"""The simulated head servers offer both formats over ZeroMQ, and cameras fail as faults say."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from h1_training_bringup.sim.cameras import CameraParameters
from h1_training_bringup.sim.cameras_faults import FAULTS, CameraFaultError, CameraFaults
from h1_training_bringup.sim.cameras_server import ClassicServer, TeleimagerServer
from h1_training_node.parameter import ParameterError
from h1_training_testing import wait_until

JPEG = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8))[1].tobytes()


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def subscribed(context: zmq.Context, port: int) -> zmq.Socket:
    subscriber = context.socket(zmq.SUB)
    subscriber.setsockopt(zmq.SUBSCRIBE, b"")
    subscriber.connect(f"tcp://127.0.0.1:{port}")
    return subscriber


def received(subscriber: zmq.Socket, send) -> list[bytes]:
    def arrived() -> bool:
        send()
        return bool(subscriber.poll(20))

    wait_until(arrived, "a frame of the simulated server")
    return subscriber.recv_multipart()


def test_the_classic_server_sends_one_bare_jpeg_a_message(context: zmq.Context) -> None:
    port = free_port()
    server = ClassicServer(port, with_header=False)
    assert received(subscribed(context, port), lambda: server.send(JPEG, 1.0)) == [JPEG]
    server.close()


def test_the_header_is_time_and_number_in_twelve_bytes(context: zmq.Context) -> None:
    port = free_port()
    server = ClassicServer(port, with_header=True)
    viewer = subscribed(context, port)
    (first,) = received(viewer, lambda: server.send(JPEG, 12.5))
    time_s, number = struct.unpack("=dI", first[:12])
    assert time_s == 12.5 and first[12:] == JPEG
    while viewer.poll(50):
        viewer.recv()
    (later,) = received(viewer, lambda: server.send(JPEG, 12.5))
    assert struct.unpack("=dI", later[:12])[1] > number
    server.close()


def test_a_taken_port_is_named_with_what_to_do(context: zmq.Context) -> None:
    port = free_port()
    server = ClassicServer(port, with_header=False)
    with pytest.raises(ParameterError, match=rf"{port}.*end whoever has the port"):
        ClassicServer(port, with_header=False)
    server.close()


def test_the_newer_server_reports_its_configuration_and_sends_each_camera_on_its_port(context: zmq.Context) -> None:
    head, wrist, config = (free_port() for _ in range(3))
    server = TeleimagerServer({"ego_cam": head, "cam_left_wrist": wrist}, config, binocular=True, fps=30.0)
    request = context.socket(zmq.REQ)
    request.connect(f"tcp://127.0.0.1:{config}")
    request.send(b"GET_DATA")

    def answered() -> bool:
        server.answer()
        return bool(request.poll(5))

    wait_until(answered, "the configuration")
    reply = json.loads(request.recv())
    assert reply["head_camera"]["zmq_port"] == head and reply["head_camera"]["image_shape"] == [480, 1280]
    assert reply["head_camera"]["binocular"] is True and reply["head_camera"]["enable_zmq"] is True
    assert reply["left_wrist_camera"]["zmq_port"] == wrist
    assert reply["right_wrist_camera"]["enable_zmq"] is False
    assert received(subscribed(context, wrist), lambda: server.send("cam_left_wrist", JPEG)) == [JPEG]
    server.close()


def test_the_newer_server_refuses_one_port_for_two_things() -> None:
    with pytest.raises(ValueError, match="head_config_port 55556"):
        CameraParameters(head_server="teleimager", head_port=55555, head_config_port=55556, head_with_wrists=True)


def test_a_frozen_camera_repeats_its_last_bytes_and_the_others_do_not() -> None:
    faults = CameraFaults()
    faults.spoiled("cam_left_wrist", b"first")
    faults.apply("freeze cam_left_wrist")
    assert faults.spoiled("cam_left_wrist", b"second") == b"first"
    assert faults.spoiled("ego_cam", b"second") == b"second"
    faults.apply("clear")
    assert faults.spoiled("cam_left_wrist", b"third") == b"third"


def test_a_stopped_camera_delivers_nothing_and_a_slow_one_every_nth_frame() -> None:
    faults = CameraFaults()
    faults.apply("stop ego_cam")
    faults.apply("slow cam_left_wrist 6")
    assert not any(faults.is_due("ego_cam") for _ in range(30))
    assert sum(faults.is_due("cam_left_wrist") for _ in range(30)) == 5
    assert all(faults.is_due("cam_right_wrist") for _ in range(30))
    faults.apply("clear ego_cam")
    assert faults.is_due("ego_cam")


def test_spoiled_frames_are_spoiled_in_the_way_that_was_asked_for() -> None:
    faults = CameraFaults()
    spoiled = {}
    for kind in ("corrupt", "truncated", "empty", "oversized", "wrong_shape"):
        faults.apply(f"{kind} ego_cam")
        spoiled[kind] = faults.spoiled("ego_cam", JPEG)
    assert spoiled["corrupt"] != JPEG and len(spoiled["corrupt"]) == len(JPEG)
    assert spoiled["truncated"] == JPEG[: len(JPEG) // 2]
    assert spoiled["empty"] == b""
    assert len(spoiled["oversized"]) > 10_000_000
    shape = cv2.imdecode(np.frombuffer(spoiled["wrong_shape"], np.uint8), cv2.IMREAD_COLOR).shape
    assert shape == (240, 320, 3)


@given(line=st.text(max_size=40))
def test_a_line_that_is_no_fault_is_refused_with_the_list(line: str) -> None:
    kind = line.split()[:1]
    if kind and kind[0] in {*FAULTS, "clear"}:
        return
    with pytest.raises(CameraFaultError, match="freeze"):
        CameraFaults().apply(line)


@pytest.mark.parametrize(
    "line", ["freeze", "freeze head", "slow ego_cam", "slow ego_cam x", "slow ego_cam 0", "stop a b"]
)
def test_a_fault_without_its_camera_or_number_is_refused(line: str) -> None:
    with pytest.raises(CameraFaultError):
        CameraFaults().apply(line)
