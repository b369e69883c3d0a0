"""Tells what is on a disk or partition, without touching it, as JSON.

usage: device_state.py DEVICE LABEL      LABEL is that of a LUKS volume of ours

path: the device itself; exists: it is a block device; serial: the disk's; in_use: mounted, part of something, open;
ours: our volume; contents: what else is on it, as words for a person (nothing: it may be formatted).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROBED_BYTES = 1 << 20


def output(*command: str) -> str:
    """Return what a command prints; nothing where it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def block_devices(device: str, *options: str) -> list[dict[str, Any]]:
    """Return what lsblk tells about a device and what lies on it."""
    text = output("lsblk", "--json", "--paths", "--output", "NAME,TYPE,SERIAL,MOUNTPOINTS,FSTYPE", *options, device)
    return list(json.loads(text)["blockdevices"]) if text else []


def busy(path: str) -> bool:
    """Tell whether the kernel holds the device: mounted, swap, or part of a RAID, LVM or opened LUKS."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return True
    return False


def looks_blank(path: str) -> bool:
    """Tell whether the first and the last MiB hold zeros or ones only: also what no tool knows is something."""
    with Path(path).open("rb") as device:
        parts = [device.read(PROBED_BYTES)]
        device.seek(-min(PROBED_BYTES, device.seek(0, os.SEEK_END)), os.SEEK_END)
        parts.append(device.read(PROBED_BYTES))
    return all(part.count(part[:1]) == len(part) and part[:1] in (b"\0", b"\xff") for part in parts)


def contents_of(path: str, tree: dict[str, Any], probed: dict[str, str]) -> list[str]:
    """Name everything that is on a device."""
    found = [f"{child['type']} {child['name']}" for child in tree.get("children", [])]
    found += [f"mounted at {place}" for place in tree["mountpoints"] if place]
    found += [f"{probed[key]} (signature)" for key in ("TYPE", "PTTYPE") if key in probed]
    signatures = output("wipefs", "--noheadings", "--output", "TYPE", path).splitlines()
    found += [f"{line.split()[-1]} (signature)" for line in signatures]
    if not found and not looks_blank(path):
        found.append("unknown data")
    return sorted(set(found))


def state(device: str, label: str) -> dict[str, Any]:
    """Return everything that is known."""
    path = str(Path(device).resolve())
    if not Path(path).is_block_device():
        return {"path": path, "exists": False, "serial": "", "in_use": False, "ours": False, "uuid": "", "contents": []}
    tree = block_devices(path)[0]
    serials = [one["serial"] for one in block_devices(path, "--inverse", "--list") if one.get("serial")]
    described = output("blkid", "--probe", "--output", "export", path).splitlines()
    probed = dict(line.split("=", 1) for line in described if "=" in line)
    ours = (probed.get("TYPE"), probed.get("VERSION"), probed.get("LABEL")) == ("crypto_LUKS", "2", label)
    return {
        "path": path,
        "exists": True,
        "serial": serials[-1].strip() if serials else "",
        "in_use": busy(path),
        "ours": ours,
        "uuid": probed.get("UUID", ""),
        "contents": [] if ours else contents_of(path, tree, probed),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(state(*sys.argv[1:])))
