"""Adds and replaces what opens an encrypted volume. An old key goes only after the new one was seen to open it.

usage: luks_key_slots.py DEVICE ACTION [--key-file PATH] [--key-device DEVICE] [CRYPTSETUP-OPTION...]

add_key_file: makes the key where there is none, and lets it open the volume
new_key_file: puts another key in its place
new_passphrase: puts another passphrase in its place

Standard input: JSON {"passphrase": ..., "new_passphrase": ...}. Prints "changed" or "unchanged".
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEY_BYTES = 64


class SlotError(Exception):
    """What was asked can't be done; the message says why and what to do."""


@contextmanager
def in_memory(secret: bytes) -> Iterator[str]:
    """Give a secret as a path that only this process's children can read, and that is on no disk."""
    descriptor = os.memfd_create("key")
    try:
        os.write(descriptor, secret)
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


def cryptsetup(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run cryptsetup without a question."""
    return subprocess.run(["cryptsetup", "--batch-mode", *arguments], capture_output=True, text=True, check=False)


def opens(device: str, secret: bytes) -> bool:
    """Tell whether a key opens the volume."""
    with in_memory(secret) as key:
        return cryptsetup("open", "--test-passphrase", "--key-file", key, device).returncode == 0


def add(device: str, passphrase: bytes, secret: bytes, options: list[str]) -> None:
    """Let a key open the volume, and see that it does."""
    with in_memory(passphrase) as known, in_memory(secret) as new:
        done = cryptsetup("luksAddKey", "--key-file", known, *options, device, new)
    if done.returncode or not opens(device, secret):
        raise SlotError(f"The new key could not be added, the old ones still open the volume: {done.stderr.strip()}")


def remove(device: str, secret: bytes) -> None:
    """Let a key not open the volume any more."""
    with in_memory(secret) as key:
        done = cryptsetup("luksRemoveKey", device, key)
    if done.returncode or opens(device, secret):
        raise SlotError(f"The old key still opens the volume, beside the new one: {done.stderr.strip()}")


@contextmanager
def key_directory(key_device: str) -> Iterator[Path]:
    """Give the root of the file system that the key is on: the key device's, mounted for us alone, or the system's."""
    if not key_device:
        yield Path("/")
        return
    with tempfile.TemporaryDirectory(dir="/run") as place:
        subprocess.run(["mount", "-o", "nosuid,nodev,noexec,sync", key_device, place], check=True)
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


def write_key(path: Path, secret: bytes) -> None:
    """Write a key so that it is whole, on the disk, and root's alone."""
    partial = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
        file.write(secret)
        os.fsync(file.fileno())
    partial.rename(path)
    os.sync()


def add_key_file(device: str, passphrase: bytes, path: Path, options: list[str]) -> bool:
    """Make the key where there is none that opens the volume."""
    if path.exists() and opens(device, path.read_bytes()):
        return False
    if path.exists():
        raise SlotError(f"{path.name} is there and does not open the volume: move it away, or choose another name.")
    secret = secrets.token_bytes(KEY_BYTES)
    write_key(path, secret)
    add(device, passphrase, secret, options)
    return True


def new_key_file(device: str, passphrase: bytes, path: Path, options: list[str]) -> bool:
    """Put another key in a key's place. Both open the volume until the new one is on its disk."""
    old, secret = path.read_bytes(), secrets.token_bytes(KEY_BYTES)
    add(device, passphrase, secret, options)
    write_key(path, secret)
    remove(device, old)
    return True


def new_passphrase(device: str, passphrase: bytes, new: bytes, options: list[str]) -> bool:
    """Put another passphrase in a passphrase's place; again, where it was broken off, goes on."""
    old_opens, new_opens = opens(device, passphrase), opens(device, new)
    if not old_opens and new_opens:
        return False
    if not old_opens:
        raise SlotError("Neither the passphrase nor the new one opens the volume. Nothing was changed.")
    if not new_opens:
        add(device, passphrase, new, options)
    remove(device, passphrase)
    return True


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("device")
    parser.add_argument("action", choices=["add_key_file", "new_key_file", "new_passphrase"])
    parser.add_argument("--key-file", default="")
    parser.add_argument("--key-device", default="")
    asked, options = parser.parse_known_args()
    given = {name: value.encode() for name, value in json.load(sys.stdin).items()}
    try:
        if asked.action == "new_passphrase":
            changed = new_passphrase(asked.device, given["passphrase"], given["new_passphrase"], options)
        else:
            action = {"add_key_file": add_key_file, "new_key_file": new_key_file}[asked.action]
            with key_directory(asked.key_device) as root:
                changed = action(asked.device, given["passphrase"], root / asked.key_file.lstrip("/"), options)
    except SlotError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("changed\n" if changed else "unchanged\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
