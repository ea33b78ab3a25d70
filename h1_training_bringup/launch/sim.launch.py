# SPDX-License-Identifier: Apache-2.0
"""Launch the simulated peers alone: robot, cameras, hands and policy server, at the ports of the configuration.

ros2 launch h1_training_bringup sim.launch.py
"""

from launch import LaunchDescription

from h1_training_bringup.session.launch_description import description_of


def generate_launch_description() -> LaunchDescription:
    """The peers' launch arguments and, once they are known, their processes."""
    return description_of("sim")
