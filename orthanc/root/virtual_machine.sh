# A Debian 13 that QEMU boots, for tests that need a kernel of their own (device mapper). Sourced by build.sh, never run.
# The layer holds vmlinuz, initrd and disk.ext4 (a root without partitions).

virtual_machine_layer() {
  echo "$cache/virtual-machine-$(fingerprint "$here/packages-server.txt" "$here/packages-virtual-machine.txt" "$here/virtual_machine.sh")"
}

fill_virtual_machine() {
  local root=$1/root
  debian "$root" "$(sed 's/#.*//' "$here/packages-server.txt" "$here/packages-virtual-machine.txt" | xargs | tr ' ' ,)" \
    --mode=root --variant=important || return
  # QEMU's user network gives the address and answers DNS at .3; who may log in by ssh comes with each start as a
  # credential of systemd (ssh.authorized_keys.root).
  printf '[Match]\nName=e*\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n' >"$root/etc/systemd/network/10-qemu.network"
  ln -sf /usr/lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"
  printf 'nameserver 10.0.2.3\n' >"$root/etc/resolv.conf"
  printf 'virtual-machine\n' >"$root/etc/hostname"
  printf '127.0.0.1 localhost virtual-machine\n' >"$root/etc/hosts"
  printf '/dev/vda / ext4 defaults 0 1\n' >"$root/etc/fstab"
  # Nothing that works behind a test's back.
  local unit
  for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  mv "$root"/boot/vmlinuz-* "$1/vmlinuz"
  mv "$root"/boot/initrd.img-* "$1/initrd"
  rm -rf "$root"/vmlinuz* "$root"/initrd.img* "$root"/var/cache/apt/archives/*.deb
  mkfs.ext4 -q -L root -d "$root" "$1/disk.ext4" 4G || return
  rm -rf "$root"
}
