# SPDX-License-Identifier: Apache-2.0
"""Which part of which stream is whose image: by named layouts, or as teleimager's configuration says.

A frame's shape does not say it. Source: `unitreerobotics/xr_teleoperate:teleop/image_server/image_client.py` and
`teleop_hand_and_arm.py`: all cameras of the classic server stand side by side at equal height, the head's first, then
the wrists (left, right). 1920 x 480 is a head and two wrists of 640 x 480, or one very wide head; so `auto` accepts
only shapes that one head, with one eye or two, can have, and refuses the rest with the layouts to choose from.

`unitreerobotics/teleimager`, as used by xr_teleoperate 1.5, has a stream a camera: a REQ of `GET_DATA` at port 60000 is
answered with JSON, `{"head_camera": {"enable_zmq": true, "zmq_port": 55555, "binocular": true, ...}, ...}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from h1_training_bringup.head_camera.payload import RefusedFrameError
from h1_training_node.cameras import CAMERAS

HEAD, *WRISTS = CAMERAS
LAYOUTS = {
    "auto": (None, 0),
    "mono": (1, 0),
    "stereo": (2, 0),
    "mono_left_wrist": (1, 1),
    "mono_wrists": (1, 2),
    "stereo_left_wrist": (2, 1),
    "stereo_wrists": (2, 2),
}
"""By name: eyes of the head (None: by its shape, or as teleimager says), and wrists that come with it."""

_WIDEST_EYE = 1.8
"""Width by height; 16:9 is 1.78."""
_NARROWEST_PAIR, _WIDEST_PAIR = 2.4, 3.6
"""Two eyes side by side of 4:3 (2.67) to 16:9 (3.56)."""
_LEAST_WIDTH = 8


@dataclass(frozen=True)
class Cut:
    """One camera's part of a frame, px."""

    camera: str
    x: int
    width: int
    height: int


@dataclass(frozen=True)
class FrameLayout:
    """How a frame is divided.

    Attributes:
        camera: whose image comes first; a stream of a wrist's own has nothing else.
        eyes: side by side in that image; None: by its shape.
        wrists: how many wrist images follow.
        wrist_width: px, of each.
        eye: `left`, `right` or `both`.
    """

    camera: str = HEAD
    eyes: int | None = None
    wrists: int = 0
    wrist_width: int = 640
    eye: str = "left"

    def cuts(self, width: int, height: int) -> tuple[Cut, ...]:
        """The parts of a frame of `width` x `height` px.

        Raises:
            RefusedFrameError: `wrong_shape`: it cannot hold what the layout names.
        """
        head_width = width - self.wrists * self.wrist_width
        if head_width < _LEAST_WIDTH:
            raise RefusedFrameError(
                "wrong_shape",
                f"{width}x{height} cannot hold a head and {self.wrists} wrist images of {self.wrist_width} px; "
                "correct robot.head_camera_layout or wrist_width",
            )
        wrists = (
            Cut(camera, head_width + index * self.wrist_width, self.wrist_width, height)
            for index, camera in enumerate(WRISTS[: self.wrists])
        )
        return (self._head(head_width, height), *wrists)

    def described(self, width: int, height: int) -> str:
        """What a frame of this shape is taken for, e.g. `"head 640x480 (left of 2 eyes), wrists in frame: 2"`."""
        head, *wrists = self.cuts(width, height)
        eyes = "" if self._eyes(width - self.wrists * self.wrist_width, height) == 1 else f" ({self.eye} of 2 eyes)"
        name = "head" if self.camera == HEAD else self.camera
        return f"{name} {head.width}x{head.height}{eyes}, wrists in frame: {len(wrists)}"

    def _head(self, width: int, height: int) -> Cut:
        if self._eyes(width, height) == 1:
            return Cut(self.camera, 0, width, height)
        half = width // 2
        if half < height:
            raise RefusedFrameError(
                "wrong_shape",
                f"two eyes of {half}x{height} would be taller than wide; {width}x{height} is one eye: "
                "set robot.head_camera_layout to mono (or correct teleimager's binocular)",
            )
        if self.eye == "both":
            return Cut(self.camera, 0, width, height)
        return Cut(self.camera, 0 if self.eye == "left" else half, half, height)

    def _eyes(self, width: int, height: int) -> int:
        if self.eyes is not None:
            return self.eyes
        aspect = width / height
        if aspect <= _WIDEST_EYE:
            return 1
        if _NARROWEST_PAIR <= aspect <= _WIDEST_PAIR:
            return 2
        names = ", ".join(name for name in LAYOUTS if name != "auto")
        raise RefusedFrameError(
            "wrong_shape",
            f"{width}x{height} is neither one eye nor two, and may hold wrist images: "
            f"set robot.head_camera_layout to one of {names}",
        )


REQUEST = b"GET_DATA"
MAX_ANSWER_BYTES = 65536
_SECTIONS = dict(zip((HEAD, *WRISTS), ("head_camera", "left_wrist_camera", "right_wrist_camera"), strict=True))


class BadConfigurationError(ValueError):
    """An answer from which no stream can be taken; the message says what is wrong with it."""


@dataclass(frozen=True)
class Source:
    """Where frames come from.

    Attributes:
        address: as ZeroMQ has it.
        camera: whose stream it is; the classic server has one stream, the head's.
        is_teleimager: one camera a stream.
        is_binocular: what teleimager says of it; None: nothing.
    """

    address: str
    camera: str = HEAD
    is_teleimager: bool = False
    is_binocular: bool | None = None


def streams_of(answer: bytes, host: str, cameras: tuple[str, ...]) -> tuple[Source, ...]:
    """The streams of `cameras` at `host`, from the answer to `REQUEST`.

    Raises:
        BadConfigurationError: it is no such JSON, or one of the cameras is missing or has no ZeroMQ stream.
    """
    try:
        configuration = json.loads(answer)
    except RecursionError:
        raise BadConfigurationError("the answer to GET_DATA is nested too deeply") from None
    except ValueError:
        raise BadConfigurationError(f"the answer to GET_DATA is no JSON: {answer[:40]!r}") from None
    if not isinstance(configuration, dict):
        raise BadConfigurationError(f"the answer to GET_DATA is {type(configuration).__name__}; expected an object")
    return tuple(_stream(host, camera, configuration.get(_SECTIONS[camera])) for camera in cameras)


def _stream(host: str, camera: str, section: object) -> Source:
    name = _SECTIONS[camera]
    if not isinstance(section, dict):
        raise BadConfigurationError(f"teleimager has no {name}; correct its configuration or robot.head_camera_layout")
    if not section.get("enable_zmq", True):
        raise BadConfigurationError(f"teleimager's {name} has enable_zmq off; switch it on")
    port = section.get("zmq_port")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise BadConfigurationError(f"teleimager's {name} has zmq_port {port!r}; expected a port number")
    binocular = section.get("binocular")
    return Source(address(host, port), camera, True, binocular if isinstance(binocular, bool) else None)


def address(host: str, port: int) -> str:
    """Of a server's socket, as ZeroMQ has it."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
