# SPDX-License-Identifier: Apache-2.0
"""What may be started beside the session, to visualise it: rviz2, rqt, Foxglove's bridge, a bag.

None of it takes part: the session neither waits for it nor ends with it.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory

from h1_training_bringup.arm_driver.joints import URDF
from h1_training_bringup.session.configuration import Configuration
from h1_training_bringup.session.process import Process, SessionOptions

PRIORITY = "10"
IMAGE_TYPES = ("sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image")
"""What a bag leaves out: the episode's journal has the images, a hundred times the rest."""
OWN_TF = (("/tf", "tf"), ("/tf_static", "tf_static"))
"""So that two robots under two namespaces have two trees."""


def tool_processes(configuration: Configuration, session: SessionOptions) -> tuple[Process, ...]:
    """The tools; each runs under the condition that is called as its launch argument is."""
    share = Path(get_package_share_directory("h1_training_bringup"))
    return (
        Process(
            "robot_state_publisher",
            "robot_state_publisher",
            parameters={"robot_description": URDF.read_text()},
            # joint_states has the arms' 14 joints; the model begins with the waist.
            remappings=(*OWN_TF, ("joint_states", "session/model_joint_states")),
            when=frozenset({"displays"}),
            essential=False,
            respawn=True,
            priority=PRIORITY,
            foreign=True,
        ),
        Process(
            "h1_training_bringup",
            "state_marker",
            when=frozenset({"displays"}),
            essential=False,
            respawn=True,
            priority=PRIORITY,
        ),
        _window("rviz2", "rviz2", "rviz", ("-d", str(share / "rviz/session.rviz"))),
        _window(
            "rqt_gui",
            "rqt_gui",
            "rqt",
            ("--force-discover", "--perspective-file", str(share / "rqt/session.perspective")),
            # Its robot monitor listens to an aggregator, which the session has no need of.
            remappings=(("/diagnostics_agg", "/diagnostics"),),
        ),
        Process(
            "foxglove_bridge",
            "foxglove_bridge",
            parameters={"address": configuration["foxglove.address"], "port": configuration["foxglove.port"]},
            when=frozenset({"foxglove"}),
            essential=False,
            respawn=True,
            priority=PRIORITY,
            foreign=True,
        ),
        _bag(session),
    )


def _window(
    package: str,
    executable: str,
    condition: str,
    arguments: tuple[str, ...],
    remappings: tuple[tuple[str, str], ...] = OWN_TF,
) -> Process:
    """A program with a window: when its person closes it, it stays closed."""
    return Process(
        package,
        executable,
        condition,
        arguments=arguments,
        remappings=remappings,
        when=frozenset({condition}),
        essential=False,
        priority=PRIORITY,
        foreign=True,
    )


def _bag(session: SessionOptions) -> Process:
    """rosbag2's recorder as a node (`ros2/rosbag2:rosbag2_transport`, branch jazzy): every topic but images."""
    return Process(
        "rosbag2_transport",
        "recorder",
        "bag",
        parameters={
            "record.all_topics": True,
            "record.exclude_topic_types": list(IMAGE_TYPES),
            "record.disable_keyboard_controls": True,
            "storage.uri": str(session.bag_dir),
            "storage.storage_id": "mcap",
        },
        when=frozenset({"bag"}),
        essential=False,
        priority=PRIORITY,
        foreign=True,
    )
