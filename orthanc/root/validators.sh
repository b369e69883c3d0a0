#!/usr/bin/env bash
# Builds the layer validators-*: what the tests alone have files judged by, from the npm packages of tests/validators.json
# with pinned integrity, each in a folder of its name. A layer that is there is left alone.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
flavour=test
directory=$(validators_layer)
[ -e "$directory" ] && exit 0
exec 8>"$cache/.validators.lock"
flock 8
[ -e "$directory" ] && exit 0
say "building the validators ..."
partial="$directory.partial"
rm -rf "$partial"
mkdir -p "$partial"
"$here/enter.sh" --test --network --bind "$partial" /run/validators -- \
  sh -c 'python3 -m venv /tmp/npm && /tmp/npm/bin/pip install --no-compile --no-input --disable-pip-version-check --require-hashes -r /opt/pacs/viewer-config/npm.lock &&
    PATH=/tmp/npm/bin:$PATH PYTHONPATH=/opt/pacs/viewer-config exec python3 orthanc/root/validators.py' \
  >"$directory.log" 2>&1 8>&- ||
  { tail -n 8 "$directory.log" >&2; die "the validators could not be built: is there a network? The whole log: $directory.log"; }
mv "$partial" "$directory"
