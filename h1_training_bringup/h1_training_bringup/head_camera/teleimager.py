# SPDX-License-Identifier: Apache-2.0
"""teleimager's configuration: which cameras it has, and the port of each.

Source: `unitreerobotics/teleimager`, as used by xr_teleoperate 1.5: a REQ of `GET_DATA` at port 60000 is answered with
JSON, `{"head_camera": {"enable_zmq": true, "zmq_port": 55555, "binocular": true, ...}, "left_wrist_camera": {...}}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from h1_training_bringup.head_camera.layout import HEAD, WRISTS

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
