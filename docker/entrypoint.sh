#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Entry of the images: ROS 2, the robot's messages where they are, our workspace; then the command. What is run in a
# container beside its first command (`docker exec`, the health check) needs nobody who waits for the last node.
set -eo pipefail
. /opt/ros/jazzy/setup.bash
if [ -f /opt/unitree/install/setup.bash ]; then
  . /opt/unitree/install/setup.bash
fi
cd /workspace
. h1_training_bringup/scripts/in_workspace.sh
if [ $$ -eq 1 ] || [ "$PPID" -eq 1 ]; then
  exec docker/until_the_last.sh "$@"
fi
exec "$@"
