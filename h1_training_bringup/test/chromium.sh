#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Chromium beside a session on the same cores, which a tablet would not share: as nice as can be. As root it would
# raise its own priority above the session's again, so that right is taken from it.
program=$(command -v chromium || command -v chromium-browser || command -v google-chrome) ||
  { echo "no Chromium: apt install chromium" >&2; exit 127; }
if [ "$(id -u)" = 0 ]; then
  exec nice -n 19 setpriv --bounding-set=-sys_nice "$program" "$@"
fi
exec nice -n 19 "$program" "$@"
