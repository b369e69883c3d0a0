#!/usr/bin/env bash
# `make run`: builds what is missing, then runs the archive in the foreground until Ctrl-C or SIGTERM, and exits 0.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

"$here/build.sh" run
mkdir -p "$data" 2>/dev/null && [ -w "$data" ] || die "$data can't be written: set PACS_DATA_DIR to a directory that can."

# The archive runs in a session of its own, so a Ctrl-C ends this script alone; closing the lifeline, its standard
# input, asks the archive to end. It closes by itself should this script be killed.
exec 3>&1
coproc archive {
  exec setsid "$here/enter.sh" --bind "$data" /var/lib/pacs \
    -- env PACS_DATA_DIR=/var/lib/pacs PACS_DATA_DIR_OUTSIDE="$data" python3 -m pacs.embedded >&3
}
lifeline=${archive[1]} pid=$archive_PID
trap 'exec {lifeline}>&- || true' INT TERM HUP
status=0
wait "$pid" || status=$?
# A trapped signal ends the first wait; the second one gets what the archive itself ended with.
if kill -0 "$pid" 2>/dev/null; then status=0; wait "$pid" || status=$?; fi
exit "$status"
