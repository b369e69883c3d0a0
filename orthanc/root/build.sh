#!/usr/bin/env bash
# Builds what `make run` and `make test` enter, as layers in a cache outside the checkout:
#   debian-*   Debian 13 packages, unpacked (no maintainer script runs, so no right is needed)
#   venv-*     our Python packages, from the lock file with hashes
#   viewers-*  OHIF and what our pages load, from npm packages with pinned integrity
#   server-*   a Debian 13 as its installer leaves it, which the tests of the server boot and provision
# Each layer is made aside and renamed when whole; one that is there is left alone.
#
# usage: build.sh run|test|server
set -euo pipefail
. "$(dirname "$0")/lib.sh"
flavour=${1:-run} wanted=$flavour
[ "$wanted" = server ] && flavour=test

# Ubuntu does not trust Debian of itself.
debian_keys=/usr/share/keyrings/debian-archive-keyring.gpg

# --- what this machine must bring -------------------------------------------------------------------------------
require_tools() {
  local missing=() tool
  for tool in mmdebstrap bwrap; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  [ -e "$debian_keys" ] || missing+=(debian-archive-keyring)
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null ||
    die "${missing[*]} missing, and this is no Debian or Ubuntu: install them, then try again."
  local packages=(mmdebstrap bubblewrap debian-archive-keyring ca-certificates) become=()
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null ||
      die "${missing[*]} missing: run 'sudo apt install ${packages[*]}' once, then try again."
    become=(sudo -n)
  fi
  say "installing ${packages[*]} on this machine ..."
  { "${become[@]}" apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive "${become[@]}" apt-get install -qq -y --no-install-recommends "${packages[@]}"; } \
    >"$cache/tools.log" 2>&1 || { tail -n 5 "$cache/tools.log" >&2; die "apt could not install them: is there a network? The whole log: $cache/tools.log"; }
}

# --- the layers -------------------------------------------------------------------------------------------------
# Build a layer unless it is there: layer <what> <directory> <function that fills a directory>
# The function must return at its first failure: errexit is off in it.
layer() {
  local what=$1 directory=$2 fill=$3 started=$SECONDS
  [ -e "$directory" ] && return
  say "building $what ..."
  local partial="$directory.partial"
  rm -rf "$partial"
  mkdir -p "$partial"
  "$fill" "$partial" >"$directory.log" 2>&1 ||
    { tail -n 8 "$directory.log" >&2; die "$what could not be built: is there a network, and room on the disk? The whole log: $directory.log"; }
  mv "$partial" "$directory"
  say "  done in $((SECONDS - started)) s"
}

# Make a Debian 13: debian <directory> <packages, by comma> <options of mmdebstrap>
debian() {
  local root=$1 packages=$2
  mmdebstrap --keyring="$debian_keys" "${@:3}" --include="$packages" \
    trixie "$root" ${PACS_DEBIAN_MIRROR:+"$PACS_DEBIAN_MIRROR"}
}

fill_debian() {
  local root=$1 packages
  packages=$(sed 's/#.*//' "$here/packages-run.txt" $([ "$flavour" = test ] && echo "$here/packages-test.txt") | xargs | tr ' ' ,)
  # chrootless and extract: packages are unpacked and nothing of theirs runs, the same for root and for anybody else
  # (newer mmdebstrap fears for root's machine all the same).
  debian "$root" "$packages" --mode=chrootless --skip=check/chrootless --variant=extract || return
  # What the packages' scripts would have written, as far as it is needed; the rest is bound in by enter.sh.
  printf '%s\n' root:x:0:0:root:/root:/bin/bash pacs:x:1000:1000::/tmp:/bin/bash nobody:x:65534:65534::/:/bin/false >"$root/etc/passwd"
  printf '%s\n' root:x:0: pacs:x:1000: nogroup:x:65534: >"$root/etc/group"
  local library
  for library in "$root"/usr/lib/*/{blas/libblas,lapack/liblapack}.so.3; do
    if [ -e "$library" ]; then ln -s "$(basename "$(dirname "$library")")/$(basename "$library")" "$(dirname "$library")/../"; fi
  done
  mkdir -p "$root"/opt/pacs/{plugins,orthanc,viewer-config,venv,viewers,pycache} "$root/var/lib/pacs" "$root/etc/ssl/certs" "$root/checkout" "$root/shared"
  touch "$root"/etc/{hosts,resolv.conf,localtime} "$root/etc/ssl/certs/ca-certificates.crt"
  mkdir -p "$root"/{machines,etc/netns}
  # systemd-nspawn starts nothing on a machine without a name.
  fingerprint <<<"$root" | sed 's/.*/&&/' >"$root/etc/machine-id"
}

fill_server() {
  debian "$1" "$(sed 's/#.*//' "$here/packages-server.txt" | xargs | tr ' ' ,)" --mode=root --variant=important
}

fill_venv() {
  "$here/enter.sh" "--$flavour" --network --bind "$1" /opt/pacs/venv -- \
    sh -c 'python3 -m venv /opt/pacs/venv && exec /opt/pacs/venv/bin/pip install --no-compile --no-input --disable-pip-version-check --no-deps --require-hashes -r "$0"' \
    "/checkout/$(basename "$(lock_file)")"
}

fill_viewers() {
  "$here/enter.sh" "--$flavour" --network --bind "$1" /opt/pacs/viewers -- \
    sh -c 'python3 -m venv /tmp/npm && /tmp/npm/bin/pip install --no-compile --no-input --disable-pip-version-check --require-hashes -r /opt/pacs/viewer-config/npm.lock &&
      PATH=/tmp/npm/bin:$PATH exec python3 /opt/pacs/viewer-config/build.py --packages /tmp/packages --output /opt/pacs/viewers'
}

mkdir -p "$cache" 2>/dev/null || die "$cache can't be written: set PACS_CACHE_DIR to a directory that can."
exec 9>"$cache/.lock"
flock -n 9 || { say "waiting for another build in $cache ..."; flock 9; }
require_tools
layer "the Debian 13 root ($flavour)" "$(debian_layer)" fill_debian
"$here/enter.sh" "--$flavour" -- true
layer "the Python packages ($flavour)" "$(venv_layer)" fill_venv
layer "the viewers" "$(viewers_layer)" fill_viewers
if [ "$wanted" = server ]; then layer "the Debian 13 that is provisioned" "$(server_layer)" fill_server; fi
if [ "$wanted" = server ] && [ -n "${PACS_KERNEL-}" ]; then
  . "$here/virtual_machine.sh"
  layer "the virtual machine" "$(virtual_machine_layer)" fill_virtual_machine
fi
