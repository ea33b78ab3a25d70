#!/usr/bin/env bash
# Entry of the images: ROS 2, the robot's messages where they are, our workspace; then the command.
set -eo pipefail
. /opt/ros/jazzy/setup.bash
if [ -f /opt/unitree/install/setup.bash ]; then
  . /opt/unitree/install/setup.bash
fi
cd /workspace
. docker/workspace.bash
exec "$@"
