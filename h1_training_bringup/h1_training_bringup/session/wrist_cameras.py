# SPDX-License-Identifier: Apache-2.0
"""The D405s at the wrists: what `realsense2_camera` must be given so that their colour images arrive on our topics.

Sources, and what each of them has that one would not expect:

* `IntelRealSense/realsense-ros:realsense2_camera/src/profile_manager.cpp`: a profile is `<module>.<stream>_profile`,
  WxHxFPS. A D405 has no RGB module, its colour comes from the depth module. Every stream but infra 0 is on unless it is
  switched off: `rs_launch.py` does that, the node alone does not.
* `realsense_node_factory.cpp`: `serial_no` loses one leading underscore, with which it cannot be taken for a number.
  An empty one means whichever camera is found first.
* `rs_node_setup.cpp`: the topic is `~/color/image_rect_raw` if colour comes from the depth module (4.56 and before),
  later `~/color/image_raw` (realsense-ros #3287).
* `ros-perception/image_common:image_transport/src/publisher.cpp`: the compressed topic is the expanded name with
  `/compressed` behind it, and is remapped by that name.
* `ros-perception/image_transport_plugins:compressed_image_transport/src/compressed_publisher.cpp`, 4.0 (Jazzy): the
  quality is `<topic with dots>.compressed.jpeg_quality`, 95 by default; under a namespace the name begins with a dot
  (#109; later releases have none). A parameter that a node does not declare is ignored: so all names are given.
"""

from __future__ import annotations

from typing import Any

from h1_training_bringup.head_camera.layout import LAYOUTS
from h1_training_bringup.session.configuration import Configuration, ConfigurationError
from h1_training_bringup.session.process import Process

PROFILE = "640x480x30"
_SIDES = ("left", "right")
_COLOUR_TOPICS = ("image_raw", "image_rect_raw")


def wrist_processes(configuration: Configuration) -> tuple[Process, ...]:
    """One process a wrist that has a RealSense; a wrist whose images come with the head's has none.

    Raises:
        ConfigurationError: the wrapper could take one camera for the other.
    """
    _, in_frame = LAYOUTS[configuration["robot.head_camera_layout"]]
    return tuple(
        _process(side, serials(configuration)[side], configuration["recording.image_quality"])
        for side in _SIDES[in_frame:]
    )


def serials(configuration: Configuration) -> dict[str, str]:
    """The serial number of each wrist's camera, by side.

    Raises:
        ConfigurationError: one is missing, or both are the same: left and right could be recorded the wrong way round.
    """
    found = {side: str(configuration[f"robot.{side}_wrist_serial"]).removeprefix("_") for side in _SIDES}
    for side, serial in found.items():
        if not serial:
            raise ConfigurationError(
                f"'robot.{side}_wrist_serial' is empty: the wrapper would take whichever camera it finds first; "
                "rs-enumerate-devices shows the numbers"
            )
    if found["left"] == found["right"]:
        raise ConfigurationError(f"'robot.left_wrist_serial' and 'robot.right_wrist_serial' are both {found['left']}")
    return found


def parameters(camera: str, serial: str, jpeg_quality: int) -> dict[str, Any]:
    """The node's parameters.

    Args:
        camera: name of the node, `left_wrist_camera` or `right_wrist_camera`.
        serial: number on the camera's label.
        jpeg_quality: 1 to 100.
    """
    qualities = {
        f"{dot}{camera}.color.{topic}.compressed.jpeg_quality": jpeg_quality
        for topic in _COLOUR_TOPICS
        for dot in ("", ".")
    }
    return {
        "serial_no": f"_{serial}",
        "camera_name": camera,
        "enable_color": True,
        "enable_depth": False,
        "enable_infra": False,
        "enable_infra1": False,
        "enable_infra2": False,
        "depth_module.color_profile": PROFILE,
        **qualities,
    }


def _process(side: str, serial: str, jpeg_quality: int) -> Process:
    camera = f"{side}_wrist_camera"
    return Process(
        "realsense2_camera",
        "realsense2_camera_node",
        camera,
        parameters=parameters(camera, serial, jpeg_quality),
        remappings=tuple(
            (f"~/color/{topic}/compressed", f"{camera}/color/image_raw/compressed") for topic in _COLOUR_TOPICS
        ),
        when=frozenset({"robot", "cameras"}),
        essential=False,
        respawn=True,
        foreign=True,
        launch_file="rs_launch.py",
    )
