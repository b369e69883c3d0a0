# Enters the root as bwrap would, for booting machines: bwrap takes from all that runs in it the right to become another
# user (no_new_privs), and then nobody on those machines could use sudo. Sourced by enter.sh, never run.

# enter_with_all_rights BWRAP-ARGUMENTS COMMAND...   (the arguments that enter.sh uses; paths that exist, as root)
enter_with_all_rights() {
  export place=$cache/machines/root
  mkdir -p "$place"
  exec unshare --mount --propagation private --pid --fork --kill-child bash -euo pipefail -c '
    while [ $# -gt 0 ]; do
      case $1 in
        --ro-bind | --ro-bind-try | --bind | --dev-bind)
          if [ -e "$2" ]; then
            [ ! -d "$2" ] || mkdir -p "$place$3"
            mount --rbind "$2" "$place$3"
            [[ $1 != --ro-bind* ]] || mount -o remount,bind,ro "$place$3"
          fi
          shift 3 ;;
        --tmpfs) mount -t tmpfs -o mode=1777 tmpfs "$place$2"; shift 2 ;;
        --proc) mount -t proc proc "$place$2"; shift 2 ;;
        --setenv) export "$2=$3"; shift 3 ;;
        --unsetenv) unset "$2"; shift 2 ;;
        --chdir) directory=$2; shift 2 ;;
        --die-with-parent) shift ;;
        *) break ;;
      esac
    done
    # No chroot: within one the kernel gives nobody a namespace of users, which services on the machines ask for.
    cd "$place"
    pivot_root . .
    umount -l .
    cd "$directory"
    exec "$@"
  ' bash "$@"
}
