# SPDX-License-Identifier: Apache-2.0
"""The parameters of head_camera. Defaults are the classic image_server of a Unitree robot."""

from __future__ import annotations

from dataclasses import dataclass

from h1_training_bringup.head_camera.layout import HEAD, LAYOUTS, WRISTS
from h1_training_node.forms import check_host
from h1_training_node.parameter import parameter

FORMATS = ("auto", "image_server", "teleimager")
EYES = ("left", "right", "both")


@dataclass(frozen=True)
class HeadCameraParameters:
    """Where the image server is, what its frames hold, and what is published of them."""

    host: str = parameter("192.168.123.163", "address of the robot's image server", check=check_host)
    port: int = parameter(5555, "port of the classic image_server's stream", low=1, high=65535)
    config_port: int = parameter(60000, "port at which teleimager answers for its configuration", low=1, high=65535)
    format: str = parameter(
        "auto", "image_server: one stream; teleimager: a stream a camera; auto: whichever answers", choices=FORMATS
    )
    layout: str = parameter(
        "auto",
        "what the image server carries: a head of one eye (mono) or two (stereo), with the wrists' images if they are "
        "not RealSense cameras of their own; auto: a head alone, its eyes by the frame's shape or teleimager's word",
        choices=tuple(LAYOUTS),
    )
    eye: str = parameter("left", "which eye of a stereo head is published", choices=EYES)
    wrist_width: int = parameter(640, "width of each wrist image within a frame", unit="px", low=8, high=4096)
    width: int = parameter(
        0, "width that a whole frame must have; 0: that of the first one", unit="px", low=0, high=65535
    )
    height: int = parameter(
        0, "height that a whole frame must have; 0: that of the first one", unit="px", low=0, high=65535
    )
    max_frame_bytes: int = parameter(4_000_000, "a larger frame is dropped", unit="B", low=1000, high=100_000_000)
    jpeg_quality: int = parameter(
        85, "of what must be encoded again because it cannot be cut without loss", low=1, high=100
    )
    first_frame_within_s: float = parameter(
        5.0, "a stream without its first frame for this long is reported", unit="s", low=0.2, high=600.0
    )
    silent_after_s: float = parameter(
        1.0, "a stream that stops for this long is reported, and looked for again", unit="s", low=0.2, high=60.0
    )

    def __post_init__(self) -> None:
        if not self.host:
            raise ValueError("parameter 'host' is empty; expected the address of the robot's image server")
        if bool(self.width) != bool(self.height):
            raise ValueError(f"width is {self.width} and height {self.height}; set both or neither")

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras whose images the server carries."""
        return (HEAD, *WRISTS[: LAYOUTS[self.layout][1]])
