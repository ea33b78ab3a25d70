# SPDX-License-Identifier: Apache-2.0
"""Launch the drivers alone: arms, guard, hands and cameras, without policy, recorder or session.

ros2 launch h1_training_bringup robot.launch.py                      the robot's
ros2 launch h1_training_bringup robot.launch.py sim:=true            those of the peers that sim.launch.py has started

The arms stay with the robot's own controller: without a session the arm driver only measures.
"""

from launch import LaunchDescription

from h1_training_bringup.session.launch_description import description_of


def generate_launch_description() -> LaunchDescription:
    """The drivers' launch arguments and, once they are known, their processes."""
    return description_of("robot")
