#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All tests: those of single nodes and cores on two cores at once, then those that start a whole graph, one by one.
# Arguments go to pytest. With REPORTS=DIR, each part leaves a JUnit report there; with PARTS=single or PARTS=graph, one runs.
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
exit $status
