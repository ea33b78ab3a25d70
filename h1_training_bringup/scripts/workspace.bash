# SPDX-License-Identifier: Apache-2.0
# To be sourced by bash: this shell then has ROS 2, .venv and the built workspace.   . h1_training_bringup/scripts/workspace.bash
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
# The packages' own executables, which then need no `ros2 run`.
for h1_folder in "$h1_root"/install/*/lib/h1_*/; do PATH="${h1_folder%/}:$PATH"; done
unset h1_root h1_folder
