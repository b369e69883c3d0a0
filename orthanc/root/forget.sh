#!/usr/bin/env bash
# Removes what `make run` and `make test` made: forget.sh data|cache. Only what is theirs, nothing beside it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
case $1 in
  data) directory=$data parts=(orthanc plugins log temporary .lock .demo-stored) ;;
  cache) directory=$cache parts=(debian-* venv-* viewers-* validators-* server-* virtual-machine-* machines archives pycache tools.log .lock .validators.lock) ;;
  *) die "usage: forget.sh data|cache" ;;
esac
[ -d "$directory" ] || exit 0
cd "$directory"
exec 9>>.lock
flock -n 9 || die "an archive or a build is using $directory: end it first."
rm -rf "${parts[@]}"
cd / && rmdir --ignore-fail-on-non-empty "$directory"
say "forgotten: the $1 in $directory"
