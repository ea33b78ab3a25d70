# SPDX-License-Identifier: Apache-2.0
"""Launch a training session.

ros2 launch h1_training_bringup session.launch.py                    on the robot
ros2 launch h1_training_bringup session.launch.py sim:=true          against the simulation
ros2 launch h1_training_bringup session.launch.py --show-args        what can be set
"""

from launch import LaunchDescription

from h1_training_bringup.session.launch_description import description_of


def generate_launch_description() -> LaunchDescription:
    """The session's launch arguments and, once they are known, its processes."""
    return description_of("session")
