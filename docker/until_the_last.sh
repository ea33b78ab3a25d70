#!/usr/bin/env -S --default-signal=INT,QUIT bash
# SPDX-License-Identifier: Apache-2.0
# A container's first process: runs a command, hands it every request to end as SIGINT, and stays until the last of our
# nodes has ended. A container ends with its first process and kills what is left, the arms' driver and guard as well;
# but `ros2 launch` dies of SIGTERM at once, and its nodes need 15 s more to give the arms back and to save.
# (A signal that was ignored when bash began could not be trapped: hence the first line.)
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# In the background, so that a signal is heard while it runs; but on the terminal, and with SIGINT as it was.
env --default-signal=INT,QUIT "$@" <&0 &
child=$!
trap 'kill -INT "$child" 2>/dev/null' INT TERM HUP
while
  wait "$child"
  status=$?
  kill -0 "$child" 2>/dev/null
do :; done

for _ in $(seq 100); do
  grep --quiet --no-messages --null-data "^$root/install/.*/lib/" /proc/[0-9]*/cmdline || break
  sleep 0.2
done
exit "$status"
