"""The parameters of head_camera. Defaults are the classic image_server of a Unitree robot."""

from __future__ import annotations

from dataclasses import dataclass

from h1_training_node.parameter import parameter

FORMATS = ("auto", "image_server", "teleimager")
EYES = ("left", "right", "both")
BINOCULAR = ("auto", "yes", "no")


@dataclass(frozen=True)
class HeadCameraParameters:
    """Where the image server is, what its frames hold, and what is published of them."""

    host: str = parameter("192.168.123.163", "address of the robot's image server")
    port: int = parameter(5555, "port of the classic image_server's stream", low=1, high=65535)
    config_port: int = parameter(60000, "port at which teleimager answers for its configuration", low=1, high=65535)
    format: str = parameter(
        "auto", "image_server: one stream; teleimager: a stream a camera; auto: whichever answers", choices=FORMATS
    )
    binocular: str = parameter(
        "auto",
        "the head's image holds two eyes side by side; auto: teleimager's word, or wider than 2:1",
        choices=BINOCULAR,
    )
    eye: str = parameter("left", "which eye of a binocular head is published", choices=EYES)
    wrists_in_frame: int = parameter(
        0,
        "wrist images that the image server carries besides the head's (left first); 0: RealSense nodes publish them",
        low=0,
        high=2,
    )
    wrist_width: int = parameter(640, "width of each wrist image within a frame", unit="px", low=8, high=4096)
    width: int = parameter(
        0, "width that a whole frame must have; 0: that of the first one", unit="px", low=0, high=65535
    )
    height: int = parameter(
        0, "height that a whole frame must have; 0: that of the first one", unit="px", low=0, high=65535
    )
    max_frame_bytes: int = parameter(4_000_000, "a larger frame is dropped", unit="B", low=1000, high=100_000_000)
    jpeg_quality: int = parameter(
        85, "of what must be encoded anew because it cannot be cut without loss", low=1, high=100
    )
    first_frame_within: float = parameter(
        5.0, "a stream without its first frame for this long is reported", unit="s", low=0.2, high=600.0
    )
    silent_after: float = parameter(1.0, "a stream that stops for this long is reported", unit="s", low=0.2, high=60.0)
    frozen_after: float = parameter(
        0.4, "a stream that sends the same bytes for this long is reported", unit="s", low=0.1, high=60.0
    )

    def __post_init__(self) -> None:
        if not self.host:
            raise ValueError("parameter 'host' is empty; expected the address of the robot's image server")
        if bool(self.width) != bool(self.height):
            raise ValueError(f"width is {self.width} and height {self.height}; set both or neither")
