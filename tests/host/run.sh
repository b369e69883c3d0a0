#!/usr/bin/env bash
# `make run` as a person runs it, on this machine itself: it becomes ready, ends on Ctrl-C and on SIGTERM with 0,
# keeps the data, says in one line what is wrong, and `make clean` forgets. Ports and data are its own.
set -euo pipefail
cd "$(dirname "$0")/../.."

place=$(mktemp -d)
# Kernel-chosen would be better, but what listens is told by number: a range that nothing else here uses.
base=$((20000 + RANDOM % 10000))
export PACS_HTTP_PORT=$base PACS_DICOM_PORT=$((base + 1)) PACS_HL7_PORT=$((base + 2)) PACS_MPPS_PORT=$((base + 5)) PACS_DATA_DIR=$place/data PACS_DEMO=0
log=$place/log
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$place"' EXIT

fail() { echo "FAILED: $*"; sed 's/^/  | /' "$log"; exit 1; }
passed() { echo "passed: $*"; }
wait_for() { # wait_for <what> <command>: until it succeeds, or fails the test
  for _ in $(seq 900); do if eval "$2"; then return; fi; sleep 0.1; done
  fail "$1"
}
answers() { exec 3<>"/dev/tcp/127.0.0.1/$PACS_HTTP_PORT"; } 2>/dev/null

# --- a terminal and its Ctrl-C ---
mkfifo "$place/keys"
# A shell's background job is deaf for SIGINT unless told otherwise; a person's make is not.
env --default-signal=INT script -qec 'make run' /dev/null <"$place/keys" >"$log" 2>&1 & terminal=$!
exec 4>"$place/keys"
wait_for "it never became ready" 'grep -q READY "$log"'
answers || fail "it says READY and does not answer"
printf '\003' >&4
status=0; wait "$terminal" || status=$?
[ "$status" = 0 ] || fail "Ctrl-C ended make run with $status"
answers && fail "something still answers after Ctrl-C"
passed "make run is ready, and Ctrl-C ends it with 0"

# --- SIGTERM, and the data of before ---
[ -s "$PACS_DATA_DIR/orthanc/index" ] || fail "no index was kept in $PACS_DATA_DIR"
: >"$log" # else READY may still be the first run's
orthanc/root/run.sh >"$log" 2>&1 & archive=$!
wait_for "it never became ready again" 'grep -q READY "$log"'
passed "it starts again on the data of before"

# --- mistakes, told while the first one runs ---
status=0; PACS_DATA_DIR=$place/other orthanc/root/run.sh >"$log" 2>&1 </dev/null || status=$?
[ "$status" = 1 ] || fail "a port in use ended it with $status"
[ "$(cat "$log")" = "error: Port $PACS_HTTP_PORT is in use. End what uses it, or choose another with PACS_HTTP_PORT=PORT." ] ||
  fail "a port in use was not told in one line"
status=0; PACS_HTTP_PORT=$((base + 3)) PACS_DICOM_PORT=$((base + 4)) orthanc/root/run.sh >"$log" 2>&1 || status=$?
grep -q "^error: Another archive is running on $PACS_DATA_DIR" "$log" || fail "a second archive on the same data was not refused"
status=0; PACS_DATA_DIR=/proc/nowhere orthanc/root/run.sh >"$log" 2>&1 || status=$?
grep -q "^error: /proc/nowhere can't be written" "$log" || fail "a data directory that can't be was not told"
passed "a port in use, data in use and data that can't be written are told in one line each"

kill -TERM "$archive"
status=0; wait "$archive" || status=$?
[ "$status" = 0 ] || fail "SIGTERM ended it with $status"
passed "SIGTERM ends it with 0"

# --- forgetting ---
make -s clean 2>"$log"
[ ! -e "$PACS_DATA_DIR/orthanc" ] || fail "make clean left the data"
touch "$place/precious"; mkdir -p "$PACS_DATA_DIR"; touch "$PACS_DATA_DIR/precious"; make -s clean 2>"$log"
[ -e "$PACS_DATA_DIR/precious" ] || fail "make clean removed what is not ours"
passed "make clean forgets our data and nothing else"
