# SPDX-License-Identifier: Apache-2.0
"""The simulated cameras over their wires: wrists as CompressedImage, head over ZeroMQ, both following the robot."""

from __future__ import annotations

import socket

import cv2
import numpy as np
import pytest
import rclpy
import zmq
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from unitree_hg.msg import LowState

from h1_training_bringup.arm_driver.joints import ARM_MOTORS
from h1_training_bringup.arm_driver.wire import encode_low_state, new_low_state
from h1_training_bringup.sim import cameras_node
from h1_training_bringup.sim.scene import scene_object, scene_text
from h1_training_msgs.msg import SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.parameter import ParameterError, from_values

LEFT, RIGHT = "left_wrist_camera", "right_wrist_camera"


def port_nobody_has() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Viewer:
    """Whoever looks at the cameras."""

    def __init__(self, graph, monkeypatch: pytest.MonkeyPatch, **parameters) -> None:
        self._graph = graph
        port = port_nobody_has()
        values = {"head_port": port} | parameters
        monkeypatch.setattr(BaseNode, "parameters", lambda _node, cls: from_values(cls, values))
        self.cameras = graph.add(cameras_node.SimulatedCamerasNode())
        self.node = graph.add(rclpy.create_node("viewer"))
        self.frames: dict[str, list[CompressedImage]] = {LEFT: [], RIGHT: []}
        for name, frames in self.frames.items():
            self.node.create_subscription(
                CompressedImage, f"{name}/color/image_raw/compressed", frames.append, qos.IMAGE
            )
        self.faults = self.node.create_publisher(String, "sim/cameras/fault", qos.STATE)
        self.state = self.node.create_publisher(LowState, "sim/lf/lowstate", qos.STATE)
        self.session = self.node.create_publisher(SessionState, "session/state", qos.LATCHED)
        self.scene = self.node.create_publisher(String, "sim/scene", qos.STATE)
        self._context = zmq.Context()
        self.head = self._context.socket(zmq.SUB)
        self.head.setsockopt(zmq.SUBSCRIBE, b"")
        self.head.connect(f"tcp://127.0.0.1:{port}")
        matched = (self.faults, self.state, self.session, self.scene)
        graph.spin_until(lambda: all(p.get_subscription_count() for p in matched), "the cameras' wires")

    def until(self, condition, what: str) -> None:
        self._graph.spin_until(condition, what)

    def head_frame(self) -> np.ndarray:
        self.until(lambda: self.head.poll(0), "a frame of the head")
        payload = self.head.recv()
        assert payload[:3] == b"\xff\xd8\xff"
        return cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def look(graph, monkeypatch):
    viewers: list[Viewer] = []

    def make(**parameters) -> Viewer:
        viewers.append(Viewer(graph, monkeypatch, **parameters))
        return viewers[-1]

    yield make
    for viewer in viewers:
        viewer.close()


def test_wrists_look_like_those_of_the_realsense_wrapper_and_the_head_like_image_server(look) -> None:
    viewer = look()
    viewer.until(lambda: all(len(frames) > 3 for frames in viewer.frames.values()), "frames of both wrists")
    for name, frames in viewer.frames.items():
        message = frames[-1]
        assert message.format == "rgb8; jpeg compressed bgr8"
        assert message.header.frame_id == f"{name}_color_optical_frame"
        image = cv2.imdecode(np.frombuffer(bytes(message.data), np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (480, 640, 3)
    stamps = [(frame.header.stamp.sec, frame.header.stamp.nanosec) for frame in viewer.frames[LEFT]]
    assert stamps == sorted(set(stamps))
    assert viewer.head_frame().shape == (480, 640, 3)


def test_the_head_follows_the_arms_that_the_robot_reports(look) -> None:
    viewer = look()
    before = viewer.head_frame()
    state = new_low_state()
    state["motor_state"]["q"][ARM_MOTORS] = 0.4
    viewer.state.publish(encode_low_state(state))

    def has_moved() -> bool:
        frame = viewer.head_frame()
        return bool((np.abs(frame[:440].astype(int) - before[:440]).max(axis=2) > 40).mean() > 0.02)

    viewer.until(has_moved, "arms that moved in the image")


def test_the_object_is_where_the_robots_body_says(look) -> None:
    viewer = look()
    thing = scene_object(1, 1, 0)
    viewer.scene.publish(String(data=scene_text([thing])))
    viewer.until(lambda: viewer.cameras._rig.things == (thing,), "the scene")


def test_what_the_session_shows_changes_no_image(look) -> None:
    viewer = look()
    viewer.session.publish(SessionState(state="DAMPING", epoch=1, episode=1))
    viewer.until(lambda: viewer.cameras._rig.is_guided, "the session's state")
    assert viewer.cameras._rig.things == ()
    frame = viewer.head_frame().astype(int)
    assert np.abs(frame - viewer.head_frame()).max() < 60, "the sensor's noise alone"


def test_a_stopped_camera_stops_and_the_others_go_on_until_it_is_cleared(look) -> None:
    viewer = look()
    viewer.until(lambda: viewer.frames[LEFT], "frames")
    viewer.faults.publish(String(data="no such fault"))
    viewer.faults.publish(String(data="freeze cam_right_wrist"))
    viewer.faults.publish(String(data="stop cam_left_wrist"))
    viewer.until(lambda: viewer.cameras._faults.has("cam_left_wrist", "stop"), "the fault's arrival")
    count, others = len(viewer.frames[LEFT]), len(viewer.frames[RIGHT])
    viewer.until(lambda: len(viewer.frames[RIGHT]) >= others + 10, "frames of the other wrist")
    assert len(viewer.frames[LEFT]) <= count + 1
    assert bytes(viewer.frames[RIGHT][-1].data) == bytes(viewer.frames[RIGHT][-2].data)
    viewer.faults.publish(String(data="clear"))
    viewer.until(lambda: len(viewer.frames[LEFT]) > count + 3, "the camera again")


def test_wrists_in_the_heads_frame_come_with_it_and_not_over_ros(look) -> None:
    viewer = look(head_with_wrists=True, head_binocular=True)
    assert viewer.head_frame().shape == (480, 4 * 640, 3)
    publishers = viewer.node.get_publishers_info_by_topic(f"{LEFT}/color/image_raw/compressed")
    assert viewer.cameras.get_name() not in [publisher.node_name for publisher in publishers]


def test_cameras_refuse_to_start_where_others_could_hear_them(graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    with pytest.raises(ParameterError, match="LOCALHOST"):
        cameras_node.SimulatedCamerasNode()
