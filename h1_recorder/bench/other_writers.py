# SPDX-License-Identifier: Apache-2.0
"""Two other ways of recording, to hold the recorder against: run as a program, it records until SIGTERM.

    python other_writers.py rosbags FOLDER    every message into an MCAP by rosbags' own writer, as it comes
    python other_writers.py plain FOLDER      rows in memory, images decoded; encoded and written when it ends

The second is how single-process clients record: a loop at 50 Hz takes the newest of everything. When it has ended it
prints how long its writing took, in seconds.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import rclpy
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from recorder_load import CAMERA_TOPICS
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage, JointState

from h1_recorder.recorder.definitions import schema_text
from h1_recorder.recorder.streams import recorded_streams
from h1_recorder.recorder.subscriptions_node import _message_class
from h1_training_msgs.msg import PolicyAction
from h1_training_node import qos
from h1_training_node.cameras import CAMERAS

STREAMS = recorded_streams({camera: CAMERA_TOPICS[camera] for camera in CAMERAS})


class RosbagsWriter(Node):
    """Writes what it receives with `rosbags.rosbag2.Writer`, MCAP storage, in its callbacks."""

    def __init__(self, folder: Path) -> None:
        super().__init__("rosbags_writer")
        self._writer = Writer(folder / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        store = get_typestore(Stores.ROS2_JAZZY)
        from rosbags.typesys import get_types_from_msg

        for stream in STREAMS:
            own, *_ = schema_text(stream.type).split("=" * 80)
            if stream.type not in store.fielddefs:
                store.register(get_types_from_msg(own, stream.type))
            connection = self._writer.add_connection("/" + stream.topic, stream.type, typestore=store)
            self.create_subscription(
                _message_class(stream.type), stream.topic, self._taking(connection), stream.depth, raw=True
            )

    def _taking(self, connection: Any) -> Any:
        return lambda raw: self._writer.write(connection, time.time_ns(), raw)

    def finish(self) -> None:
        self._writer.close()


class PlainWriter(Node):
    """Keeps rows in memory and writes them at the end."""

    def __init__(self, folder: Path) -> None:
        super().__init__("plain_writer")
        self._path = folder / "plain.hdf5"
        self._images: dict[str, Any] = {}
        self._joints, self._action = np.zeros(14, np.float32), np.zeros(14, np.float32)
        self._rows: list[tuple[Any, ...]] = []
        for camera in CAMERAS:
            topic = CAMERA_TOPICS[camera]
            self.create_subscription(CompressedImage, topic, self._keeping(camera), qos.IMAGE)
        self.create_subscription(JointState, "joint_states", self._on_joints, qos.STATE)
        self.create_subscription(PolicyAction, "policy/action", self._on_action, qos.STATE)
        self.create_timer(0.02, self._on_row)

    def _keeping(self, camera: str) -> Any:
        def keep(message: CompressedImage) -> None:
            self._images[camera] = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)

        return keep

    def _on_joints(self, message: JointState) -> None:
        self._joints = np.asarray(message.position, np.float32)

    def _on_action(self, message: PolicyAction) -> None:
        self._action = np.asarray(message.positions, np.float32)

    def _on_row(self) -> None:
        if len(self._images) == len(CAMERAS):
            self._rows.append((self._joints, self._action, *(self._images[camera] for camera in CAMERAS)))

    def finish(self) -> None:
        with h5py.File(self._path, "w") as file:
            for number, name in enumerate(("observations/qpos", "action")):
                file.create_dataset(name, data=np.array([row[number] for row in self._rows]), compression="gzip")
            for number, camera in enumerate(CAMERAS):
                images = file.create_dataset(camera, (len(self._rows),), dtype=h5py.vlen_dtype(np.uint8))
                for index, row in enumerate(self._rows):
                    images[index] = cv2.imencode(".jpg", row[2 + number], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].ravel()


def main() -> int:
    """Record until asked to end."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node: Any = {"rosbags": RosbagsWriter, "plain": PlainWriter}[sys.argv[1]](Path(sys.argv[2]))
    executor = EventsExecutor()
    executor.add_node(node)
    never = Future()
    while not stopped:  # `spin_once` returns for each message, which costs the writer 0.3 % of a core more
        executor.spin_until_future_complete(never, timeout_sec=0.1)
    begun = time.monotonic()
    node.finish()
    print(f"{time.monotonic() - begun:.2f}", flush=True)
    node.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
