#!/usr/bin/env bash
# Runs a command in the environment of the built workspace:  docker/in_workspace.sh COMMAND [ARGUMENT ...]
# The packages' own executables need no `ros2 run`:  docker/in_workspace.sh episodes info FILE
set -eo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export VIRTUAL_ENV="$root/.venv" PATH="$root/.venv/bin:$PATH"
if [ "${ROS_DISTRO:-}" != jazzy ] || ! command -v ros2 >/dev/null; then
  export AMENT_PREFIX_PATH="$root/.venv" CMAKE_PREFIX_PATH="$root/.venv"
fi
. "$root/install/local_setup.bash"
for folder in "$root"/install/*/lib/h1_*/; do PATH="${folder%/}:$PATH"; done
exec "$@"
