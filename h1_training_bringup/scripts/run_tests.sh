#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All tests: those of single nodes and cores on two cores at once, then those that start a whole graph, one by one.
# Arguments go to pytest. With REPORTS=DIR, each part leaves a JUnit report there; with PARTS=single or PARTS=graph, one runs.
# PARTS=cores runs what needs neither ROS nor a process of its own, nor takes long: more than half of all tests, for a second Python.
set -uo pipefail
status=5   # as pytest says it: no test was run

part() {
  local name=$1
  shift
  case " ${PARTS:-single graph} " in *" $name "*) ;; *) return ;; esac
  python -m pytest "$@" ${REPORTS:+--junitxml="$REPORTS/$name.xml"}
  local code=$?
  if [ $code -ne 5 ] && { [ $status -eq 5 ] || [ $status -eq 0 ]; }; then status=$code; fi
}

part single -m "not graph" -n 2 --dist loadfile "$@"
part graph -m graph "$@"
if [ "${PARTS:-}" = cores ]; then
  ros_or_processes='rclpy|_msgs|unitree_hg|std_srvs|subprocess|multiprocessing|import_module|_node import|SessionRun|serving\(|\bgraph\b'
  mapfile -t cores < <(grep -LE "$ros_or_processes" h1_*/test/test_*.py)
  part cores -m "not graph and not long" -n 2 --dist loadfile "$@" "${cores[@]}"
fi
exit $status
