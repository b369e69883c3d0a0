#!/usr/bin/env bash
# Runs a command in the test root with what booting and provisioning whole machines takes: all rights (in namespaces of
# its own for mounts and processes, so nothing of it outlives the command), devices, a place for the machines' disks.
# Where this machine gives no such rights the command runs without them and hears why in PACS_NO_MACHINES.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
flavour=test
refusal=
if [ "$(id -u)" != 0 ]; then refusal="only root may boot a machine in a container"
elif ! bwrap --cap-add ALL --ro-bind / / --dev-bind /dev /dev --unshare-net ip link add name probe type bridge 2>/dev/null; then
  refusal="this kernel lets root make no network namespace"
elif [ ! -e /dev/net/tun ]; then refusal="this kernel has no TUN devices"
elif ! grep -q cgroup2 /proc/mounts; then refusal="this machine has no cgroup v2"
fi
if [ -n "$refusal" ]; then
  "$here/build.sh" test
  exec "$here/enter.sh" --test --writable-checkout "${shared[@]}" -- env PACS_NO_MACHINES="$refusal" "$@"
fi

"$here/build.sh" server
# A kernel of its own takes QEMU minutes to boot: only where it is asked for (make soak).
virtual_machine=()
if [ -n "${PACS_KERNEL-}" ]; then
  . "$here/virtual_machine.sh"
  virtual_machine=(--read "$(virtual_machine_layer)" /machines/virtual-machine)
fi
# Packages that a machine has fetched are there for the next one.
mkdir -p "$cache/archives/partial" "$cache/machines"
exec "$here/enter.sh" --test --all-rights --network --writable-checkout "${shared[@]}" \
  --bind "$cache/machines" /machines/disks --bind "$cache/archives" /machines/archives --read "$(server_layer)" /machines/debian \
  "${virtual_machine[@]}" -- "$@"
