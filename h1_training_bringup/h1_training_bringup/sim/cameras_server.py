# SPDX-License-Identifier: Apache-2.0
"""The head camera's image servers, both formats that robots have, over ZeroMQ.

* classic (avp_teleoperate:teleop/image_server/image_server.py): one PUB, each message one JPEG of
  `hconcat([head..., wrists...])`, with an optional header of 12 bytes: float64 seconds, uint32 number of the frame;
* teleimager (xr_teleoperate from v1.5): one PUB a camera with `CONFLATE`, bare JPEGs, and a REP that answers
  `GET_DATA` with the cameras' configuration as JSON.

They listen on this machine only: a simulation is nobody else's camera.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import zmq

from h1_training_bringup.sim.cameras_view import HEIGHT, WIDTH
from h1_training_node.parameter import ParameterError

_HOST = "127.0.0.1"
_HEADER = struct.Struct("=dI")
_CONFIG_NAMES = {
    "ego_cam": "head_camera",
    "cam_left_wrist": "left_wrist_camera",
    "cam_right_wrist": "right_wrist_camera",
}
_CONFIG_REQUEST = b"GET_DATA"


def _bound(context: zmq.Context[Any], kind: int, port: int, *, conflate: bool = False) -> zmq.Socket[Any]:
    socket: zmq.Socket[Any] = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    if conflate:
        socket.setsockopt(zmq.SNDHWM, 1)
        socket.setsockopt(zmq.CONFLATE, 1)
    try:
        socket.bind(f"tcp://{_HOST}:{port}")
    except zmq.ZMQError as error:
        socket.close()
        raise ParameterError(
            f"cannot serve the simulated head camera on {_HOST}:{port}: {error}; "
            "end whoever has the port, or choose another"
        ) from None
    return socket


class ClassicServer:
    """The image_server of the robot's head.

    Args:
        port: TCP port; 5555 on the robot.
        with_header: put time and number of the frame before the JPEG (`Unit_Test=True` there).

    Raises:
        ParameterError: the port is taken.
    """

    def __init__(self, port: int, *, with_header: bool) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = _bound(self._context, zmq.PUB, port)
        self._with_header = with_header
        self._frames = 0

    def send(self, jpeg: bytes, time_s: float) -> None:
        """Publish one frame; `time_s` since the Unix epoch."""
        header = _HEADER.pack(time_s, self._frames) if self._with_header else b""
        self._frames = (self._frames + 1) & 0xFFFFFFFF
        self._socket.send(header + jpeg, zmq.NOBLOCK)

    def close(self) -> None:
        """Let the port go."""
        self._socket.close()
        self._context.term()


class TeleimagerServer:
    """The newer server: a PUB a camera and the configuration's REP.

    Args:
        ports: by camera key.
        config_port: of the REP; 60000 on the robot.
        binocular: the head's image is two, side by side.
        fps: as configured.

    Raises:
        ParameterError: a port is taken.
    """

    def __init__(self, ports: dict[str, int], config_port: int, *, binocular: bool, fps: float) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._sockets: dict[str, zmq.Socket[Any]] = {}
        self._config = json.dumps(_configuration(ports, binocular, fps)).encode()
        try:
            for key, port in ports.items():
                self._sockets[key] = _bound(self._context, zmq.PUB, port, conflate=True)
            self._requests = _bound(self._context, zmq.REP, config_port)
        except ParameterError:
            self._close_cameras()
            raise

    def send(self, key: str, jpeg: bytes) -> None:
        """Publish one frame of a camera."""
        self._sockets[key].send(jpeg, zmq.NOBLOCK)

    def answer(self) -> None:
        """Answer a waiting configuration request, if there is one. Does not wait."""
        if self._requests.poll(0):
            asked = self._requests.recv(zmq.NOBLOCK)
            self._requests.send(self._config if asked == _CONFIG_REQUEST else b"{}", zmq.NOBLOCK)

    def close(self) -> None:
        """Let the ports go."""
        self._requests.close()
        self._close_cameras()

    def _close_cameras(self) -> None:
        for socket in self._sockets.values():
            socket.close()
        self._context.term()


def _configuration(ports: dict[str, int], binocular: bool, fps: float) -> dict[str, dict[str, Any]]:
    def of(key: str) -> dict[str, Any]:
        two = binocular and key == "ego_cam"
        return {
            "enable_zmq": key in ports,
            "zmq_port": ports.get(key, 0),
            "enable_webrtc": False,
            "webrtc_port": 0,
            "webrtc_codec": None,
            "type": "opencv",
            "image_shape": [HEIGHT, 2 * WIDTH if two else WIDTH],
            "binocular": two,
            "fps": fps,
            "video_id": None,
            "serial_number": None,
            "physical_path": None,
        }

    return {name: of(key) for key, name in _CONFIG_NAMES.items()}
