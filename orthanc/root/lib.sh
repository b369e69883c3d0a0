# Shared by the scripts beside it: where things are, and how they speak. Sourced, never run.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/../.." && pwd)
cache=${PACS_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pacs-cloud}
data=${PACS_DATA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/pacs-cloud}

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The name of a layer says what it is made of: other content, other name, so nothing stale is ever entered.
fingerprint() { cat "$@" | sha256sum | cut -c1-16; }

flavour=run
debian_layer() {
  local lists=("$here/packages-run.txt")
  [ "$flavour" = test ] && lists+=("$here/packages-test.txt")
  echo "$cache/debian-$flavour-$(fingerprint "${lists[@]}" "$here/build.sh")"
}
server_layer() { echo "$cache/server-$(fingerprint "$here/packages-server.txt" "$here/build.sh")"; }
lock_file() { [ "$flavour" = test ] && echo "$checkout/requirements-dev.lock" || echo "$checkout/requirements.lock"; }
venv_layer() { echo "$cache/venv-$flavour-$(fingerprint "$(lock_file)" "$here/build.sh")"; }
viewers_layer() { echo "$cache/viewers-$(cd "$checkout/viewer-config" && find . -type f ! -name '*.md' ! -path './nginx/*' ! -path '*/__pycache__/*' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-16)"; }
validators_layer() { echo "$cache/validators-$(fingerprint "$checkout/tests/validators.json" "$here"/validators.{sh,py})"; }

# Real studies to test with may lie beside the checkout; tests that want them are skipped where they do not.
shared=()
if [ -d "$checkout/../shared/data" ]; then shared=(--read "$checkout/../shared" /shared); fi
