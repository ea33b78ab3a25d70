#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command in the environment of the built workspace:  h1_training_bringup/scripts/in_workspace.sh COMMAND [ARGUMENT ...]
# The packages' own executables need no `ros2 run`:  h1_training_bringup/scripts/in_workspace.sh episodes info FILE
set -eo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/workspace.bash"
exec "$@"
