#!/usr/bin/env bash
# Runs a command of the tests or checks inside the test root, building it first where it is missing.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
"$here/build.sh" test
"$here/validators.sh"
exec "$here/enter.sh" --test --writable-checkout --read "$(validators_layer)" /run/validators "${shared[@]}" -- "$@"
