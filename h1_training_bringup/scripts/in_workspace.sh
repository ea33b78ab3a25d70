#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The environment of the built workspace: ROS 2, .venv, the packages and their executables, which then need no `ros2 run`.
#   h1_training_bringup/scripts/in_workspace.sh COMMAND [ARGUMENT ...]    runs a command in it, e.g. episodes info FILE
#   . h1_training_bringup/scripts/in_workspace.sh                         gives it to this shell, which has to be bash
[ "${BASH_SOURCE[0]}" != "$0" ] || set -eo pipefail
h1_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export VIRTUAL_ENV="$h1_root/.venv" PATH="$h1_root/.venv/bin:$PATH"
if [ "${ROS_DISTRO:-}" = jazzy ] && command -v ros2 >/dev/null; then
  # `ros2` runs the system's Python: it finds here what apt lacks.
  for h1_folder in "$VIRTUAL_ENV"/lib/python3.*/site-packages; do
    export PYTHONPATH="$h1_folder${PYTHONPATH:+:$PYTHONPATH}"
  done
else
  export AMENT_PREFIX_PATH="$h1_root/.venv" CMAKE_PREFIX_PATH="$h1_root/.venv"
fi
. "$h1_root/install/local_setup.bash"
for h1_folder in "$h1_root"/install/*/lib/h1_*/; do PATH="${h1_folder%/}:$PATH"; done
unset h1_root h1_folder
[ "${BASH_SOURCE[0]}" != "$0" ] || exec "$@"
