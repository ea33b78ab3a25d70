#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Health of the container, by the session's own word: its heartbeat advances, and no emergency has stopped it.
# A simulation chooses its ROS domain when it starts: the session manager's own environment says which, and
# its command line names the namespace.
set -eo pipefail
manager=$(pgrep --oldest --full 'lib/h1_session_manager/session_manager') || { echo "no session manager runs"; exit 1; }
while IFS= read -r -d '' line; do
  case "$line" in ROS_DOMAIN_ID=* | ROS_AUTOMATIC_DISCOVERY_RANGE=* | RMW_IMPLEMENTATION=* | CYCLONEDDS_URI=*) export "${line?}" ;; esac
done <"/proc/$manager/environ"
namespace=
while IFS= read -r -d '' argument; do
  case "$argument" in __ns:=*) namespace=${argument#__ns:=} ;; esac
done <"/proc/$manager/cmdline"
exec docker/entrypoint.sh session --timeout 8 ${namespace:+--namespace "$namespace"} status --healthy
