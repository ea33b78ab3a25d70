# SPDX-License-Identifier: Apache-2.0
"""JPEGs and image servers as the head camera's tests need them."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import zmq

FRAME_PERIOD_S = 0.02


def image_of(width: int = 640, height: int = 480, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 BGR: smooth, and different everywhere."""
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [(columns * 255 / width), (rows * 255 / height), (columns + rows + 40 * seed) % 256]
    return np.stack(channels, axis=-1).astype(np.uint8)


def jpeg(width: int = 640, height: int = 480, *, seed: int = 0, progressive: bool = False, grey: bool = False) -> bytes:
    """A JPEG as OpenCV writes it (4:2:0, so a grid of 16 px)."""
    image = image_of(width, height, seed)
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    return cv2.imencode(".jpg", image[:, :, 0] if grey else image, options)[1].tobytes()


def decoded(data: bytes) -> np.ndarray:
    """(height, width, 3) uint8 BGR."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def with_header(data: bytes, frame_id: int, time_s: float = 1.7e9) -> bytes:
    """As the classic server sends it with `Unit_Test`."""
    return struct.pack("<dI", time_s, frame_id) + data


class ClassicServer:
    """Sends what `frame` returns, 50 times a second, from a PUB socket on `host`."""

    def __init__(
        self, frame: Callable[[], bytes | Sequence[bytes] | None], port: int = 0, host: str = "127.0.0.1"
    ) -> None:
        self.frame = frame
        self._context: zmq.Context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IPV6, 1)
        self.port = port if port else self._socket.bind_to_random_port(f"tcp://{host}")
        if port:
            self._socket.bind(f"tcp://{host}:{port}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(FRAME_PERIOD_S):
            message = self.frame()
            if message is not None:
                self._socket.send_multipart([message] if isinstance(message, bytes) else list(message))
        self._context.destroy(linger=0)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


class ConfigServer:
    """Answers GET_DATA like teleimager, on a REP socket on 127.0.0.1."""

    def __init__(self, configuration: object) -> None:
        self.configuration = configuration
        self.asked = 0
        self._context: zmq.Context = zmq.Context()
        self._socket = self._context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(50):
                assert self._socket.recv() == b"GET_DATA"
                self.asked += 1
                answer = self.configuration
                self._socket.send(answer if isinstance(answer, bytes) else json.dumps(answer).encode())
        self._context.destroy(linger=0)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def teleimager_configuration(head: int, left: int = 0, right: int = 0, *, binocular: bool = False) -> dict:
    """As teleimager answers it."""
    common = {"enable_zmq": True, "enable_webrtc": False, "type": "opencv", "fps": 30, "video_id": 0}
    shape = [480, 1280 if binocular else 640]
    configuration = {"head_camera": common | {"zmq_port": head, "binocular": binocular, "image_shape": shape}}
    for name, port in (("left_wrist_camera", left), ("right_wrist_camera", right)):
        if port:
            configuration[name] = common | {"zmq_port": port, "binocular": False, "image_shape": [480, 640]}
    return configuration
