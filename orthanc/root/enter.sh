#!/usr/bin/env bash
# Runs a command inside the Debian 13 root, as an ordinary user there whoever runs it here, with this machine's network.
# Inside, paths are those of a production server: /opt/pacs/{plugins,orthanc,viewer-config,venv,viewers}, /var/lib/pacs.
#
# usage: enter.sh [--run|--test] [--all-rights] [--network] [--writable-checkout] [--read|--bind HERE INSIDE]... -- COMMAND...
set -euo pipefail
. "$(dirname "$0")/lib.sh"

binds=() checkout_bind=--ro-bind python_path= all_rights=
while [ $# -gt 0 ]; do
  case $1 in
    --run | --test) flavour=${1#--}; [ "$flavour" = run ] || python_path=/checkout/tests; shift ;;
    # A build asks the package registries the way this machine does: its proxy and its trusted certificates.
    --network) binds+=(--setenv SSL_CERT_FILE /etc/ssl/certs/ca-certificates.crt --setenv PIP_CERT /etc/ssl/certs/ca-certificates.crt
      --setenv NODE_EXTRA_CA_CERTS /etc/ssl/certs/ca-certificates.crt); shift ;;
    # For booting machines (server.sh): root as root, and the kernel's own devices and control groups.
    --all-rights) all_rights=yes; shift ;;
    --writable-checkout) checkout_bind=--bind; shift ;;
    --read) binds+=(--ro-bind "$2" "$3"); shift 3 ;;
    --bind) binds+=(--bind "$2" "$3"); shift 3 ;;
    --) shift; break ;;
    *) die "enter.sh: unknown option $1" ;;
  esac
done

layers=()
for layer in venv viewers; do
  directory=$("${layer}_layer")
  [ -e "$directory" ] && layers+=(--ro-bind "$directory" "/opt/pacs/$layer")
done

mkdir -p "$cache/pycache"
devices=(--dev /dev --tmpfs /dev/shm)
[ -z "$all_rights" ] || devices=(--dev-bind /dev /dev --bind /sys /sys --tmpfs /machines --tmpfs /etc/netns --tmpfs /root)
arguments=(
  --ro-bind "$(debian_layer)" / --proc /proc "${devices[@]}" --tmpfs /run --tmpfs /tmp
  --ro-bind "$(readlink -f /etc/hosts)" /etc/hosts
  --ro-bind "$(readlink -f /etc/resolv.conf)" /etc/resolv.conf
  --ro-bind-try /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
  --ro-bind "$(readlink -f /etc/localtime || echo "$(debian_layer)/usr/share/zoneinfo/Etc/UTC")" /etc/localtime
  --ro-bind "$checkout/plugins" /opt/pacs/plugins
  --ro-bind "$checkout/orthanc" /opt/pacs/orthanc
  --ro-bind "$checkout/viewer-config" /opt/pacs/viewer-config
  "$checkout_bind" "$checkout" /checkout
  "${layers[@]}" "${binds[@]}"
  # Python's compiled modules are kept from start to start, outside the checkout.
  --bind "$cache/pycache" /opt/pacs/pycache --setenv PYTHONPYCACHEPREFIX /opt/pacs/pycache
  --setenv HOME /tmp --setenv LANG C.UTF-8 --setenv PATH /opt/pacs/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin
  --unsetenv PIP_FIND_LINKS --unsetenv PYTHONDONTWRITEBYTECODE --setenv PYTHONPATH "/opt/pacs/plugins${python_path:+:$python_path}" --unsetenv SSL_CERT_DIR
  --chdir /checkout --die-with-parent
)
# A namespace of its own for users and processes: inside runs an ordinary user, and nothing outlives the command.
isolation=(--unshare-user --uid 1000 --gid 1000 --unshare-pid)
if [ -n "$all_rights" ]; then
  . "$here/all_rights.sh"
  enter_with_all_rights "${arguments[@]}" "$@"
elif ! refusal=$(bwrap "${isolation[@]}" --ro-bind "$(debian_layer)" / /usr/bin/true 2>&1); then
  [ "$(id -u)" = 0 ] || die "this kernel lets no ordinary user make a namespace ($refusal). Run it as root, or allow it:
  Ubuntu: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0   Debian: sudo sysctl kernel.unprivileged_userns_clone=1"
  isolation=(--unshare-pid --proc /proc)
fi
exec bwrap "${isolation[@]}" "${arguments[@]}" "$@"
